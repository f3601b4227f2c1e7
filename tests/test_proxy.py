"""Requests through a real aiohttp server to scripted servers, and what both sides see."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import pytest

from core.errors import BadRequest
from core.proxy import DROPPED, checked_path
from tests.fakes.upstream import (
    Connection,
    Proxy,
    Script,
    ScriptedServer,
    close,
    proxy_to,
    reset,
    scripted,
    until_left,
)
from tests.fakes.waiting import until
from tests.fakes.wire import Answer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
GET_CLOSE = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def post(body: bytes, *fields: bytes, path: bytes = b"/v1/x") -> bytes:
    lines = (b"POST %b HTTP/1.1" % path, b"Host: 127.0.0.1", b"Content-Length: %d" % len(body))
    return b"\r\n".join((*lines, *fields)) + b"\r\n\r\n" + body


async def ask(proxy: Proxy, request: bytes) -> bytes:
    """Everything that comes back until the connection is closed."""
    client = await proxy.connect()
    client.writer.write(request)
    data = await client.reader.read()
    client.writer.close()
    return data


async def head_of(client: Connection) -> bytes:
    return await client.reader.readuntil(b"\r\n\r\n")


async def exactly(client: Connection, data: bytes) -> None:
    got = await client.reader.readexactly(len(data))
    assert got == data


def quiet(proxy: Proxy, server: ScriptedServer) -> Callable[[], bool]:
    """Nothing is under way any more."""
    return lambda: (
        proxy.finished == len(proxy.flights)
        and proxy.pool.active == 0
        and all(connection.ended.is_set() for connection in server.connections)
    )


# --- the request ----------------------------------------------------------------------------


async def test_the_request_arrives_as_it_was_sent_without_what_concerns_one_hop() -> None:
    async with scripted((OK,)) as server, proxy_to(server.port) as proxy:
        body = b'{"a": 1}\n'
        fields = (
            b"X-Case: Kept",
            b"Authorization: Bearer sk-1",
            b"x-api-key: k",
            b"Cookie: a=b",
            b"Accept-Encoding: gzip",
            b"Connection: x-secret, close",
            b"X-Secret: 1",
            b"Keep-Alive: 5",
            b"TE: trailers",
            b"Proxy-Authorization: p",
            b"Expect: 100-continue",
        )
        await ask(proxy, post(body, *fields, path=b"/v1/x?q=%2E%2e&y=a/../b"))
        assert server.requests == [
            b"POST /v1/x?q=%%2E%%2e&y=a/../b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
            b"X-Case: Kept\r\nAuthorization: Bearer sk-1\r\nx-api-key: k\r\nCookie: a=b\r\n"
            b"Accept-Encoding: gzip\r\nContent-Length: 9\r\n\r\n%b" % (server.port, body)
        ]


async def test_fields_that_the_caller_names_are_dropped() -> None:
    async with scripted((OK,)) as server, proxy_to(server.port) as proxy:
        proxy.dropped = DROPPED | {b"authorization"}
        await ask(proxy, post(b"", b"authorization: secret", b"Connection: close"))
        assert b"secret" not in server.requests[0]


async def test_a_chunked_request_gets_a_length() -> None:
    async with scripted((OK,)) as server, proxy_to(server.port) as proxy:
        await ask(
            proxy,
            b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n2;x\r\nde\r\n0\r\nTrailer: x\r\n\r\n",
        )
        assert server.requests[0].endswith(b"Content-Length: 5\r\n\r\nabcde")
        assert b"chunked" not in server.requests[0]


async def test_a_compressed_request_passes_untouched() -> None:
    body = gzip.compress(b"x" * 1000)
    async with scripted((OK,)) as server, proxy_to(server.port) as proxy:
        await ask(proxy, post(body, b"Content-Encoding: gzip", b"Connection: close"))
        assert server.requests[0].endswith(body)
        assert b"Content-Encoding: gzip\r\n" in server.requests[0]


@pytest.mark.parametrize(
    "path",
    [
        "/a/../b",
        "/..",
        "/.",
        "/a/.",
        "/a/./b",
        "/a/%2e%2E/b",
        "/a/.%2e",
        "/a%2f..%2fb",
        "/a%2F%2e%2e",
        "/a/..;x/b",
        "/a\\b",
        "/a%5cb",
        "/a%5Cb",
        "/a%00",
        "/a b",
        "/a\x00",
        "/\xe4",
        "/a\tb",
        "/a#b",
        "*",
        "",
        "a",
        "http://stranger/a",
    ],
)
def test_paths_that_two_readers_could_understand_differently(path: str) -> None:
    with pytest.raises(BadRequest):
        checked_path(path)


@pytest.mark.parametrize(
    "path",
    ["/", "/v1/chat/completions", "//evil", "/a.b/..c/.d", "/a/...", "/%252e", "/a?x=../.."],
)
def test_other_paths_pass_unchanged(path: str) -> None:
    assert checked_path(path) == path.encode()


def test_random_paths_pass_unchanged_or_not_at_all() -> None:
    rng = random.Random(14)
    parts = ["/", ".", "..", "%2e", "%2E", "%2f", "%5c", "\\", "%00", "a", "?", ";", "//", "%", "é"]
    for _ in range(10_000):
        path = "/" + "".join(rng.choices(parts, k=rng.randrange(1, 8)))
        try:
            assert checked_path(path) == path.encode()
        except BadRequest:
            continue
        plain = path.partition("?")[0].lower().replace("%2e", ".").replace("%2f", "/")
        assert not {".", ".."} & {part.partition(";")[0] for part in plain.split("/")}, path


async def test_a_wrong_path_never_reaches_the_server() -> None:
    async with scripted((OK,)) as server, proxy_to(server.port) as proxy:
        data = await ask(proxy, b"GET /x/../y HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert data.startswith(b"HTTP/1.1 400")
        assert not server.connections


# --- the answer -----------------------------------------------------------------------------


async def test_an_answer_passes_byte_for_byte_and_both_connections_stay_open() -> None:
    answer = b"HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 4\r\n\r\n\x00\xff\r\n"
    async with scripted((answer,)) as server, proxy_to(server.port) as proxy:
        client = await proxy.connect()
        for _ in range(3):
            client.writer.write(GET)
            await exactly(client, answer)
        assert len(server.connections) == 1
        client.writer.close()
        await until(lambda: proxy.finished == 3)
        assert [flight.outcome for flight in proxy.flights] == ["ok"] * 3
        assert proxy.answers[0].status == 200


async def test_chunks_pass_as_they_come() -> None:
    go = asyncio.Event()
    async with (
        scripted((SSE + b"3\r\none\r\n", go, b"3;x=y\r\ntwo\r\n0\r\nX-T: 1\r\n\r\n")) as server,
        proxy_to(server.port) as proxy,
    ):
        client = await proxy.connect()
        client.writer.write(GET)
        await head_of(client)
        await exactly(client, b"3\r\none\r\n")
        assert proxy.flights[0].reads == 1
        assert proxy.flights[0].outcome == "client_closed"  # as it stands, if it left now
        go.set()
        await exactly(client, b"3;x=y\r\ntwo\r\n0\r\nX-T: 1\r\n\r\n")
        client.writer.close()


async def test_redirects_are_not_followed() -> None:
    async with scripted((OK,)) as stranger:
        moved = (
            b"HTTP/1.1 %%d X\r\nLocation: http://127.0.0.1:%d/\r\nContent-Length: 0\r\n\r\n"
            % stranger.port
        )
        for status in (301, 302, 303, 307, 308):
            async with scripted((moved % status,)) as server, proxy_to(server.port) as proxy:
                data = await ask(proxy, post(b"x", b"Connection: close"))
                assert data.startswith(b"HTTP/1.1 %d" % status)
                assert b"Location: http" in data
        assert not stranger.connections


@pytest.mark.parametrize(
    "wrong",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"<html>hello</html>",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 200 OK\n\nhello",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 9000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 90000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
    ],
)
async def test_a_server_that_does_not_speak_http_is_a_bad_gateway(wrong: bytes) -> None:
    async with scripted((wrong, until_left)) as server, proxy_to(server.port) as proxy:
        data = await ask(proxy, GET_CLOSE)
        answer = Answer(data, closed=True)
        assert answer.status == 502
        assert json.loads(answer.body)["error"]["code"] == "upstream_error"
        await until(quiet(proxy, server))


async def test_a_dead_server_is_a_bad_gateway() -> None:
    async with scripted((OK,)) as server:
        port = server.port
    async with proxy_to(port) as proxy:
        assert (await ask(proxy, GET_CLOSE)).startswith(b"HTTP/1.1 502")


async def test_surplus_bytes_never_reach_the_next_client() -> None:
    stolen = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"
    async with scripted((OK + stolen,), (OK,)) as server, proxy_to(server.port) as proxy:
        client = await proxy.connect()
        for _ in range(2):
            client.writer.write(GET)
            await exactly(client, OK)
        assert len(server.connections) == 2
        client.writer.close()


async def test_an_answer_may_begin_before_the_request_has_ended() -> None:
    async def wait(connection: Connection) -> None:
        await connection.ended.wait()

    early = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno"
    async with scripted((early, wait)) as server, proxy_to(server.port) as proxy:
        server.read_body = False
        client = await proxy.connect()
        client.writer.write(post(b"x" * (16 << 20)))
        await exactly(client, early)
        await until(lambda: proxy.pool.active == 0)
        client.writer.close()
        server.connections[0].ended.set()


async def test_large_bodies_pass_in_both_directions() -> None:
    body = random.Random(1).randbytes(5 << 20)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with scripted((head, body)) as server, proxy_to(server.port) as proxy:
        data = await ask(proxy, post(body, b"Connection: close"))
        assert server.requests[0].endswith(body)
        assert data.endswith(body)


# --- connections that were closed meanwhile -------------------------------------------------


async def test_a_stale_connection_is_tried_once_more_with_a_new_one() -> None:
    async with scripted((OK,), (reset,), (OK,)) as server, proxy_to(server.port) as proxy:
        client = await proxy.connect()
        for _ in range(2):
            client.writer.write(GET)
            await exactly(client, OK)
        assert [len(one.requests) for one in server.connections] == [2, 1]
        client.writer.close()


async def test_it_is_not_tried_a_third_time() -> None:
    async with scripted((OK,), (reset,), (reset,), (OK,)) as server, proxy_to(server.port) as proxy:
        client = await proxy.connect()
        client.writer.write(GET)
        await exactly(client, OK)
        client.writer.write(GET)
        assert (await head_of(client)).startswith(b"HTTP/1.1 502")
        assert len(server.requests) == 3
        client.writer.close()


async def test_a_new_connection_is_not_tried_again() -> None:
    async with scripted((close,), (OK,)) as server, proxy_to(server.port) as proxy:
        assert (await ask(proxy, GET_CLOSE)).startswith(b"HTTP/1.1 502")
        assert len(server.requests) == 1


async def test_after_the_first_byte_it_is_not_tried_again() -> None:
    async with scripted((OK,), (b"HTTP", close), (OK,)) as server, proxy_to(server.port) as proxy:
        client = await proxy.connect()
        client.writer.write(GET)
        await exactly(client, OK)
        client.writer.write(GET)
        assert (await head_of(client)).startswith(b"HTTP/1.1 502")
        assert len(server.requests) == 2
        client.writer.close()


async def test_a_server_with_a_short_keep_alive_fails_no_request() -> None:
    async with scripted((OK, close)) as server, proxy_to(server.port) as proxy:
        client = await proxy.connect()
        for _ in range(100):
            client.writer.write(GET)
            await exactly(client, OK)
        client.writer.close()


# --- breaks and departures ------------------------------------------------------------------


@pytest.mark.parametrize("end", [close, reset])
@pytest.mark.parametrize("events", range(4))
async def test_a_crash_in_a_stream_is_told_to_the_client(events: int, end: Any) -> None:
    stream = tuple(b"9\r\ndata: %d\n\n\r\n" % number for number in range(events))
    script: Script = (SSE, *stream, end)
    async with scripted(script) as server, proxy_to(server.port) as proxy:
        client = await proxy.connect()
        client.writer.write(GET)
        data = await client.reader.read()
        answer = Answer(data, closed=True)
        if end is close:
            assert b"event: error" in answer.body
        assert not answer.whole
        assert answer.body.count(b"data: ") == answer.body.count(b"event: error") + events
        client.writer.close()
        await until(quiet(proxy, server))
        assert proxy.flights[0].outcome == "upstream_broken"


async def test_a_crash_in_another_answer_is_a_closed_connection() -> None:
    script: Script = (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegun", close)
    async with scripted(script) as server, proxy_to(server.port) as proxy:
        data = await ask(proxy, GET)
        assert data.endswith(b"\r\n\r\nbegun")


async def test_an_old_client_sees_a_reset_where_only_the_end_tells_the_length() -> None:
    script: Script = (SSE.replace(b"text/event-stream", b"a/b") + b"5\r\nbegun\r\n", close)
    async with scripted(script) as server, proxy_to(server.port) as proxy:
        client = await proxy.connect()
        client.writer.write(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await client.reader.read()  # a clean end would return what there is
        client.writer.close()


async def test_closing_the_pool_ends_the_streams_at_once() -> None:
    async with scripted((SSE + b"5\r\nhello\r\n", until_left)) as server:
        async with proxy_to(server.port) as proxy:
            clients = [await proxy.connect() for _ in range(5)]
            for client in clients:
                client.writer.write(GET)
                await head_of(client)
            proxy.pool.close()
            assert proxy.pool.active == 0
            for client in clients:
                data = await client.reader.read()
                assert b"event: error" in data
                assert b"being stopped" in data
                client.writer.close()
            await until(quiet(proxy, server))
            assert (await ask(proxy, GET_CLOSE)).startswith(b"HTTP/1.1 502")


PHASES: dict[str, Script] = {
    "before the head": (until_left,),
    "inside the head": (b"HTTP/1.1 200 OK\r\nCont", until_left),
    "after the head": (SSE, until_left),
    "inside the body": (SSE + b"10\r\nhello", until_left),
}


def vanish(client: Connection) -> None:
    client.writer.transport.abort()


def say_goodbye(client: Connection) -> None:
    client.writer.close()


def half_close(client: Connection) -> None:
    client.writer.write_eof()


@pytest.mark.parametrize("leave", [vanish, say_goodbye, half_close])
@pytest.mark.parametrize("phase", PHASES)
async def test_a_client_that_leaves_ends_its_upstream_request(
    phase: str, leave: Callable[[Connection], None]
) -> None:
    async with scripted(PHASES[phase]) as server, proxy_to(server.port) as proxy:
        client = await proxy.connect()
        client.writer.write(GET)
        await until(lambda: server.requests)
        if "after" in phase or "body" in phase:
            await head_of(client)
        leave(client)
        await until(quiet(proxy, server))
        assert proxy.finished == 1
        assert proxy.flights[0].outcome == "client_closed"
        client.writer.close()


async def test_random_departures_leave_nothing_behind() -> None:
    rng = random.Random(16)
    script: Script = (SSE, *([b"5\r\nhello\r\n"] * 20), b"0\r\n\r\n")

    async def visit(proxy: Proxy) -> None:
        client = await proxy.connect()
        client.writer.write(post(b"x" * rng.choice([0, 100])))
        if rng.random() < 0.7:
            for _ in range(rng.randrange(6)):
                await client.reader.read(30)
        rng.choice([vanish, say_goodbye])(client)

    async with scripted(script) as server, proxy_to(server.port) as proxy:
        for _ in range(10):
            await asyncio.gather(*(visit(proxy) for _ in range(20)))
        await until(lambda: proxy.finished == len(proxy.flights) and proxy.pool.active == 0)
        assert {flight.outcome for flight in proxy.flights} <= {"ok", "client_closed"}


# --- flow control ---------------------------------------------------------------------------


async def test_a_client_that_does_not_read_stops_the_server() -> None:
    """The server gets rid of a small part of its 20 MB only."""
    await pour_for_a_lazy_client(20 << 20)


@pytest.mark.soak
async def test_a_client_that_does_not_read_stops_even_a_large_answer() -> None:
    await pour_for_a_lazy_client(100 << 20)


async def pour_for_a_lazy_client(size: int) -> None:
    sent = 0

    async def pour(connection: Connection) -> None:
        nonlocal sent
        block = bytes(65536)
        for _ in range(size // len(block)):
            connection.writer.write(block)
            await connection.writer.drain()
            sent += len(block)

    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    async with scripted((head, pour)) as server, proxy_to(server.port) as proxy:
        client = await proxy.connect(limit=1024)
        before = peak_mb()
        client.writer.write(GET)
        await until(lambda: sent > 0)
        still = -1
        while still != sent:  # until nothing moves any more
            still = sent
            await asyncio.sleep(0.2)
        assert sent < 14 << 20
        assert proxy.flights[0].bytes < 12 << 20
        assert peak_mb() - before < 16
        await head_of(client)
        got = 0
        while got < size:
            got += len(await client.reader.read(1 << 20))
        assert got == size
        client.writer.close()
        await until(lambda: proxy.finished == 1)
        assert proxy.flights[0].outcome == "ok"


def peak_mb() -> float:
    """Peak memory of this process; 0 where the system does not tell it in this unit."""
    if sys.platform != "linux":
        return 0.0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def test_a_pipelining_client_that_does_not_read_is_not_served_further() -> None:
    """Its answers would pile up in memory."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % 50_000 + bytes(50_000)
    async with scripted((answer,)) as server, proxy_to(server.port) as proxy:
        client = await proxy.connect(limit=1024)
        client.writer.write(GET * 1000)
        await until(lambda: server.requests)
        still = -1
        while still != len(server.requests):
            still = len(server.requests)
            await asyncio.sleep(0.2)
        assert len(server.requests) < 500
        client.writer.close()


