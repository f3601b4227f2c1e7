"""The short way: what takes it, what does not, and that nobody sees a difference."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from core.events import RequestFinished
from core.fast_path import FastPath
from core.gateway import Gateway
from core.upstream import UpstreamPool
from tests.fakes.site import Site, connected, error_code
from tests.fakes.upstream import Script, ScriptedServer, close, scripted, until_left
from tests.fakes.waiting import until
from tests.scheduling.worlds import model, variant

CHAT = "/v1/chat/completions"
BODY = b'{"model": "chat", "x": 1.50}'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"9\r\ndata: 1\n\n\r\n"
END = b"0\r\n\r\n"


HANDLE = Gateway.handle


def post(*fields: str, body: bytes = BODY, path: str = CHAT, version: str = "1.1") -> bytes:
    lines = [f"POST {path} HTTP/{version}", "Host: localhost", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *fields, "", ""]).encode() + body


@dataclass
class Stage:
    """A site with one ready model before a scripted server."""

    site: Site
    server: ScriptedServer
    long_way: list[str]
    """Paths of the requests that went through the gateway's handler."""
    ended: list[RequestFinished]

    @property
    def instance(self) -> Any:
        return self.site.house.controller.fleet.of("chat")

    @property
    def pool(self) -> UpstreamPool:
        pool: UpstreamPool = self.instance.connections
        return pool

    def at_rest(self) -> bool:
        return (
            not self.site.gateway.flights.in_flight
            and self.pool.active == 0
            and self.instance.leases == 0
        )


