"""Where the body of an HTTP/1 answer ends, followed as it passes; pure.

A body's `feed` gets the bytes as they arrive and returns those to send on now. It holds back a
chunk-size line until it is whole, so that what a client has seen always stops inside a chunk's
data or between two chunks: a place where last words still fit in.
"""

from __future__ import annotations

import re
from typing import Protocol

MAX_SIZE_LINE = 8190
MAX_TRAILERS = 16 * 1024

_TEXT = rb"[\t\x20-\x7e\x80-\xff]*"
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;" + _TEXT + rb")?\r\n")
_SIZE_BEGIN = re.compile(rb"[0-9A-Fa-f]{1,15}(?:[ \t]*(?:;" + _TEXT + rb")?\r?)?")
_TRAILERS = re.compile(rb"(?:" + _TOKEN + rb":" + _TEXT + rb"\r\n)*\r\n")


class Body(Protocol):
    """How far an answer's body has come, and in which shape it goes on to the client."""

    over: bool
    """Nothing more is to come, or nothing more can be understood (`error`)."""
    error: str
    surplus: bool
    """Bytes came after the end: they belong to nobody."""

    @property
    def open_ended(self) -> bool:
        """The client takes the end of its connection for the end of the body."""

    def feed(self, data: bytes) -> bytes:
        """What to send on now."""

    def eof(self) -> bytes | None:
        """The server closed the connection: the rest to send, or None if this cut the body off."""

    def last_words(self, text: bytes) -> bytes:
        """`text` in a form that the client still reads as part of the body; empty: impossible."""


class CountedBody:
    """A body of known length."""

    __slots__ = ("error", "left", "over", "surplus")
    open_ended = False

    def __init__(self, length: int) -> None:
        self.left = length
        self.over = length == 0
        self.error = ""
        self.surplus = False

    def feed(self, data: bytes) -> bytes:
        left = self.left - len(data)
        if left > 0:
            self.left = left
            return data
        self.over = True
        self.left = 0
        if left == 0:
            return data
        self.surplus = True
        return data[:left]

    def eof(self) -> bytes | None:
        return None

    def last_words(self, text: bytes) -> bytes:
        return text if len(text) <= self.left else b""


class UnframedBody:
    """A body that ends with the server's connection, for a client that is told so as well."""

    __slots__ = ("error", "over", "surplus")
    open_ended = True

    def __init__(self) -> None:
        self.over = False
        self.error = ""
        self.surplus = False

    def feed(self, data: bytes) -> bytes:
        return data

    def eof(self) -> bytes | None:
        return b""

    def last_words(self, text: bytes) -> bytes:
        return text


class RechunkedBody(UnframedBody):
    """The same, put into chunks: the client sees the difference between the end and a break."""

    __slots__ = ()
    open_ended = False

    def feed(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data)

    def eof(self) -> bytes | None:
        return b"0\r\n\r\n"

    def last_words(self, text: bytes) -> bytes:
        return self.feed(text)


class ChunkedBody:
    """Chunks, passed on as they are."""

    __slots__ = ("_held", "_left", "error", "over", "surplus")
    open_ended = False

    def __init__(self) -> None:
        self._held = b""
        """The begin of a size line, of a chunk's line end or of the trailers."""
        self._left = 0
        """Bytes of the open chunk still to come, its line end included; 0 = between two chunks."""
        self.over = False
        self.error = ""
        self.surplus = False

    def feed(self, data: bytes) -> bytes:
        if not self._left and not self._held:  # as nearly always: one event, one chunk, one read
            line = _SIZE_LINE.match(data)
            if line is not None and data.endswith(b"\r\n"):
                size = int(line[1], 16)
                if size and line.end() + size + 2 == len(data):
                    return data
        if self._held:
            data = self._held + data
            self._held = b""
        return data[: self._walk(data)]

    def _walk(self, data: bytes) -> int:
        """Follow the chunks to the end of `data`; return how much of it may go on."""
        size = len(data)
        left = self._left
        at = 0
        while True:
            if left:
                at += left
                if at > size:
                    return self._inside(data, at - size)
                if data[at - 2 : at] != b"\r\n":
                    return self._wrong(at - 2, 2)
            if at == size:
                self._left = 0
                return at
            line = _SIZE_LINE.match(data, at)
            if line is None:
                return self._size_line(data, at)
            left = int(line[1], 16)
            if not left:
                return self._trailers(data, at, line.end())
            left += 2
            at = line.end()

    def _inside(self, data: bytes, missing: int) -> int:
        """`data` ends in a chunk of which `missing` bytes are still to come."""
        if missing >= 2:
            self._left = missing
            return len(data)
        if not data.endswith(b"\r"):
            return self._wrong(len(data) - 1, 2)
        self._left = 2
        self._held = b"\r"
        return len(data) - 1

    def _size_line(self, data: bytes, at: int) -> int:
        """No whole size line begins at `at`: wait for the rest, if it can become one."""
        if len(data) - at > MAX_SIZE_LINE or not _SIZE_BEGIN.fullmatch(data, at):
            return self._wrong(at, 0)
        self._left = 0
        self._held = data[at:]
        return at

    def _trailers(self, data: bytes, at: int, begin: int) -> int:
        """The last chunk's size line stands from `at` to `begin`."""
        if data.startswith(b"\r\n", begin):
            return self._end(data, begin + 2)
        if match := _TRAILERS.match(data, begin):
            return self._end(data, match.end())
        if len(data) - begin > MAX_TRAILERS or data.find(b"\r\n\r\n", begin) >= 0:
            return self._wrong(at, 0)
        self._left = 0
        self._held = data[at:]
        return at

    def _end(self, data: bytes, at: int) -> int:
        self.over = True
        self._left = 0
        self.surplus = at < len(data)
        return at

    def _wrong(self, at: int, left: int) -> int:
        self.over = True
        self.error = "its answer has wrong chunks"
        self._left = left
        return at

    def eof(self) -> bytes | None:
        return None

    def last_words(self, text: bytes) -> bytes:
        chunk = b"%x\r\n%b\r\n" % (len(text), text)
        if not self._left:
            return chunk
        room = self._left - 2
        return text if len(text) <= room else b"\n" * room + b"\r\n" + chunk


class UnchunkedBody(ChunkedBody):
    """Chunks taken apart for a client of HTTP/1.0, which does not know them."""

    __slots__ = ()
    open_ended = True

    def feed(self, data: bytes) -> bytes:
        left = self._left
        data = super().feed(data)
        parts = [data[: max(0, left - 2)]]
        at = left
        while line := _SIZE_LINE.match(data, at):
            end = line.end() + int(line[1], 16)
            parts.append(data[line.end() : end])
            at = end + 2
        return b"".join(parts)

    def eof(self) -> bytes | None:
        return None

    def last_words(self, text: bytes) -> bytes:
        return text
