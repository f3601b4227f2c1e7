"""One field of a form: found where every reader finds it, or refused."""

from __future__ import annotations

import contextlib
import random

import aiohttp
import pytest

from core.form import field_span

TYPE = "multipart/form-data; boundary=x"


def value(body: bytes, content_type: str = TYPE) -> bytes | None:
    span = field_span(content_type, body, "model")
    return body[slice(*span)] if span else None


def part(head: str, content: bytes = b"a") -> bytes:
    return b"--x\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n"


NAMED = 'Content-Disposition: form-data; name="model"'
FILE = 'Content-Disposition: form-data; name="file"; filename="model"'


@pytest.mark.parametrize(
    "head",
    [
        NAMED,
        "content-disposition: form-data;name=model",
        'CONTENT-DISPOSITION:form-data ; name="model"; x=y',
        f"Content-Type: text/plain\r\n{NAMED}",
        f"{NAMED}\r\nContent-Type: text/plain",
    ],
)
def test_the_field_is_found(head: str) -> None:
    assert value(part(head) + b"--x--\r\n") == b"a"
    assert value(part(FILE) + part(head, b"") + b"--x--") == b""
    assert value(part(head, b"a\r\n--y\r\n") + part(FILE) + b"--x--") == b"a\r\n--y\r\n"


@pytest.mark.parametrize(
    "head", [FILE, 'Content-Disposition: form-data; name="Model"', "X: y", "Content-Disposition: x"]
)
def test_another_field_is_not(head: str) -> None:
    assert value(part(head) + b"--x--") is None


def test_what_a_file_says_is_no_field() -> None:
    assert value(part(FILE, f"\r\n{NAMED}\r\n\r\nevil\r\n--".encode()) + b"--x--") is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"--x",
        b"--x--",
        b"preamble\r\n" + part(NAMED) + b"--x--",
        part(NAMED),
        part(NAMED) + b"--x",
        part(NAMED) + b"--xx--",
        b"--x\r\n" + NAMED.encode() + b"\r\n--x--",
        b"--x\r\n\r\n--x--",
        part(NAMED) + part(NAMED) + b"--x--",
        part("A: " + "b" * 20_000 + "\r\n" + NAMED) + b"--x--",
        b"--x\r\n\xff\r\n\r\na\r\n--x--",
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"form|decode"):
        field_span(TYPE, body, "model")


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary="])
def test_without_a_boundary(kind: str) -> None:
    with pytest.raises(ValueError, match="boundary"):
        field_span(kind, part(NAMED) + b"--x--", "model")


async def test_the_forms_of_a_real_client() -> None:
    dice = random.Random(1)
    for count in range(20):
        form = aiohttp.FormData()
        fields = ["model", *(f"field{n}" for n in range(count % 4))]
        dice.shuffle(fields)
        for name in fields:
            form.add_field(name, f"模型 {name}")
        form.add_field("file", dice.randbytes(5000), filename="a.wav")
        sent = form()
        kind = sent.headers["Content-Type"]
        assert value(await sent.as_bytes(), kind) == "模型 model".encode()


def test_random_damage_is_refused_or_read() -> None:
    dice = random.Random(2)
    whole = part(FILE) + part(NAMED) + part("X: y") + b"--x--\r\n"
    for _ in range(3000):
        damaged = bytearray(whole)
        for _ in range(dice.randrange(1, 4)):
            place = dice.randrange(len(damaged))
            if dice.random() < 0.5:
                del damaged[place : place + dice.randrange(1, 20)]
            else:
                damaged[place:place] = dice.choice([b"\r\n", b"--x", b"\0", b"\xff", b'"', b";"])
        with contextlib.suppress(ValueError):
            value(bytes(damaged))