@contextlib.asynccontextmanager
async def stage(
    *scripts: Script, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> AsyncIterator[Stage]:
    long_way: list[str] = []

    async def seen(self: Gateway, request: Any) -> Any:
        long_way.append(request.raw_path)
        return await HANDLE(self, request)

    monkeypatch.setattr(Gateway, "handle", seen)
    async with scripted(*scripts) as server:
        chat = replace(model("chat", variant(gpu=10), port=server.port), **options)
        async with Site(chat) as site:
            ended: list[RequestFinished] = []
            site.house.bus.listen(
                lambda e: ended.append(e) if isinstance(e, RequestFinished) else None
            )
            await site.house.ready("chat")
            site.access._good_hosts.add("localhost")
            yield Stage(site, server, long_way, ended)
            if site.house.controller.fleet.of("chat") is not None:
                await until(Stage(site, server, long_way, ended).at_rest)


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    if b"chunked" in head.lower():
        return head + await reader.readuntil(END)
    found = re.search(rb"\ncontent-length: (\d+)", head.lower())
    assert found
    return head + await reader.readexactly(int(found[1]))


# ---- who takes it ------------------------------------------------------------------------------


async def test_plain_requests_take_it_from_a_connection_s_first_to_its_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stage((OK,), monkeypatch=monkeypatch) as at, connected(at.site.port) as (r, w):
        for number in range(5):
            w.write(post(f"X-Number: {number}"))
            assert await read_answer(r) == OK
        assert len(at.long_way) <= 1  # the first may come before aiohttp's loop has begun
        assert len(at.server.connections) == 1
        assert [e.outcome for e in at.ended] == ["ok"] * 5
        assert at.server.requests[3] == (
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-Number: 3\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (at.server.port, len(BODY), BODY)
        )


@contextlib.asynccontextmanager
async def warm(at: Stage) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection whose next plain request takes the short way."""
    async with connected(at.site.port) as (reader, writer):
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await read_answer(reader)
        # It sleeps again: aiohttp has made the future that its next request wakes.
        await until(lambda: all(c._waiter is not None for c in at.site.server.connections))
        at.long_way.clear()
        yield reader, writer


FORM = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nchat\r\n--x--\r\n'
SPECIAL = {
    "another path": post(path="/v1/nothing"),
    "a query": post(path=f"{CHAT}?a=1"),
    "a path with dots": post(path="/v1/../v1/chat/completions"),
    "another method": b"PUT " + post().removeprefix(b"POST "),
    "old HTTP": post(version="1.0"),
    "old HTTP, kept": post("Connection: keep-alive", version="1.0"),
    "the last request": post("Connection: close"),
    "an upgrade": post("Connection: upgrade", "Upgrade: h2c"),
    "Expect": post("Expect: something"),
    "another host": post().replace(b"localhost", b"evil.example"),
    "an unknown host of ours": post().replace(b"localhost", b"127.0.0.1"),
    "a page of ours": post("Origin: http://localhost"),
    "a page of another": post("Origin: http://evil.example"),
    "a page without origin": post("Sec-Fetch-Site: cross-site"),
    "a form": post("Content-Type: multipart/form-data; boundary=x", body=FORM),
    "compressed": post("Content-Encoding: gzip", body=gzip.compress(BODY)),
    "not JSON": post(body=b"{"),
    "no model": post(body=b"{}"),
    "an unknown model": post(body=b'{"model": "nobody"}'),
    "no HTTP": b"nonsense\r\n\r\n",
    "two lengths": post("Content-Length: 7"),
    "two in one piece": post() + post("Connection: close"),
}
"""Requests that the usual way answers; each with the same words as if there were no other."""


@pytest.mark.parametrize("request_", SPECIAL.values(), ids=SPECIAL.keys())
async def test_whatever_is_not_plain_goes_the_usual_way(
    request_: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answers() -> tuple[bytes, list[bytes], list[str]]:
        async with stage((OK,), monkeypatch=monkeypatch) as at, warm(at) as (reader, writer):
            writer.write(request_)
            answer = await read_answer(reader)
            if request_.count(b"POST") > 1:
                answer += await read_answer(reader)
            answer = re.sub(rb"\r\nDate: [^\r]*", b"", answer)
            sent = [r.replace(b":%d\r\n" % at.server.port, b"\r\n") for r in at.server.requests]
            return answer, sent, at.long_way

    with_it = await answers()
    monkeypatch.setattr(FastPath, "takes", lambda self, message: False)
    assert with_it == await answers()


PLAIN = {
    "as usual": post("Content-Type: application/json", "Authorization: Bearer k"),
    "another type": post("Content-Type: text/plain"),
    "in chunks": post("Transfer-Encoding: chunked", body=b"").replace(b"Content-Length: 0\r\n", b"")
    + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
    "hop by hop": post("Connection: keep-alive, x-mine", "X-Mine: 1", "TE: trailers"),
    "odd bytes": post("X-Odd: \x80\u00ff".encode().decode("latin-1")),
    "100 KB": post(body=b'{"model": "chat", "x": "%b"}' % (b"x" * 100_000)),
}


@pytest.mark.parametrize("request_", PLAIN.values(), ids=PLAIN.keys())
async def test_the_server_gets_the_same_bytes_on_both_ways(
    request_: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def sent() -> tuple[list[bytes], bytes]:
        async with stage((SSE, EVENT, END), monkeypatch=monkeypatch) as at, warm(at) as (r, w):
            w.write(request_)
            answer = await read_answer(r)
            return [q.replace(b":%d\r\n" % at.server.port, b"\r\n") for q in at.server.requests], (
                answer
            )

    short = await sent()
    monkeypatch.setattr(FastPath, "takes", lambda self, message: False)
    assert short == await sent()


async def test_another_name_for_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        stage((OK,), monkeypatch=monkeypatch, upstream_model="real/name") as at,
        warm(at) as (reader, writer),
    ):
        writer.write(post())
        assert await read_answer(reader) == OK
        assert at.long_way == []
        assert at.server.requests[0].endswith(b'\r\n\r\n{"model":"real/name","x":1.50}')


async def test_a_model_at_its_limit_and_one_that_sleeps_are_waited_for_on_the_usual_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go = asyncio.Event()
    async with (
        stage((go, OK), (OK,), monkeypatch=monkeypatch, concurrency=1) as at,
        warm(at) as (one, write_one),
        warm(at) as (other, write_other),
    ):
        write_one.write(post())
        await until(lambda: at.instance.leases == 1)
        write_other.write(post())
        await until(lambda: at.long_way == [CHAT] and at.server.requests)
        assert len(at.server.requests) == 1
        go.set()
        assert await read_answer(one) == OK
        assert await read_answer(other) == OK


# ---- ends and accidents ------------------------------------------------------------------------


async def test_a_client_that_leaves_ends_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage((SSE, EVENT, until_left), monkeypatch=monkeypatch) as at:
        async with warm(at) as (reader, writer):
            writer.write(post())
            await reader.readuntil(EVENT)
            assert at.long_way == []
        await until(at.at_rest)
        await until(lambda: at.server.connections[0].ended.is_set())
        assert [(e.status, e.outcome) for e in at.ended] == [(200, "client_closed")]


async def test_a_client_that_leaves_while_the_connection_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = asyncio.Event()

    async def never(pool: UpstreamPool) -> Any:
        begun.set()
        await asyncio.Event().wait()

    async with stage((OK,), monkeypatch=monkeypatch) as at:
        monkeypatch.setattr(UpstreamPool, "connect", never)
        async with warm(at) as (_, writer):
            writer.write(post())
            await begun.wait()
            assert at.instance.leases == 1
        await until(at.at_rest)
        assert [(e.status, e.outcome) for e in at.ended] == [(0, "client_closed")]
        assert at.long_way == []


async def test_a_request_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        stage((SSE, EVENT, until_left), monkeypatch=monkeypatch) as at,
        warm(at) as (reader, writer),
    ):
        writer.write(post())
        await reader.readuntil(EVENT)
        (number,) = at.site.gateway.flights.in_flight
        assert at.site.gateway.flights.cancel(number)
        with contextlib.suppress(ConnectionError):
            assert END not in await reader.read()
        await until(at.at_rest)
        assert [e.outcome for e in at.ended] == ["client_closed"]


async def test_a_kept_connection_that_the_server_has_closed_is_no_accident(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with (
        stage((OK,), (close,), (OK,), monkeypatch=monkeypatch) as at,
        warm(at) as (reader, writer),
    ):
        for _ in range(2):  # the second meets the closed one
            writer.write(post())
            assert await read_answer(reader) == OK
        assert at.long_way == [CHAT]
        assert len(at.server.connections) == 2
        assert [e.outcome for e in at.ended] == ["ok", "ok"]


@pytest.mark.parametrize("wrong", [b"SSH-2.0\r\n", b"HTTP/1.1 200 OK\r\nConte"])
async def test_a_server_that_gives_no_answer_is_told_once(
    wrong: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        stage((wrong, close), (OK,), monkeypatch=monkeypatch) as at,
        warm(at) as (reader, writer),
    ):
        writer.write(post())
        assert error_code(await read_answer(reader)) == (502, "upstream_error")
        assert at.long_way == []
        assert [(e.status, e.outcome) for e in at.ended] == [(0, "upstream_broken")]
        await until(lambda: at.instance.serving)  # it was in doubt, and somebody looked
        writer.write(post())  # the client's connection lives
        assert await read_answer(reader) == OK
        assert len(at.server.requests) == 2


async def test_a_server_that_takes_no_connection_is_left_to_the_usual_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = 0
    connect = UpstreamPool.connect

    async def first_refused(pool: UpstreamPool) -> Any:
        nonlocal refused
        refused += 1
        if refused == 1:
            pool._port = 1  # nobody is there
            try:
                return await connect(pool)
            finally:
                pool._port = at.server.port
        return await connect(pool)

    async with stage((OK,), monkeypatch=monkeypatch) as at, warm(at) as (reader, writer):
        monkeypatch.setattr(UpstreamPool, "connect", first_refused)
        writer.write(post())
        assert await read_answer(reader) == OK
        assert at.long_way == [CHAT]
        assert [e.outcome for e in at.ended] == ["ok"]


async def test_a_fault_of_ours_gives_the_lease_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(pool: UpstreamPool) -> Any:
        raise ZeroDivisionError

    async with stage((OK,), monkeypatch=monkeypatch) as at, warm(at) as (reader, writer):
        with monkeypatch.context() as patch:
            patch.setattr(UpstreamPool, "connect", broken)
            writer.write(post())
            assert error_code(await read_answer(reader)) == (502, "upstream_error")
        assert any("no connection for" in message for message in caplog.messages)
        await until(lambda: at.instance.serving)
        writer.write(post())
        assert await read_answer(reader) == OK


async def test_a_broken_stream_ends_with_an_error_event_and_a_closed_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with (
        stage((SSE, EVENT, close), monkeypatch=monkeypatch) as at,
        warm(at) as (reader, writer),
    ):
        writer.write(post())
        told = await reader.read()
        assert b"event: error" in told
        assert not told.endswith(END)
        assert at.long_way == []
        assert [e.outcome for e in at.ended] == ["upstream_broken"]
