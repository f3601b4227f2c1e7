// Texts of the page's language, and numbers as people read them.

const texts = JSON.parse(document.body.dataset.texts);

export const t = (key) => texts[key];

/** An error of the API, which speaks English, in the page's language. */
export async function said(message) {
  if (document.body.dataset.language === "en" && !/[\u4e00-\u9fff]/.test(message)) return message;
  try {
    const query = new URLSearchParams({ text: message.slice(0, 3000) });
    const answer = await fetch(`/sentence?${query}`, { signal: AbortSignal.timeout(2000) });
    return (await answer.json()).text + message.slice(3000);
  } catch {
    return message;
  }
}

const two = (n) => String(n).padStart(2, "0");

/** Seconds as "42 s", "3:07", "1:02:07"; tabular figures keep it from jumping. */
export function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} ${t("unit_s")}`;
  if (s < 3600) return `${Math.floor(s / 60)}:${two(s % 60)}`;
  return `${Math.floor(s / 3600)}:${two(Math.floor((s % 3600) / 60))}:${two(s % 60)}`;
}

export function megabytes(mb) {
  return mb < 1000 ? `${Math.round(mb)} MB` : `${(mb / 1024).toFixed(1)} GB`;
}
