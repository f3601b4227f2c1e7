"""Change one value in the text of a config file and leave every other character as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

_BLANK = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class _Member:
    """Where a member of an object stands in the text."""

    key: str
    key_at: int
    value_at: int
    end: int


def set_option(text: str, section: str, option: str, value: object) -> str:
    """The text of a JSON object with `option` of the object `section` set to `value`.

    A new option is written before the first object in its section, indented like the others.
    `text` must be valid JSON; raises KeyError if it has no such section.
    """
    root = _blank(text, 1 if text.startswith("\ufeff") else 0)
    places = {member.key: member for member in _members(text, root)}
    start = places[section].value_at
    members = list(_members(text, start))
    written = json.dumps(value, ensure_ascii=False)
    for member in members:
        if member.key == option:
            return text[: member.value_at] + written + text[member.end :]
    entry = f"{json.dumps(option, ensure_ascii=False)}: {written}"
    if not members:
        return f"{text[: start + 1]}{entry}{text[start + 1 :]}"
    gap = text[start + 1 : members[0].key_at]
    before = None
    for member in members:
        if text[member.value_at] == "{":
            break
        before = member
    if before is None:
        return f"{text[: start + 1]}{gap}{entry},{text[start + 1 :]}"
    return f"{text[: before.end]},{gap}{entry}{text[before.end :]}"


def with_section(text: str, section: str) -> str:
    """The text of a JSON object with an empty object `section` at its beginning, if it has none."""
    root = _blank(text, 1 if text.startswith("\ufeff") else 0)
    members = list(_members(text, root))
    if any(member.key == section for member in members):
        return text
    gap = text[root + 1 : members[0].key_at] if members else ""
    comma = "," if members else ""
    entry = f"{gap}{json.dumps(section, ensure_ascii=False)}: {{}}{comma}"
    return text[: root + 1] + entry + text[root + 1 :]


def _members(text: str, start: int) -> Iterator[_Member]:
    decoder = json.JSONDecoder()
    at = _blank(text, start + 1)
    while text[at] == '"':
        key, end = decoder.raw_decode(text, at)
        value_at = _blank(text, _blank(text, end) + 1)
        _, value_end = decoder.raw_decode(text, value_at)
        yield _Member(key, at, value_at, value_end)
        at = _blank(text, value_end)
        if text[at] == ",":
            at = _blank(text, at + 1)


def _blank(text: str, at: int) -> int:
    """The first place from `at` on that is no white space."""
    found = _BLANK.match(text, at)
    return found.end() if found else at
