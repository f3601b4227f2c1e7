"""A pipe of a process tree as an `asyncio.StreamReader` that is ready at once and needs no task."""

from __future__ import annotations

import asyncio
import os
import sys

if sys.platform == "win32":
    raise ImportError("pipes have no readiness on Windows")

LIMIT = 128 * 1024
"""Reading pauses while twice as much lies unread: the pipe fills, and the writer has to wait."""


class Descriptor:
    """A file descriptor that is closed with its owner, at the latest."""

    def __init__(self, number: int) -> None:
        self.number = number

    def close(self) -> None:
        number, self.number = self.number, -1
        if number >= 0:
            os.close(number)

    def __del__(self) -> None:
        self.close()


def pipe() -> tuple[Descriptor, Descriptor]:
    """Reading end, writing end; no child inherits them by accident."""
    read, write = os.pipe()
    return Descriptor(read), Descriptor(write)


class PipeFeed(asyncio.ReadTransport):
    """Feeds `reader` from a pipe through the loop's `add_reader`.

    The loop alone keeps it alive while it reads; paused, it lives as long as its reader.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, source: Descriptor) -> None:
        super().__init__()
        self.reader = asyncio.StreamReader(limit=LIMIT, loop=loop)
        self.reader.set_transport(self)
        self._loop = loop
        self._source = source
        self._reading = False
        self._finishing = False
        os.set_blocking(source.number, False)
        self.resume_reading()

    def is_reading(self) -> bool:
        return self._reading

    def pause_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._source.number)

    def resume_reading(self) -> None:
        if self._reading or self._source.number < 0:
            return
        self._reading = True
        self._loop.add_reader(self._source.number, self._read)
        if self._finishing:
            self._loop.call_soon(self.finish)

    def finish(self) -> None:
        """The writers are gone: deliver what is left, then the end, even if a stranger to the tree
        still holds the pipe open."""
        self._finishing = True
        while self._reading:
            self._read()

    def close(self) -> None:
        self.pause_reading()
        self._source.close()

    def _read(self) -> None:
        if not self._reading:
            return
        try:
            data = os.read(self._source.number, 64 * 1024)
        except BlockingIOError:
            if not self._finishing:
                return
            data = b""
        if data:
            self.reader.feed_data(data)
        else:
            self.close()
            self.reader.feed_eof()
