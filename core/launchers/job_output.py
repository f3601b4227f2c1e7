"""Windows: a pipe of a process tree as an `asyncio.StreamReader` that is ready at once.

A thread reads: no loop of Windows watches pipes, and a thread works with every one of them.
"""

from __future__ import annotations

import _winapi
import asyncio
import sys
import threading
import weakref
from asyncio import windows_utils
from collections.abc import Callable

from core.launchers import job

assert sys.platform == "win32", "elsewhere the loop watches the pipe"

LIMIT = 128 * 1024
"""Reading pauses while twice as much lies unread: the pipe fills, and the writer has to wait."""
PIECE = 64 * 1024
ENDLESS = 0xFFFFFFFF


def output_pipe() -> tuple[job.Handle, job.Handle]:
    """Reading end (for `PipeFeed`), writing end."""
    read, write = windows_utils.pipe(overlapped=(True, False), duplex=False)
    return job.Handle(read), job.Handle(write)


class PipeFeed(asyncio.ReadTransport):
    """Feeds `reader` with one piece at a time, which the loop takes before the next is read.

    The thread does not keep it alive: a feed that nobody wants any longer ends its thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, source: job.Handle) -> None:
        super().__init__()
        self.reader = asyncio.StreamReader(limit=LIMIT, loop=loop)
        self.reader.set_transport(self)
        self._pump = _Pump(source)
        self.writers_gone = self._pump.writers_gone
        """Set by whoever knows: what is in the pipe is all, even if a stranger holds it open."""
        self._paused = False
        arguments = (loop, weakref.WeakMethod(self._take))
        threading.Thread(target=self._pump.run, args=arguments, name="output", daemon=True).start()

    def is_reading(self) -> bool:
        return not self._paused

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._pump.go.set()

    def _take(self, data: bytes) -> None:
        """In the loop."""
        if not data:
            self.reader.feed_eof()
            return
        self.reader.feed_data(data)
        if not self._paused:
            self._pump.go.set()

    def __del__(self) -> None:
        self._pump.unwanted = True
        self._pump.go.set()


class _Pump:
    """What the thread works with."""

    def __init__(self, source: job.Handle) -> None:
        self.writers_gone = job.Event()
        self.unwanted = False
        self.go = threading.Event()
        """Set when the next piece may be read."""
        self.go.set()
        self._source = source

    def run(
        self, loop: asyncio.AbstractEventLoop, take: weakref.WeakMethod[Callable[[bytes], None]]
    ) -> None:
        data = b"..."
        while data:
            self.go.wait()
            self.go.clear()
            data = b"" if self.unwanted else self._read()
            try:
                if method := take():
                    loop.call_soon_threadsafe(method, data)
            except RuntimeError:
                return  # the loop is closed: nobody reads any longer
            del method

    def _read(self) -> bytes:
        """The next piece; empty at the end."""
        try:
            reading, error = _winapi.ReadFile(self._source.value, PIECE, overlapped=True)
            if error == _winapi.ERROR_IO_PENDING:
                events = [reading.event, self.writers_gone.handle.value]
                if _winapi.WaitForMultipleObjects(events, False, ENDLESS) != 0:
                    reading.cancel()
            count, _ = reading.GetOverlappedResult(True)
        except OSError:
            return b""  # the last writer has closed its end
        return (reading.getbuffer() or b"")[:count]
