"""The loop of this platform, and the accept that a client cannot end."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from core.loop import accept_in_spite_of_resets, loop_factory


def test_the_loop_runs() -> None:
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        assert runner.run(asyncio.sleep(0, "ran")) == "ran"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only: uvloop")
def test_uvloop_is_taken_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    import uvloop

    assert loop_factory() is uvloop.new_event_loop
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert loop_factory() is asyncio.new_event_loop


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only: the limit of open files")
def test_many_files_may_be_open() -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
        loop_factory()
        raised = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert raised[0] > 200
        assert raised[1] == hard
        loop_factory()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == raised
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Connection:
    closed = False

    def close(self) -> None:
        self.closed = True


class Listener:
    """Accepts when the test says so."""

    def __init__(self) -> None:
        self.open = True
        self.error: OSError | None = None
        self.accepts: list[asyncio.Future[Any]] = []
        self.outer = accept_in_spite_of_resets(
            self.accept, lambda: self.open, asyncio.get_running_loop().create_future()
        )

    def accept(self) -> asyncio.Future[Any]:
        if self.error is not None:
            raise self.error
        self.accepts.append(asyncio.get_running_loop().create_future())
        return self.accepts[-1]


async def turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_a_connection_is_handed_on() -> None:
    listener = Listener()
    listener.accepts[0].set_result("connection")
    assert await listener.outer == "connection"


async def test_resets_do_not_end_the_listener() -> None:
    listener = Listener()
    for number in range(30):
        listener.accepts[number].set_exception(ConnectionResetError(64, "reset"))
        await turns()
        assert not listener.outer.done()
    listener.accepts[30].set_result("connection")
    assert await listener.outer == "connection"


async def test_an_error_of_a_closed_listener_ends_it() -> None:
    listener = Listener()
    listener.open = False
    listener.accepts[0].set_exception(OSError(995, "closed"))
    with pytest.raises(OSError, match="closed"):
        await listener.outer
    assert len(listener.accepts) == 1


async def test_any_other_error_ends_it() -> None:
    listener = Listener()
    listener.accepts[0].set_exception(ValueError("nonsense"))
    with pytest.raises(ValueError, match="nonsense"):
        await listener.outer


async def test_an_accept_that_cannot_begin_again_ends_it() -> None:
    listener = Listener()
    listener.error = OSError("no handles left")
    listener.accepts[0].set_exception(ConnectionResetError())
    with pytest.raises(OSError, match="no handles left"):
        await listener.outer


async def test_a_cancelled_accept_is_cancelled_both_ways() -> None:
    listener = Listener()
    listener.outer.cancel()
    await turns()
    assert listener.accepts[0].cancelled()
    listener = Listener()
    listener.accepts[0].cancel()
    await turns()
    assert listener.outer.cancelled()


async def test_a_connection_that_came_too_late_is_closed() -> None:
    listener, connection = Listener(), Connection()
    listener.accepts[0].set_result((connection, ("127.0.0.1", 1)))
    listener.outer.cancel()
    await turns()
    assert connection.closed
