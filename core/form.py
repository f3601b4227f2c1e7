"""One field of a form with files (multipart/form-data), found in the bytes as they came."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import Message

FORM = "multipart/form-data"
LONGEST_HEAD = 16 * 1024


def is_form(content_type: str) -> bool:
    """Whether a Content-Type says that the body is a form with files."""
    return content_type.partition(";")[0].strip().lower() == FORM


def field_span(content_type: str, body: bytes, field: str) -> tuple[int, int] | None:
    """Where in `body` the value of the field begins and ends; None if there is no such field.

    Raises ValueError with a sentence for what two readers could understand differently.
    """
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_boundary()
    if not boundary:
        raise ValueError("the form has no boundary")
    found = None
    for begin, end in _parts(body, b"--" + boundary.encode("ascii")):
        head_end = body.find(b"\r\n\r\n", begin, min(end, begin + LONGEST_HEAD))
        if head_end < 0:
            raise ValueError("a part of the form has no head")
        if _name(body[begin:head_end]) == field:
            if found:
                raise ValueError(f"the form has two fields named {field!r}")
            found = head_end + 4, end
    return found


def _parts(body: bytes, delimiter: bytes) -> Iterator[tuple[int, int]]:
    """Where each part (its head, an empty line, its content) begins and ends."""
    if not body.startswith(delimiter + b"\r\n"):
        raise ValueError("the form does not begin with its boundary")
    begin = len(delimiter)
    while not body.startswith(b"--", begin):
        if not body.startswith(b"\r\n", begin):
            raise ValueError("a boundary of the form is not on a line of its own")
        end = body.find(b"\r\n" + delimiter, begin)
        if end < 0:
            raise ValueError("the form does not end with its boundary")
        yield begin, end
        begin = end + 2 + len(delimiter)


def _name(head: bytes) -> str | None:
    """The name of the part with this head."""
    for line in head.decode("utf-8").split("\r\n"):
        key, _, value = line.partition(":")
        if key.strip().lower() == "content-disposition":
            header = Message()
            header["Content-Disposition"] = value.strip()
            name = header.get_param("name", header="content-disposition")
            return name if isinstance(name, str) else None
    return None
