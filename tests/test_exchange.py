"""Answers on their way: framing, breaks, flow control; and random ones cut at random places."""

from __future__ import annotations

import asyncio
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.exchange import HIGH, LOOK_AFTER
from tests.fakes.wire import Answer, Play

SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def played(
    *pieces: bytes, end: str = "wait", knows_chunks: bool = True, head_only: bool = False
) -> tuple[Play, Answer]:
    play = Play(knows_chunks=knows_chunks, head_only=head_only)
    await play.run(list(pieces), end=end)
    answer = Answer(
        bytes(play.client.sent),
        closed=not play.exchange.keep_alive,
        method="HEAD" if head_only else "GET",
    )
    return play, answer


async def test_an_answer_passes_and_the_connection_is_kept() -> None:
    play, answer = await played(b"HTTP/1.1 200 Sure <b>\r\nX: y\r\nContent-Length: 5\r\n\r\nhello")
    assert bytes(play.client.sent) == (b"HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 5\r\n\r\nhello")
    assert (answer.status, answer.body, answer.whole) == (200, b"hello", True)
    assert play.exchange.keep_alive
    assert play.pool.take() is play.upstream
    assert (play.live.outcome, play.live.status, play.live.bytes, play.live.reads) == (
        "ok",
        200,
        5,
        1,
    )
    assert play.live.first_byte_at is not None


async def test_the_usage_is_read_on_the_way() -> None:
    usage = b'{"usage":{"prompt_tokens":3}}'
    play, _ = await played(SSE + CHUNKED, chunk(b"data: %b\n\n" % usage), b"0\r\n\r\n")
    assert play.live.usage == {"prompt_tokens": 3}
    many = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(usage) + 40000)
    play, _ = await played(many, usage + b" " * 40000)
    assert play.live.usage == {"prompt_tokens": 3}
    play, _ = await played(many, b" " * 20000, b" " * 20000 + usage)
    assert play.live.usage == {"prompt_tokens": 3}


async def test_compressed_answers_pass_unread() -> None:
    usage = b'{"usage":{"prompt_tokens":3}}'
    play, answer = await played(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(usage),
        usage,
    )
    assert answer.fields[b"content-encoding"] == b"gzip"
    assert answer.body == usage
    assert play.live.usage == {}


@pytest.mark.parametrize("cut", range(1, 90))
async def test_a_head_may_come_in_any_two_pieces(cut: int) -> None:
    whole = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok"
    _, answer = await played(*filter(None, (whole[:cut], whole[cut:])))
    assert (answer.status, answer.body, answer.whole) == (201, b"ok", True)


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body(status: int) -> None:
    play, answer = await played(b"HTTP/1.1 %d X\r\nContent-Length: 7\r\n\r\n" % status)
    assert (answer.status, answer.whole, answer.body) == (status, True, b"")
    assert (b"content-length" in answer.fields) is (status == 304)
    assert play.pool.take() is play.upstream


async def test_head_gets_the_length_but_no_body() -> None:
    _, answer = await played(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", head_only=True)
    assert (answer.whole, answer.body, answer.fields[b"content-length"]) == (True, b"", b"7")
    _, answer = await played(b"HTTP/1.1 200 OK\r\n" + CHUNKED, head_only=True)
    assert b"transfer-encoding" not in answer.fields


@pytest.mark.parametrize(
    "whole",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokSURPLUS",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nSURPLUS",
        b"HTTP/1.1 204 OK\r\n\r\nSURPLUS",
        b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"0\r\n\r\nSURPLUS",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    ],
)
async def test_a_connection_with_surplus_bytes_is_never_used_again(whole: bytes) -> None:
    play, answer = await played(whole)
    assert answer.whole
    assert b"SURPLUS" not in play.client.sent
    assert play.server.closed
    assert play.pool.take() is None


async def test_our_own_fields_replace_the_servers() -> None:
    play = Play(extra_headers=((b"X-Request-Id", b"ours"), (b"Vary", b"Origin")))
    await play.run([b"HTTP/1.1 200 OK\r\nx-request-ID: theirs\r\nContent-Length: 0\r\n\r\n"])
    assert bytes(play.client.sent) == (
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Request-Id: ours\r\nVary: Origin\r\n\r\n"
    )


