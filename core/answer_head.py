"""The head of an HTTP/1 answer, read strictly: two readers must not understand it differently."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_HEAD = 32 * 1024
MAX_LINE = 8190
MAX_FIELDS = 128

HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer"
    b" transfer-encoding upgrade http2-settings".split()
)
_FRAMING = HOP_BY_HOP | {b"content-length", b"content-type", b"content-encoding"}
_CORS = frozenset(
    b"access-control-" + name
    for name in b"allow-origin allow-credentials allow-methods allow-headers expose-headers"
    b" max-age allow-private-network".split()
)
"""Who may read an answer is the manager's decision: engines allow every origin."""
_MINDED = _FRAMING | _CORS

_PREFIX = b"HTTP/1."
_TEXT = rb"[^\x00-\x08\x0a-\x1f\x7f]*+"
_TOKEN = rb"[^\x00-\x20\"(),/:;<=>?@\[\\\]{}\x7f-\xff]++"
_HEAD = re.compile(
    rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: " + _TEXT + rb")?\r\n"
    rb"((?:" + _TOKEN + rb":" + _TEXT + rb"\r\n)*+)"
)
_BARE_NEWLINE = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")


class BadAnswer(ValueError):
    """What the server sent is not an answer that may be passed on."""


@dataclass(slots=True)
class Head:
    """The head of an answer, without the fields that only concern this connection."""

    status: int
    lines: list[bytes]
    """The fields to pass on, as they came; Content-Length is not among them."""
    length: int | None
    chunked: bool
    reusable: bool
    """The connection may carry another request after this one."""
    events: bool
    """A stream of server-sent events, readable as it is."""
    encoded: bool
    """The content is compressed."""


def parse_head(block: bytes, owned: frozenset[bytes]) -> Head:
    """Read the head (all its lines, without the empty one); fields named in `owned` are left out.

    Raises BadAnswer for anything that two readers could understand differently.
    """
    match = _HEAD.fullmatch(block)
    if match is None:
        raise BadAnswer("its answer is not HTTP/1")
    minor, status, fields = match.groups()
    lines = fields.split(b"\r\n")
    del lines[-1]
    if len(block) > MAX_LINE and (len(block) > MAX_HEAD or len(max(lines, key=len)) > MAX_LINE):
        raise BadAnswer("the head of its answer is too large")
    if len(lines) > MAX_FIELDS:
        raise BadAnswer(f"its answer has more than {MAX_FIELDS} header fields")
    kept: list[bytes] = []
    length: bytes | None = None
    coding: bytes | None = None
    reusable = minor == b"1"
    events = encoded = False
    named: frozenset[bytes] = frozenset()
    for line in lines:
        name, _, value = line.partition(b":")
        name = name.lower()
        if name not in _MINDED:
            if name not in owned:
                kept.append(line)
        elif name == b"content-length":
            value = value.strip()
            if length is not None or not value.isdigit() or len(value) > 15:
                raise BadAnswer("its answer has a wrong Content-Length")
            length = value
        elif name == b"transfer-encoding":
            if coding is not None or value.strip().lower() != b"chunked" or minor == b"0":
                raise BadAnswer("its answer has a wrong Transfer-Encoding")
            coding = value
        elif name == b"connection":
            tokens = connection_tokens(value)
            reusable = reusable and b"close" not in tokens
            named |= tokens - HOP_BY_HOP - {b"close"}
        elif name == b"content-type":
            events = events or value.lstrip().lower().startswith(b"text/event-stream")
            kept.append(line)
        elif name == b"content-encoding":
            encoded = encoded or value.strip().lower() != b"identity"
            kept.append(line)
    if length is not None and coding is not None:
        raise BadAnswer("its answer has both Content-Length and Transfer-Encoding")
    if named:
        kept = [line for line in kept if line.partition(b":")[0].lower() not in named]
    return Head(
        status=int(status),
        lines=kept,
        length=None if length is None else int(length),
        chunked=coding is not None,
        reusable=reusable,
        events=events and not encoded,
        encoded=encoded,
    )


def connection_tokens(value: bytes) -> frozenset[bytes]:
    """The options that a Connection field names, in lower case."""
    return frozenset(token.strip().lower() for token in value.split(b","))


def hopeless(begun: bytes) -> str | None:
    """Why these first bytes of a head can never become one; None = read on."""
    if not (begun.startswith(_PREFIX) or _PREFIX.startswith(begun)):
        return "its answer is not HTTP/1"
    if _BARE_NEWLINE.search(begun):
        return "the head of its answer has bare line ends"
    if len(begun) > MAX_HEAD:
        return "the head of its answer is too large"
    return None
