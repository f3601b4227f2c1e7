"""One section of the file against its declared shape: a value of that shape, or every problem."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec

from core.config.problem import Report, child, found, nearest, quote
from core.config.schema import OLD_KEYS, wording

Section = TypeVar("Section", bound=msgspec.Struct)

OLD_FORMAT = "belongs to an old config format: `python main.py migrate FILE` reads it"
_TEXT = "a text that is not blank, has no control characters and at most 500 letters"


def section(
    raw: object, kind: type[Section], path: str, report: Report, *, also: Iterable[str] = ()
) -> Section | None:
    """The section, or None after reporting all that is wrong with it.

    `also` names keys that are dealt with elsewhere.
    """
    if not isinstance(raw, dict):
        report.problem(path, f"expected an object, found {found(raw)}")
        return None
    try:
        return msgspec.convert(raw, kind)
    except (msgspec.ValidationError, UnicodeError):
        pass  # it tells only the first fault, and nothing of a key that was probably meant
    before = len(report.problems)
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name in raw:
        if name not in fields and name not in also:
            unknown_key(name, fields, path, report)
    is_old = any(name in OLD_KEYS for name in raw if isinstance(name, str))
    for name, field in fields.items():
        if name in raw:
            check(raw[name], field.type, child(path, name), report)
        elif field.required and not is_old:
            report.problem(child(path, name), f"is missing: expected {wording(field.type)}")
    if len(report.problems) == before:  # never lose a fault that the walk above did not meet
        report.problem(path, f"is not as config.schema.json says of {kind.__name__}")
    return None


def check(value: object, annotation: Any, path: str, report: Report) -> None:
    """Report every part of the value that its type does not allow."""
    try:
        msgspec.convert(value, annotation)
        return
    except (msgspec.ValidationError, UnicodeError):
        before = len(report.problems)
    inner = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    if get_origin(inner) is list and isinstance(value, list):
        for index, item in enumerate(value):
            check(item, get_args(inner)[0], child(path, index), report)
    elif get_origin(inner) is dict and isinstance(value, Mapping):
        for key, member in value.items():
            check(key, get_args(inner)[0], child(path, key), report)
            check(member, get_args(inner)[1], child(path, key), report)
    if len(report.problems) == before:
        expected = wording(annotation)
        if isinstance(value, str) and expected in ("a text", "a text or null"):
            expected = _TEXT
        report.problem(path, f"expected {expected}, found {found(value)}")


def unknown_key(name: object, known: Iterable[str], path: str, report: Report) -> None:
    """Say which known key was probably meant."""
    if not isinstance(name, str):
        report.problem(child(path, name), f"expected a text as key, found {found(name)}")
    elif name in OLD_KEYS:
        report.problem(child(path, name), OLD_FORMAT)
    else:
        known = tuple(known)
        meant = nearest(name, known)
        advice = f"did you mean {quote(meant)}?" if meant else f"known are {', '.join(known)}"
        report.problem(child(path, name), f"unknown key; {advice}")