# --- both loops -----------------------------------------------------------------------------


async def test_many_streams_at_once() -> None:
    go = asyncio.Event()
    script: Script = (SSE + b"5\r\nhello\r\n", go, b"0\r\n\r\n")
    async with scripted(script) as server, proxy_to(server.port) as proxy:
        clients = await asyncio.gather(*(proxy.connect() for _ in range(150)))
        for client in clients:
            client.writer.write(GET)
        for client in clients:
            await head_of(client)
        assert proxy.pool.active == 150
        go.set()
        for client in clients:
            await exactly(client, b"5\r\nhello\r\n0\r\n\r\n")
            client.writer.close()
        await until(lambda: proxy.pool.active == 0)


async def test_an_ordinary_client_library_is_content() -> None:
    stream = b"".join(b"9\r\ndata: %d\n\n\r\n" % number for number in range(4))
    old = b"HTTP/1.0 200 OK\r\n\r\nplain"
    async with (
        scripted((OK,), (SSE, stream, b"0\r\n\r\n"), (old, close)) as server,
        proxy_to(server.port) as proxy,
        aiohttp.ClientSession(f"http://127.0.0.1:{proxy.port}") as session,
    ):
        for text in ("ok", "".join(f"data: {number}\n\n" for number in range(4)), "plain"):
            async with session.post("/v1/x", json={"model": "m"}) as response:
                assert await response.text() == text


