// A line of output as text nodes: colours (SGR) become classes, nothing else has a meaning.

const SGR = /\x1b\[([0-9;]*)m/g;

export const plain = (line) => (line.includes("\x1b") ? line.replace(SGR, "") : line);

function changed(style, codes) {
  const list = codes === "" ? [0] : codes.split(";").map(Number);
  for (let i = 0; i < list.length; i++) {
    const code = list[i];
    if (code === 0) style = {};
    else if (code === 1) style = { ...style, bold: true };
    else if (code === 2) style = { ...style, dim: true };
    else if (code === 4) style = { ...style, line: true };
    else if (code === 22) style = { ...style, bold: false, dim: false };
    else if (code === 24) style = { ...style, line: false };
    else if (code >= 30 && code <= 37) style = { ...style, colour: code - 30 };
    else if (code >= 90 && code <= 97) style = { ...style, colour: code - 82 };
    else if (code === 39) style = { ...style, colour: undefined };
    else if (code === 38 || code === 48) {
      if (list[i + 1] === 5 && code === 38 && list[i + 2] < 16) {
        style = { ...style, colour: list[i + 2] };
      }
      i += list[i + 1] === 2 ? 4 : 2;
    }
  }
  return style;
}

function classes(style) {
  const names = [];
  if (style.colour !== undefined) names.push(`ansi-${style.colour}`);
  if (style.bold) names.push("ansi-bold");
  if (style.dim) names.push("ansi-dim");
  if (style.line) names.push("ansi-line");
  return names.join(" ");
}

/** [{text, cls}] of a line. */
export function pieces(line) {
  if (!line.includes("\x1b")) return [{ text: line, cls: "" }];
  const found = [];
  let style = {};
  let from = 0;
  for (const match of line.matchAll(SGR)) {
    if (match.index > from) found.push({ text: line.slice(from, match.index), cls: classes(style) });
    style = changed(style, match[1]);
    from = match.index + match[0].length;
  }
  if (from < line.length) found.push({ text: line.slice(from), cls: classes(style) });
  return found;
}

/** Fill `row` with columns [from, to) of the line; `mark` (lower case) is highlighted. */
export function render(row, line, from, to, mark) {
  const nodes = [];
  let column = 0;
  for (const { text, cls } of pieces(line)) {
    const part = text.slice(Math.max(0, from - column), Math.max(0, to - column));
    column += text.length;
    if (!part) continue;
    const holder = cls ? document.createElement("span") : document.createDocumentFragment();
    if (cls) holder.className = cls;
    addMarked(holder, part, mark);
    nodes.push(holder);
  }
  row.replaceChildren(...nodes);
}

function addMarked(holder, text, mark) {
  let from = 0;
  if (mark) {
    const lower = text.toLowerCase();
    for (let at = lower.indexOf(mark); at >= 0; at = lower.indexOf(mark, from)) {
      holder.append(text.slice(from, at));
      const found = document.createElement("mark");
      found.textContent = text.slice(at, at + mark.length);
      holder.append(found);
      from = at + mark.length;
    }
  }
  holder.append(text.slice(from));
}
