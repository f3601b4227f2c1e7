"""The loop of this platform, and the accept that a client cannot end."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from typing import Any

import pytest

from core.loop import accept_in_spite_of_resets, loop_factory
from tests.fakes.waiting import until

if sys.platform == "win32":
    from core.loop import Proactor, without_noise


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


if sys.platform == "win32":

    def test_a_failed_accept_leaves_no_socket_behind() -> None:
        made: list[socket.socket] = []

        class Recording(Proactor):
            def _get_accept_socket(self, family: int) -> Any:
                made.append(super()._get_accept_socket(family))
                return made[-1]

        async def scenario() -> None:
            server = await asyncio.start_server(
                lambda reader, writer: writer.close(), "127.0.0.1", 0
            )
            address = server.sockets[0].getsockname()
            for _ in range(5):
                with socket.create_connection(address) as client:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("hh", 1, 0))
                await asyncio.sleep(0)
            reader, writer = await asyncio.open_connection(*address)
            assert await reader.read() == b""
            writer.close()
            server.close()
            await until(lambda: all(each.fileno() == -1 for each in made))
            assert len(made) >= 6

        loop = asyncio.ProactorEventLoop(Recording())
        loop.set_exception_handler(without_noise)
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(scenario())
