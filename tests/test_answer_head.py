"""Heads of answers: what is understood, what is left out, what is refused."""

from __future__ import annotations

import pytest

from core.answer_head import MAX_HEAD, MAX_LINE, BadAnswer, hopeless, parse_head

NOBODY: frozenset[bytes] = frozenset()


def head(*lines: bytes, first: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"".join(line + b"\r\n" for line in (first, *lines))


def test_a_usual_head_keeps_its_fields_as_they_came() -> None:
    read = parse_head(
        head(b"Server: uvicorn", b"dAtE:  now ", b"Content-Length: 12", b"content-type: a/b"),
        NOBODY,
    )
    assert (read.status, read.length, read.chunked, read.reusable) == (200, 12, False, True)
    assert read.lines == [b"Server: uvicorn", b"dAtE:  now ", b"content-type: a/b"]


@pytest.mark.parametrize(
    "first", [b"HTTP/1.1 200 OK", b"HTTP/1.1 200", b"HTTP/1.1 200 ", b"HTTP/1.0 599 \xe4 <b>"]
)
def test_status_lines_that_are_accepted(first: bytes) -> None:
    assert parse_head(head(first=first), NOBODY).status in (200, 599)


@pytest.mark.parametrize(
    "block",
    [
        head(first=b"SSH-2.0-OpenSSH_9.6"),
        head(first=b"HTTP/2.0 200 OK"),
        head(first=b"HTTP/1.2 200 OK"),
        head(first=b"http/1.1 200 OK"),
        head(first=b"HTTP/1.1  200 OK"),
        head(first=b"HTTP/1.1 20 OK"),
        head(first=b"HTTP/1.1 2000 OK"),
        head(first=b"HTTP/1.1 099 OK"),
        head(first=b"HTTP/1.1 600 OK"),
        head(first=b"HTTP/1.1 200OK"),
        head(first=b"HTTP/1.1 200 O\x00K"),
        head(b"no colon"),
        head(b": no name"),
        head(b"a b: space in name"),
        head(b"name : space before colon"),
        head(b"a: 1", b" folded"),
        head(b"a: bare\rreturn"),
        head(b"a: bare\nnewline"),
        head(b"a: n\x00l"),
        head(b"a: \x1b[2J"),
        head(b"n\xc3\xa4me: x"),
        head(b"Content-Length: 1", b"Content-Length: 1"),
        head(b"Content-Length: 1, 1"),
        head(b"Content-Length: +1"),
        head(b"Content-Length: -1"),
        head(b"Content-Length: 0x1"),
        head(b"Content-Length: 1_0"),
        head(b"Content-Length:"),
        head(b"Content-Length: " + b"9" * 16),
        head(b"Content-Length: \xb2"),
        head(b"Transfer-Encoding: gzip, chunked"),
        head(b"Transfer-Encoding: identity"),
        head(b"Transfer-Encoding: xchunked"),
        head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        head(b"Transfer-Encoding: chunked", b"Content-Length: 1"),
        head(b"Content-Length: 1", b"Transfer-Encoding: chunked"),
        head(b"Transfer-Encoding: chunked", first=b"HTTP/1.0 200 OK"),
        head(b"a: " + b"x" * 9000),
        head(*(b"a%d: x" % number for number in range(200))),
        head(*(b"a: " + b"x" * 1000 for _ in range(40))),
    ],
)
def test_heads_that_are_refused(block: bytes) -> None:
    with pytest.raises(BadAnswer):
        parse_head(block, NOBODY)


def test_eight_kilobytes_in_one_field_are_accepted() -> None:
    assert parse_head(head(b"a: " + b"x" * 8000), NOBODY).lines


def test_fields_of_one_hop_stay_behind() -> None:
    read = parse_head(
        head(
            b"Connection: x-secret, close",
            b"X-Secret: 1",
            b"Keep-Alive: timeout=5",
            b"Upgrade: h2c",
            b"Trailer: x",
            b"TE: trailers",
            b"Proxy-Authenticate: x",
            b"Access-Control-Allow-Origin: *",
            b"access-control-allow-credentials: true",
            b"X-Request-Id: theirs",
            b"X-Stays: 1",
        ),
        frozenset({b"x-request-id"}),
    )
    assert read.lines == [b"X-Stays: 1"]
    assert not read.reusable


@pytest.mark.parametrize(
    ("first", "connection", "reusable"),
    [
        (b"HTTP/1.1 200 OK", b"keep-alive", True),
        (b"HTTP/1.1 200 OK", b"Close", False),
        (b"HTTP/1.0 200 OK", b"keep-alive", False),
    ],
)
def test_when_a_connection_can_be_used_again(
    first: bytes, connection: bytes, reusable: bool
) -> None:
    assert parse_head(head(b"Connection: " + connection, first=first), NOBODY).reusable is reusable


@pytest.mark.parametrize(
    ("lines", "events"),
    [
        ((b"Content-Type: text/event-stream",), True),
        ((b"content-type:Text/Event-Stream; charset=utf-8",), True),
        ((b"Content-Type: text/event-stream", b"Content-Encoding: gzip"), False),
        ((b"Content-Type: text/event-stream", b"Content-Encoding: identity"), True),
        ((b"Content-Type: application/json",), False),
    ],
)
def test_event_streams_are_known_by_their_type(lines: tuple[bytes, ...], events: bool) -> None:
    assert parse_head(head(*lines), NOBODY).events is events


@pytest.mark.parametrize(
    "begun", [b"", b"H", b"HTTP/1.", b"HTTP/1.1 200 OK\r\nA: b\r", b"HTTP/1.1 200 OK\r\nA: b\r\n"]
)
def test_a_begun_head_is_waited_for(begun: bytes) -> None:
    assert hopeless(begun) is None


@pytest.mark.parametrize(
    "begun",
    [
        b"S",
        b"SSH-2.0-x\r\n",
        b"HTTP/2",
        b"\x15\x03\x01",
        b"<html>",
        b"HTTP/1.1 200 OK\n\n",
        b"HTTP/1.1 200 OK\r\nA: b\rC",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * MAX_HEAD,
    ],
)
def test_what_cannot_become_a_head_is_not_waited_for(begun: bytes) -> None:
    assert hopeless(begun)


def test_limits_are_those_of_common_servers() -> None:
    assert MAX_LINE == 8190