SCENARIOS: list[Callable[[], Coroutine[Any, Any, None]]] = [
    test_an_answer_passes_byte_for_byte_and_both_connections_stay_open,
    test_chunks_pass_as_they_come,
    test_surplus_bytes_never_reach_the_next_client,
    test_an_answer_may_begin_before_the_request_has_ended,
    test_large_bodies_pass_in_both_directions,
    test_a_stale_connection_is_tried_once_more_with_a_new_one,
    test_a_dead_server_is_a_bad_gateway,
    test_an_old_client_sees_a_reset_where_only_the_end_tells_the_length,
    test_closing_the_pool_ends_the_streams_at_once,
    test_random_departures_leave_nothing_behind,
    test_a_client_that_does_not_read_stops_the_server,
    test_a_pipelining_client_that_does_not_read_is_not_served_further,
    test_many_streams_at_once,
    test_an_ordinary_client_library_is_content,
]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_same_on_uvloop(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    uvloop = pytest.importorskip("uvloop", reason="POSIX only: uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(scenario(), 15))  # a signal would not reach this loop


@pytest.mark.parametrize("leave", [vanish, say_goodbye, half_close])
@pytest.mark.parametrize("phase", PHASES)
def test_departures_on_uvloop(phase: str, leave: Callable[[Connection], None]) -> None:
    uvloop = pytest.importorskip("uvloop", reason="POSIX only: uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        departure = test_a_client_that_leaves_ends_its_upstream_request(phase, leave)
        runner.run(asyncio.wait_for(departure, 15))
