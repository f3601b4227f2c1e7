"""Bodies cut at every byte, broken at every byte."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.framing import (
    Body,
    ChunkedBody,
    CountedBody,
    RechunkedBody,
    UnchunkedBody,
    UnframedBody,
)

CHUNKS = b"5\r\nhello\r\nA;x=y;z\r\n, wide wor\r\n2 \r\nld\r\n0\r\n"
PLAIN = CHUNKS + b"\r\n"
TRAILED = CHUNKS + b"X-Sum: 1\r\nY: \r\n\r\n"
TEXT = b"hello, wide world"
ERROR = b"event: error\n\n"


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def dechunk(data: bytes) -> bytes:
    """What an independent reader gets of chunks, however they end."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
    got = b""
    while True:
        event = client.next_event()
        if event is h11.NEED_DATA or isinstance(event, h11.EndOfMessage):
            return got
        if isinstance(event, h11.Data):
            got += bytes(event.data)


@pytest.mark.parametrize("whole", [PLAIN, TRAILED])
@pytest.mark.parametrize("size", range(1, 40))
def test_chunks_pass_unchanged_however_they_are_cut(whole: bytes, size: int) -> None:
    body = ChunkedBody()
    out = b"".join(body.feed(piece) for piece in pieces(whole, size))
    assert (out, body.over, body.error, body.surplus) == (whole, True, "", False)


@pytest.mark.parametrize("whole", [PLAIN, TRAILED])
@pytest.mark.parametrize("size", range(1, 40))
def test_chunks_are_taken_apart_however_they_are_cut(whole: bytes, size: int) -> None:
    body = UnchunkedBody()
    out = b"".join(body.feed(piece) for piece in pieces(whole, size))
    assert (out, body.over, body.error, body.surplus) == (TEXT, True, "", False)


@pytest.mark.parametrize("whole", [PLAIN, TRAILED])
@pytest.mark.parametrize("end", range(len(TRAILED)))
def test_last_words_fit_in_wherever_chunks_break_off(whole: bytes, end: int) -> None:
    begun = whole[: min(end, len(whole) - 1)]
    body = ChunkedBody()
    out = body.feed(begun)
    assert not body.over
    assert body.eof() is None
    text = dechunk(out + body.last_words(ERROR))
    assert text.endswith(ERROR)
    assert text.removesuffix(ERROR).rstrip(b"\n") == dechunk(out)


@pytest.mark.parametrize(
    "wrong",
    [
        b"x",
        b"\r\n",
        b" 5\r\n",
        b"+5\r\n",
        b"-5\r\n",
        b"0x5\r\n",
        b"5_0\r\n",
        b"5\n",
        b"5\rx",
        b"5;a\nb\r\n",
        b"5;\x00\r\n",
        b";x\r\n",
        b"1" * 16,
        b"1;" + b"x" * 9000,
        b"5\r\nhelloX",
        b"5\r\nhello\rX",
        b"5\r\nhello\n",
        b"0\r\nbad trailer\r\n\r\n",
        b"0\r\na: \x00\r\n\r\n",
        b"0\r\na: " + b"x" * 17000,
    ],
)
@pytest.mark.parametrize("size", [1, 2, 100_000])
def test_wrong_chunks_end_the_body_and_are_not_passed_on(wrong: bytes, size: int) -> None:
    body = ChunkedBody()
    out = b"5\r\nfirst\r\n"
    assert body.feed(out) == out
    for piece in pieces(wrong, size):
        out += body.feed(piece)
        if body.over:
            break
    assert body.error
    text = dechunk(out + body.last_words(ERROR))
    assert text.startswith(b"first")
    assert text.endswith(ERROR)


def test_bytes_after_the_last_chunk_are_kept_back() -> None:
    for body in (ChunkedBody(), UnchunkedBody()):
        assert body.feed(PLAIN + b"HTTP/1.1 200 stolen") in (PLAIN, TEXT)
        assert body.surplus


def test_a_counted_body_ends_after_its_last_byte() -> None:
    body = CountedBody(5)
    assert (body.feed(b"he"), body.over, body.eof()) == (b"he", False, None)
    assert (body.feed(b"llo"), body.over, body.surplus) == (b"llo", True, False)
    body = CountedBody(5)
    assert (body.feed(b"hello, world"), body.over, body.surplus) == (b"hello", True, True)
    assert CountedBody(0).over


def test_last_words_of_a_counted_body_never_pass_its_end() -> None:
    assert CountedBody(len(ERROR)).last_words(ERROR) == ERROR
    assert CountedBody(len(ERROR) - 1).last_words(ERROR) == b""


def test_a_body_without_framing_gets_one_where_the_client_knows_it() -> None:
    body: Body = RechunkedBody()
    out = body.feed(b"hello") + body.feed(b", wide world")
    assert dechunk(out) == TEXT
    assert dechunk(out + (body.eof() or b"")) == TEXT
    assert dechunk(out + body.last_words(ERROR)) == TEXT + ERROR
    assert not body.open_ended
    body = UnframedBody()
    assert (body.feed(TEXT), body.eof(), body.last_words(ERROR)) == (TEXT, b"", ERROR)
    assert body.open_ended


@given(
    st.lists(st.binary(min_size=1, max_size=300), max_size=12),
    st.lists(st.integers(1, 50), min_size=1, max_size=20),
)
def test_any_chunks_cut_anywhere(chunks: list[bytes], cuts: list[int]) -> None:
    whole = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    passed, taken = ChunkedBody(), UnchunkedBody()
    through, text = b"", b""
    at = turn = 0
    while at < len(whole):
        piece = whole[at : at + cuts[turn % len(cuts)]]
        through += passed.feed(piece)
        text += taken.feed(piece)
        at, turn = at + len(piece), turn + 1
    assert passed.over
    assert taken.over
    assert through == whole
    assert text == b"".join(chunks)
