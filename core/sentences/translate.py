"""The program's English sentences in Chinese, for the people who look at dashboard and tray.

The core says everything in English, once: in logs, in the API, in exceptions. Here each of its
sentences is known by its shape, so that no part of the core has to know of languages.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from core.sentences.requests import REQUESTS
from core.sentences.running import RUNNING
from core.sentences.setting_up import PYTHON, SETTING_UP

LONGEST = 600
"""Letters of a line that are looked at: what a server or a plugin said may have any length."""
LOG_FOLLOWS = "last lines of its log:"
"""The lines after this one are not ours."""
MOST_PARTS, MOST_NAMES = 16, 4
REMEMBERED = 1024

_PLACE = re.compile(r"\{([~#]?)(\w+)\}")
_BILINGUAL = re.compile(r"[^/]*[\u4e00-\u9fff][^/]*(?:/[^ ][^/]*)* / (.*[a-z].*)", re.DOTALL)
"""A plugin's sentence in both languages, as the plugin contract's examples write it."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A shape. `{x}` stands for any text, `{#x}` for a number, `{~x}` for a sentence within."""

    shape: re.Pattern[str]
    chinese: str
    inner: frozenset[str]

    @classmethod
    def of(cls, english: str, chinese: str) -> Sentence:
        parts, inner, end = [], set(), 0
        for place in _PLACE.finditer(english):
            parts.append(re.escape(english[end : place.start()]))
            kind, name = place.groups()
            parts.append(f"(?P<{name}>{r'-?[0-9.]+' if kind == '#' else '.+?'})")
            if kind == "~":
                inner.add(name)
            end = place.end()
        parts.append(re.escape(english[end:]))
        return cls(re.compile("".join(parts), re.DOTALL), chinese, frozenset(inner))

    def filled(self, values: Mapping[str, str]) -> str:
        return _PLACE.sub(lambda place: values[place[2]], self.chinese)


def table() -> Iterator[tuple[str, str]]:
    """All known sentences: (English, Chinese)."""
    yield from RUNNING
    yield from REQUESTS
    yield from SETTING_UP
    yield from PYTHON


@functools.cache
def _sentences() -> tuple[Sentence, ...]:
    """The most exact shapes first: "the folder x does not exist" before "x does not exist"."""
    ordered = sorted(table(), key=lambda pair: -len(_PLACE.sub("", pair[0])))
    return tuple(Sentence.of(english, chinese) for english, chinese in ordered)


@functools.lru_cache(REMEMBERED)
def in_chinese(text: str) -> str:
    """The text with every line of ours in Chinese; what is not known stays as it is."""
    head, mark, log = text.partition(LOG_FOLLOWS)
    lines = head.split("\n")
    said = "\n".join(_line(line) for line in lines)
    return f"{said}{_line(mark)}{log}" if mark else said


@functools.lru_cache(REMEMBERED)
def in_english(text: str) -> str:
    """The text; of a plugin's sentence in both languages the English half."""
    half = _BILINGUAL.fullmatch(text) if len(text) <= LONGEST else None
    return half[1] if half else text


def _line(line: str) -> str:
    indent = line[: len(line) - len(line.lstrip())]
    return indent + (known(line.strip()) or line.strip())


def known(text: str) -> str | None:
    """The Chinese of one sentence, of "a; b" and of "whose: sentence"; None if it is not ours."""
    reading = _read(text)
    return reading.said if reading else None


@dataclass(frozen=True, slots=True)
class _Reading:
    """One way to understand a text, and how many letters of it stay as they were."""

    said: str
    kept: int


def _read(text: str) -> _Reading | None:
    if not text or len(text) > LONGEST:
        return None
    if listed := _listed(text.split("; ")):
        return listed
    whole, named = _whole(text), _named(text)
    if whole and named:
        return named if named.kept < whole.kept else whole
    return whole or named


def _whole(text: str) -> _Reading | None:
    for sentence in _sentences():
        match = sentence.shape.fullmatch(text)
        if match is None:
            continue
        values, kept = match.groupdict(), 0
        for name, value in values.items():
            inner = _read(value) if name in sentence.inner else None
            values[name] = inner.said if inner else value
            kept += inner.kept if inner else len(value)
        return _Reading(sentence.filled(values), kept)
    return None


def _named(text: str) -> _Reading | None:
    """ "whose: sentence", where only the sentence is ours: the first place that gives one."""
    at = -1
    for _ in range(MOST_NAMES):
        at = text.find(": ", at + 1)
        if at < 0:
            return None
        if tail := _whole(text[at + 2 :]):
            return _Reading(f"{text[:at]}：{tail.said}", at + tail.kept)
    return None


def _listed(parts: list[str]) -> _Reading | None:
    """ "a; b; c", if each of them is ours."""
    if not 1 < len(parts) <= MOST_PARTS:
        return None
    readings = [reading for reading in map(_read, parts) if reading]
    if len(readings) < len(parts):
        return None
    return _Reading("；".join(r.said for r in readings), sum(r.kept for r in readings))
