"""The loop of the program on Windows, for tests: it closes when its connections are closed.

There a close is over only when the system has told of what was still being sent, some turns of the
loop later; a test ends sooner. One that forgets to close a connection is found out all the same.
"""

from __future__ import annotations

import asyncio
import sys
import time
import weakref
from typing import Any

from core.loop import Proactor, without_noise

assert sys.platform == "win32"

PATIENCE = 30.0


class PatientLoop(asyncio.ProactorEventLoop):
    def __init__(self) -> None:
        super().__init__(Proactor())
        self.set_exception_handler(without_noise)
        self._transports: weakref.WeakSet[Any] = weakref.WeakSet()

    def _make_socket_transport(self, *args: Any, **more: Any) -> Any:
        transport = super()._make_socket_transport(*args, **more)
        self._transports.add(transport)
        return transport

    def close(self) -> None:
        if not self.is_closed():
            self.run_until_complete(self._until_closed())
        super().close()

    async def _until_closed(self) -> None:
        end = time.monotonic() + PATIENCE
        while any(map(_is_closing, self._transports)) and time.monotonic() < end:
            await asyncio.sleep(0.001)


def _is_closing(transport: Any) -> bool:
    return transport.is_closing() and transport._sock is not None