async def test_an_answer_that_ends_with_the_connection_is_put_into_chunks() -> None:
    play, answer = await played(b"HTTP/1.0 200 OK\r\n\r\nhel", b"lo", end="eof")
    assert (answer.body, answer.whole, answer.fields[b"transfer-encoding"]) == (
        b"hello",
        True,
        b"chunked",
    )
    assert play.exchange.keep_alive


@pytest.mark.parametrize("framing", [b"\r\n", CHUNKED])
async def test_an_old_client_gets_plain_bytes_and_the_end_of_its_connection(framing: bytes) -> None:
    body = chunk(b"hello") + b"0\r\n\r\n" if framing is CHUNKED else b"hello"
    play, answer = await played(
        b"HTTP/1.1 200 OK\r\n" + framing, body, end="eof", knows_chunks=False
    )
    assert (answer.body, answer.whole) == (b"hello", True)
    assert b"transfer-encoding" not in answer.fields
    assert answer.fields[b"connection"] == b"close"
    assert not play.exchange.keep_alive


async def test_an_old_client_may_keep_its_connection_where_the_length_is_known() -> None:
    play, answer = await played(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", knows_chunks=False
    )
    assert answer.fields[b"connection"] == b"keep-alive"
    assert play.exchange.keep_alive


@pytest.mark.parametrize(
    "whole",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 17,
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n" + CHUNKED,
    ],
)
async def test_what_is_no_answer_fails_before_the_client_gets_a_byte(whole: bytes) -> None:
    play, _ = await played(whole)
    assert play.exchange.failure
    assert not play.client.sent
    assert play.server.closed
    assert (play.live.outcome, play.live.status) == ("upstream_broken", 0)


@pytest.mark.parametrize("end", ["eof", "reset"])
@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nConte", b"HTTP/1.1 100 C\r\n\r\n"])
async def test_a_server_that_ends_before_its_answer(begun: bytes, end: str) -> None:
    play, _ = await played(*filter(None, [begun]), end=end)
    assert "before its answer began" in play.exchange.failure
    assert not play.client.sent


STREAM = b"".join(chunk(b'data: {"n":%d}\n\n' % number) for number in range(4)) + b"0\r\n\r\n"


@pytest.mark.parametrize("knows_chunks", [True, False])
@pytest.mark.parametrize("end", ["eof", "reset"])
@pytest.mark.parametrize("length", range(len(STREAM)))
async def test_a_stream_broken_at_any_byte_ends_with_an_error_event(
    length: int, end: str, knows_chunks: bool
) -> None:
    play, answer = await played(
        *filter(None, (SSE + CHUNKED, STREAM[:length])), end=end, knows_chunks=knows_chunks
    )
    assert not play.exchange.keep_alive
    assert play.live.outcome == "upstream_broken"
    assert answer.whole is not knows_chunks  # an old client has nothing but the event
    last = answer.body.strip(b"\n").rpartition(b"\n\n")[2].strip(b"\n")
    first, second = last.split(b"\n")
    assert first == b"event: error"
    assert json.loads(second.removeprefix(b"data: "))["error"]["code"] == "upstream_error"
    assert b"[DONE]" not in answer.body


async def test_a_broken_stream_without_chunks_ends_with_an_error_event() -> None:
    _, answer = await played(SSE + b"\r\n", b"data: 1\n\n", end="reset")
    assert b"event: error" in answer.body
    assert not answer.whole
    _, answer = await played(SSE + b"\r\n", b"data: 1\n\nda", end="eof")
    assert b"event: error" in answer.body
    assert not answer.whole
    _, answer = await played(SSE + b"\r\n", b"data: 1\n\n", end="eof")
    assert (answer.body, answer.whole) == (b"data: 1\n\n", True)


async def test_the_error_stays_inside_the_announced_length() -> None:
    _, answer = await played(SSE + b"Content-Length: 500\r\n\r\n", b"data: 1\n\n", end="eof")
    assert b"event: error" in answer.body
    assert not answer.whole
    _, answer = await played(SSE + b"Content-Length: 30\r\n\r\n", b"data: 1\n\n", end="eof")
    assert answer.body == b"data: 1\n\n"


