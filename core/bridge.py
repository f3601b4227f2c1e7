"""The only ways between the loop's thread and any other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Bridge:
    """Lets the tray and the file watcher ask for something in the loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def call(self, function: Callable[..., object], *args: Any) -> None:
        """Run `function(*args)` in the loop soon; does nothing once the loop is closed."""
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            return  # the program is ending: nobody is left to be told


async def in_thread(function: Callable[..., T], *args: Any, name: str = "worker") -> T:
    """Run a blocking call in a daemon thread of its own.

    Not `asyncio.to_thread`: a call that never returns would hold one of the few pool threads for
    ever and keep the program from ending. A cancelled caller leaves the thread to finish alone.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result: T | None = None
        failure: BaseException | None = None
        try:
            result = function(*args)
        except BaseException as error:  # handed to the caller, whatever it is
            failure = error
            if isinstance(error, StopIteration | SystemExit | KeyboardInterrupt):
                failure = RuntimeError(f"{type(error).__name__} in {name}: {error}")
        try:
            loop.call_soon_threadsafe(settle, result, failure)
        except RuntimeError:
            return  # the loop is closed

    threading.Thread(target=run, name=name, daemon=True).start()
    return await future
