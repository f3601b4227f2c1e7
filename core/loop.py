"""The event loop of this platform."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

log = logging.getLogger(__name__)

MANY_FILES = 65_536, 10_240
"""What is asked for, the second where the first is refused (macOS); every stream needs two."""


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop where it exists, else asyncio's own; this process may open many connections then."""
    allow_many_files()
    if sys.platform == "win32":
        return proactor_loop
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def allow_many_files() -> None:
    """Raise the soft limit of open files: 1024 on most Linux systems, 256 on macOS."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        for wanted in MANY_FILES:
            limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            if soft == resource.RLIM_INFINITY or soft >= limit:
                return
            with suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
                return


def accept_in_spite_of_resets(
    accept: Callable[[], asyncio.Future[Any]],
    is_open: Callable[[], bool],
    outer: asyncio.Future[Any],
) -> asyncio.Future[Any]:
    """Settle `outer` with the first connection that is accepted while the listener is open.

    A client that connects and resets fails the accept; asyncio would close the listener for good
    (CPython gh-93821).
    """
    pending: list[asyncio.Future[Any]] = []

    def arm() -> None:
        try:
            pending[:] = [accept()]
        except OSError as error:
            outer.set_exception(error)
        else:
            pending[0].add_done_callback(done)

    def done(inner: asyncio.Future[Any]) -> None:
        error = None if inner.cancelled() else inner.exception()
        if outer.done():
            if not inner.cancelled() and error is None:
                inner.result()[0].close()
        elif inner.cancelled():
            outer.cancel()
        elif isinstance(error, OSError) and is_open():
            arm()
        elif error is not None:
            outer.set_exception(error)
        else:
            outer.set_result(inner.result())

    def give_up(outer: asyncio.Future[Any]) -> None:
        if outer.cancelled() and pending:
            pending[0].cancel()

    outer.add_done_callback(give_up)
    arm()
    return outer


NOISE = frozenset({59, 64, 10053, 10054, 10057})
"""What Windows calls a connection that ended while something was still to be done with it."""


def without_noise(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An exception handler: a client that went away in the middle is nothing to report.

    asyncio on Windows reports it from its own transports (CPython gh-83037) and from the task with
    which it accepts; a task of ours that fails this way is reported as ever.
    """
    error, task = context.get("exception"), context.get("future", context.get("task"))
    ours = task is not None and "IocpProactor.accept" not in repr(task)
    if isinstance(error, OSError) and not ours and getattr(error, "winerror", None) in NOISE:
        log.debug("a connection ended: %s", error)
    else:
        loop.default_exception_handler(context)


if sys.platform == "win32":

    def proactor_loop() -> asyncio.AbstractEventLoop:
        loop = asyncio.ProactorEventLoop(Proactor())
        loop.set_exception_handler(without_noise)
        if threading.current_thread() is threading.main_thread():
            # A signal that finds another wake-up on its way needs none, and no complaint either.
            wake_up: Any = loop
            signal.set_wakeup_fd(wake_up._csock.fileno(), warn_on_full_buffer=False)
        return loop

    class Proactor(asyncio.IocpProactor):
        """Goes on listening whatever a client does."""

        _fresh: Any = None
        """The socket of the connection that the last `accept` waits for."""

        def accept(self, listener: Any) -> asyncio.Future[Any]:
            return accept_in_spite_of_resets(
                lambda: self._accept_once(listener),
                lambda: listener.fileno() != -1,
                asyncio.get_running_loop().create_future(),
            )

        def _accept_once(self, listener: Any) -> asyncio.Future[Any]:
            self._fresh = None
            try:
                accepting = super().accept(listener)
            except OSError:  # the listener has been closed
                if self._fresh is not None:
                    self._fresh.close()
                raise
            fresh = self._fresh

            def done(accepting: asyncio.Future[Any]) -> None:
                if accepting.cancelled() or accepting.exception() is not None:
                    fresh.close()

            accepting.add_done_callback(done)
            return accepting

        def _get_accept_socket(self, family: int) -> Any:
            self._fresh = super()._get_accept_socket(family)  # type: ignore[misc]
            return self._fresh