@pytest.mark.parametrize("framing", [b"Content-Length: 9\r\n\r\n", CHUNKED, b"\r\n"])
@pytest.mark.parametrize("knows_chunks", [True, False])
async def test_another_answer_just_stops(framing: bytes, knows_chunks: bool) -> None:
    body = chunk(b"begun") if framing is CHUNKED else b"begun"
    play, answer = await played(
        b"HTTP/1.1 200 OK\r\n" + framing, body, end="reset", knows_chunks=knows_chunks
    )
    assert answer.body == b"begun"
    assert not play.exchange.keep_alive
    plain_end = not knows_chunks and framing != b"Content-Length: 9\r\n\r\n"
    assert answer.whole is plain_end
    assert play.client.closed is plain_end  # reset: nothing else tells a break from the end


async def test_the_server_is_not_read_while_the_client_takes_nothing() -> None:
    play, taken = Play(), asyncio.Event()
    play.drain = taken.wait  # type: ignore[assignment]
    piece = b"x" * LOOK_AFTER
    whole = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (3 * len(piece))]
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(play.run(whole))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for size, paused in ((HIGH, False), (HIGH + 1, True)):
            play.client.unsent = size
            play.upstream.data_received(piece)
            assert play.server.paused is paused
        play.client.unsent = 0
        taken.set()
        while play.server.paused:
            await asyncio.sleep(0)
        play.upstream.data_received(piece)
        await task
    assert play.live.outcome == "ok"


