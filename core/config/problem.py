"""What is wrong with a config file, said so that a person finds the place and the remedy."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_PLAIN_KEY = re.compile(r"[\w\-@/:+]+")
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_LONGEST = 80


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault or doubt; `path` looks like `$.demo-chat.CPU.memory_mb.cpu`."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@dataclass(slots=True)
class Report:
    """Collects everything that is found, so that nobody mends a file one fault at a time."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def problem(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message))

    def warn(self, path: str, message: str) -> None:
        self.warnings.append(Problem(path, message))


def child(path: str, key: object) -> str:
    """The path of a member; a key that would confuse a reader is quoted."""
    if isinstance(key, str) and _PLAIN_KEY.fullmatch(key):
        return f"{path}.{key}"
    return f"{path}[{quote(key) if isinstance(key, str) else repr(key)[:_LONGEST]}]"


def quote(text: str) -> str:
    """The text in double quotes on one line: a forged line break cannot reach a log."""
    if len(text) > _LONGEST:
        text = text[:_LONGEST] + "…"
    return _UNSEEN.sub(_escaped, json.dumps(text, ensure_ascii=False))


def found(value: object) -> str:
    """What stands in the file, in the words of JSON; containers are only named."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return quote(value)
        case int() if value.bit_length() > 64:
            return "a huge number"  # thousands of digits cannot even be printed
        case int() | float():
            return str(value)
        case list() | tuple():
            return "a list" if value else "an empty list"
        case dict():
            return "an object" if value else "an empty object"
        case _:
            return f"a {type(value).__name__}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word[:_LONGEST].lower(), by_lower, n=1)
    return by_lower[close[0]] if close else None


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
