"""From text to a tree of plain values: JSON, or YAML by the file's name."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NoReturn

from core.config.problem import Report, child, found, quote

Tree = dict[str, Any]

_DEEPEST = 50
_HINTS = {
    "Invalid \\escape": "a backslash in JSON is written \\\\; in paths a / works as well",
    "Invalid control character at": "is a quotation mark missing?",
    "Expecting property name enclosed in double quotes": "a comma too many, or a comment?",
    "Extra data": "text after the closing brace",
}


def parse(text: str, suffix: str, report: Report) -> Tree | None:
    """The object that the text holds; None when a problem was reported instead. Never raises."""
    text = text.removeprefix("\ufeff")
    before = len(report.problems)
    is_yaml = suffix.lower() in {".yaml", ".yml"}
    try:
        text.encode()  # half a character in it could never be written
        tree = _yaml(text, report) if is_yaml else _json(text, report)
    except RecursionError:
        report.problem("$", "the file is nested too deeply")
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        if hint := _HINTS.get(error.msg):
            report.problem("$", f"not valid JSON at {place}: {error.msg} ({hint})")
        else:
            report.problem("$", f"not valid JSON at {place}: {error.msg}")
    except ValueError as error:
        report.problem("$", f"a value cannot be read: {error}")
    if len(report.problems) > before:
        return None
    if not isinstance(tree, dict):
        report.problem("$", f"expected an object of models, found {found(tree)}")
        return None
    return tree


def _json(text: str, report: Report) -> Any:
    repeated: list[tuple[object, str]] = []

    def members(pairs: list[tuple[str, Any]]) -> Tree:
        made = dict(pairs)
        if len(made) != len(pairs):
            seen: set[str] = set()
            for key, _ in pairs:
                if key in seen:
                    repeated.append((made, key))
                seen.add(key)
        return made

    tree = json.loads(text, object_pairs_hook=members, parse_constant=_refuse_constant)
    if repeated:
        _report_repeated(tree, repeated, report)
    return tree


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


def _report_repeated(tree: Any, repeated: list[tuple[object, str]], report: Report) -> None:
    """The parser does not know where it is: find the objects again to name their paths."""
    rest: list[tuple[str, Any]] = [("$", tree)]
    while rest:
        path, value = rest.pop()
        for holder, key in repeated:
            if holder is value:
                report.problem(child(path, key), "this key stands here more than once")
        if isinstance(value, dict):
            rest += [(child(path, key), member) for key, member in value.items()]
        elif isinstance(value, list):
            rest += [(child(path, index), item) for index, item in enumerate(value)]
    hidden = len(repeated) - len(report.problems)
    if hidden > 0:  # inside a value that a later twin replaced
        report.problem("$", f"{hidden} more keys stand in their object more than once")


def _yaml(text: str, report: Report) -> Any:
    import yaml  # only those who use it pay for it

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]
        """Safe, and tells of repeated keys instead of taking the last one."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
            seen: set[str] = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in seen:
                        line = key.start_mark.line + 1
                        report.problem("$", f"line {line}: {quote(key.value)} stands here twice")
                    seen.add(key.value)
            return super().construct_mapping(node, deep)

    try:
        _refuse_depth(yaml.parse(text, Loader=base))
        return yaml.load(text, Loader=Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        if mark:
            place = f"line {mark.line + 1}, column {mark.column + 1}"
            report.problem("$", f"not valid YAML at {place}: {reason}")
        else:
            report.problem("$", f"not valid YAML: {reason}")
        return None
    except (ArithmeticError, AttributeError, LookupError, TypeError) as error:
        # pyyaml's constructors let these out for values such as `!!timestamp x`
        report.problem("$", f"not valid YAML: {type(error).__name__}: {error}")
        return None


def _refuse_depth(events: Iterable[Any]) -> None:
    """The fast loader recurses in C: a deep file would crash the whole program."""
    depth = 0
    for event in events:
        depth += type(event).__name__.endswith("StartEvent")
        depth -= type(event).__name__.endswith("EndEvent")
        if depth > _DEEPEST:
            raise RecursionError