async def test_the_client_is_looked_at_often_enough() -> None:
    """However small the pieces are, no more than HIGH + LOOK_AFTER waits for a client."""
    play, piece = Play(), b"x" * 100
    play.drain = asyncio.Event().wait  # type: ignore[assignment]
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(play.run([b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n"]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        while not play.server.paused:
            play.upstream.data_received(piece)
            play.client.unsent += len(piece)
            assert play.client.unsent <= HIGH + LOOK_AFTER + len(piece)
        task.cancel()


async def test_a_server_that_breaks_while_the_client_is_slow_is_not_waited_for() -> None:
    play = Play()
    play.drain = asyncio.Event().wait  # type: ignore[assignment]
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(play.run([SSE + CHUNKED]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        play.client.unsent = HIGH + 1
        play.upstream.data_received(chunk(b"data: 1\n\n"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert play.server.paused
        play.pool.close()
        await task
    assert play.live.outcome == "upstream_broken"
    assert b"event: error" in play.client.sent


async def test_a_client_that_left_stops_the_server() -> None:
    play = Play()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(play.run([SSE + CHUNKED]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        play.client.closed = True
        play.upstream.data_received(chunk(b"data: 1\n\n"))
        assert play.server.closed
        await task
    assert play.live.outcome == "client_closed"


async def test_a_cancelled_handler_stops_the_server() -> None:
    play = Play()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(play.run([SSE + CHUNKED]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
    assert play.server.closed
    assert play.pool.active == 0
    assert play.live.outcome == "client_closed"


# --- random answers -------------------------------------------------------------------------


class Script:
    """One random answer: how it is built, broken and cut."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.method = rng.choice(["GET"] * 9 + ["HEAD"])
        self.knows_chunks = rng.random() < 0.8
        self.events = rng.random() < 0.3
        self.text = self._text()
        self.whole = self._head() + self._framed()
        self.end = rng.choice(["eof", "eof", "reset"])
        sent = self.whole
        fault = rng.random()
        if fault < 0.35:
            sent = sent[: rng.randrange(len(sent) + 1)]
        elif fault < 0.45:
            sent += rng.randbytes(rng.randrange(1, 30))
        elif fault < 0.6:
            at = rng.randrange(len(sent))
            sent = sent[:at] + rng.choice([b"", b"\n", b"\r", b"x", b"0", b":"]) + sent[at + 1 :]
        self.sent = sent
        self.pieces = self._cut(sent)

    def _text(self) -> bytes:
        if self.events:
            count = self.rng.randrange(6)
            return b"".join(b"data: %d\n\n" % self.rng.randrange(10**9) for _ in range(count))
        return self.rng.randbytes(self.rng.choice([0, 1, 2, 10, 100, 1000]))

    def _head(self) -> bytes:
        rng = self.rng
        interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" if rng.random() < 0.1 else b""
        self.framing = rng.choice(["length", "chunked", "chunked", "close"])
        version = b"0" if self.framing == "close" and rng.random() < 0.5 else b"1"
        lines = [
            b"HTTP/1.%b %d Reason" % (version, rng.choice([200, 200, 200, 404, 503, 204, 302]))
        ]
        if self.events:
            lines.append(b"Content-Type: text/event-stream")
        if self.framing == "length":
            lines.append(b"content-length: %d" % len(self.text))
        elif self.framing == "chunked":
            lines.append(b"Transfer-Encoding: chunked")
        lines += [b"X-%d: %d" % (n, n) for n in range(rng.randrange(4))]
        return interim + b"\r\n".join(lines) + b"\r\n\r\n"

    def _framed(self) -> bytes:
        if self.framing != "chunked":
            return self.text
        rng, text, out = self.rng, self.text, b""
        while text:
            size = rng.randrange(1, len(text) + 1)
            extension = rng.choice([b"", b"", b";a=b"])
            out += b"%x%b\r\n%b\r\n" % (size, extension, text[:size])
            text = text[size:]
        return out + b"0\r\n" + rng.choice([b"", b"", b"X-Trailer: 1\r\n"]) + b"\r\n"

    def _cut(self, data: bytes) -> list[bytes]:
        rng, pieces = self.rng, []
        longest = rng.choice([1, 2, 5, 40, 2000])
        while data:
            size = rng.randrange(1, longest + 1)
            pieces.append(data[:size])
            data = data[size:]
        return pieces


async def compare(seed: int) -> None:
    """The client sees what it would see without us, or a break where it would see one."""
    script = Script(random.Random(seed))
    play = Play(knows_chunks=script.knows_chunks, head_only=script.method == "HEAD")
    await play.run(script.pieces, end=script.end)
    assert play.pool.active == 0
    direct = Answer(script.sent, closed=script.end == "eof", method=script.method)
    note = f"seed {seed}: {script.sent!r} {script.end}"
    if play.exchange.failure:
        assert not play.client.sent, note
        # refusing is right unless a strict reader finds the very answer that was meant
        assert not (direct.whole and script.sent.startswith(script.whole)), note
        return
    ours = play.live.outcome == "ok"
    seen = Answer(
        bytes(play.client.sent),
        closed=not play.exchange.keep_alive and not play.client.closed,
        method=script.method,
    )
    assert not seen.wrong or not ours, note
    assert seen.status == direct.status, note
    if ours:
        assert direct.whole, note
        assert seen.whole, note
        assert seen.body == direct.body, note
        assert seen.rest == b"", note
    else:
        told = script.events and b"event: error" in seen.body
        assert not play.exchange.keep_alive, note
        assert told or not seen.whole, note
        assert direct.body.startswith(seen.body.partition(b"event: error")[0].rstrip(b"\n")), note
        unfinished = script.framing == "close" and script.events
        assert not direct.whole or unfinished or script.sent != script.whole, note


async def test_random_answers_reach_the_client_as_they_are() -> None:
    for seed in range(2_000):
        await compare(seed)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_many_random_answers_reach_the_client_as_they_are() -> None:
    for seed in range(100_000, 120_000):
        await compare(seed)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=3000), max_size=8),
    st.lists(st.integers(1, 4000), min_size=1, max_size=8),
    st.booleans(),
)
def test_any_chunk_sizes(chunks: list[bytes], cuts: list[int], knows_chunks: bool) -> None:
    whole = b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"".join(map(chunk, chunks)) + b"0\r\n\r\n"
    pieces, at, turn = [], 0, 0
    while at < len(whole):
        pieces.append(whole[at : at + cuts[turn % len(cuts)]])
        at, turn = at + len(pieces[-1]), turn + 1

    async def check() -> None:
        _, answer = await played(*pieces, knows_chunks=knows_chunks)
        assert (answer.body, answer.whole) == (b"".join(chunks), True)

    asyncio.run(check())
