"""What servers print: any bytes, cut anywhere, at any speed, on any disk."""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import os
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import output
from core.output import (
    KEPT_LETTERS,
    KEPT_LINES,
    LONGEST_LINE,
    ModelOutput,
    decode,
    escape_controls,
    file_name,
)
from tests.fakes.waiting import until

LIMIT = 10


@pytest.fixture
def out(tmp_path: Path) -> ModelOutput:
    return ModelOutput("chat", tmp_path / "models")


def fed(*pieces: bytes) -> list[str]:
    """The lines of these bytes, without a disk."""
    out = ModelOutput("x", Path("/nonexistent"))
    out._write = lambda lines: None  # type: ignore[method-assign]
    for piece in pieces:
        out.feed(piece)
    out.feed(b"\n")
    return out.tail()


# ---- bytes to lines ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "lines"),
    [
        (b"one\ntwo", ["one", "two"]),
        (b"one\r\ntwo\r\n", ["one", "two", ""]),
        (b"\n\n", ["", "", ""]),
        (b"10%\r50%\r100%", ["100%"]),
        (b"10%\r50%\r", ["50%"]),
        (b"\r\r\n", ["", ""]),
        ("模型 ✓ é".encode(), ["模型 ✓ é"]),
        pytest.param(
            *(b"caf\xe9", ["caf\\xe9"]),
            marks=pytest.mark.skipif(
                sys.platform == "win32", reason="POSIX only: Windows has a code page for such bytes"
            ),
        ),
        (b"a\tb", ["a\tb"]),
        (b"\x1b[31mred\x1b[0m", ["\x1b[31mred\x1b[0m"]),
        (b"\x1b[1;38;5;9mx\x1b[m", ["\x1b[1;38;5;9mx\x1b[m"]),
        (b"\x1b[2Jgone", ["\\x1b[2Jgone"]),
        (b"\x1b]52;c;ZXZpbA==\x07", ["\\x1b]52;c;ZXZpbA==\\x07"]),
        (b"\x1b]0;title\x1b\\", ["\\x1b]0;title\\x1b\\"]),
        (b"\x1b[31;evil", ["\\x1b[31;evil"]),
        (b"bell\x07\x08\x7f\x00", ["bell\\x07\\x08\\x7f\\x00"]),
        ("c1 \x9b31m \x85".encode(), ["c1 \\x9b31m \\x85"]),
    ],
)
def test_lines(raw: bytes, lines: list[str]) -> None:
    assert fed(raw) == lines
    assert fed(*(raw[n : n + 1] for n in range(len(raw)))) == lines


EVERY_BYTE = bytes(range(256)) + "模型 é\r\n✓".encode() + bytes(range(255, -1, -1))


def test_it_does_not_matter_where_the_bytes_are_cut() -> None:
    whole = fed(EVERY_BYTE)
    for cut in range(len(EVERY_BYTE) + 1):
        assert fed(EVERY_BYTE[:cut], EVERY_BYTE[cut:]) == whole


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=40)))
def test_any_bytes_in_any_pieces(pieces: list[bytes]) -> None:
    lines = fed(*pieces)
    assert lines == fed(b"".join(pieces))
    for line in lines:
        assert not any(c < " " and c not in "\t\x1b" for c in line)
        line.encode("utf-8")


@pytest.mark.parametrize("unit", [b"x", "模".encode(), "😀".encode(), b"\x80", b"50%\r"])
@pytest.mark.parametrize("size", [LONGEST_LINE - 1, LONGEST_LINE, LONGEST_LINE + 1, 200_000])
def test_a_line_without_an_end_is_cut(unit: bytes, size: int) -> None:
    raw = (unit * (size // len(unit) + 1))[:size]
    whole = fed(raw)
    assert max(len(line.encode()) for line in whole) <= 4 * LONGEST_LINE
    if unit == b"x":
        assert "".join(whole) == raw.decode()
    if unit not in (b"\x80", b"50%\r"):
        assert "\\x" not in "".join(whole[:-1])  # no character was cut in two
    dice = random.Random(size)
    rest, pieces = raw, []
    while rest:
        length = dice.randrange(1, 30_000)
        pieces.append(rest[:length])
        rest = rest[length:]
    assert fed(*pieces) == whole


def test_a_line_without_an_end_does_not_fill_the_memory() -> None:
    out = ModelOutput("x", Path("/nonexistent"))
    out._write = lambda lines: None  # type: ignore[method-assign]
    for _ in range(1000):
        out.feed(b"x" * 1000)
        assert len(out._rest) <= LONGEST_LINE


def test_the_unfinished_line_is_shown(out: ModelOutput) -> None:
    out.feed(b"one\nload")
    assert out.tail() == ["one", "load"]
    assert out.last_line == "load"
    out.feed(b"ing\n\n")
    assert out.tail() == ["one", "loading", ""]
    assert out.last_line == "loading"  # an empty line says nothing
    assert out.tail(2) == ["loading", ""]
    assert out.tail(0) == []


def test_the_manager_s_own_lines(out: ModelOutput) -> None:
    out.note("died: a\nb\x1b[2J")
    out.note("")
    assert out.tail() == ["[LLM-Manager] died: a", "[LLM-Manager] b\\x1b[2J", "[LLM-Manager] "]


def test_only_the_last_lines_are_kept_in_memory() -> None:
    lines = fed(*(b"%d\n" % n for n in range(KEPT_LINES + 10)))
    assert len(lines) == KEPT_LINES
    assert lines[-2:] == [str(KEPT_LINES + 9), ""]


@pytest.mark.parametrize("unit", [b"x", b"\0", "模".encode()])
def test_long_lines_do_not_fill_the_memory(out: ModelOutput, unit: bytes) -> None:
    for _ in range(600 if unit != b"\0" else 150):
        out.feed(unit * (LONGEST_LINE // len(unit)) + b"\n")
    kept = out.tail()
    assert KEPT_LETTERS * 0.8 < sum(map(len, kept)) <= KEPT_LETTERS
    out.feed(b"last\n" * KEPT_LINES)
    assert out.tail() == ["last"] * KEPT_LINES


async def test_who_follows_long_lines_is_told_how_many_it_missed(
    out: ModelOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "KEPT_LETTERS", 30)
    follower = out.follow(1)
    out.feed(b"first\n")
    assert await anext(follower) == ["first"]
    out.add([f"{n:010}" for n in range(10)])
    missed, *kept = await anext(follower)
    assert kept == ["0000000007", "0000000008", "0000000009"]
    assert "7 lines" in missed
    await follower.aclose()  # type: ignore[attr-defined]


def test_escaping_is_for_controls_only() -> None:
    assert escape_controls("aä模😀\t~\xa0") == "aä模😀\t~\xa0"


@pytest.mark.parametrize(
    ("windows", "page", "text"),
    [(True, "cp1252", "é"), (True, "utf-8", "\\xe9"), (False, "cp1252", "\\xe9")],
)
def test_odd_bytes_are_read_in_the_code_page_of_windows(
    monkeypatch: pytest.MonkeyPatch, windows: bool, page: str, text: str
) -> None:
    monkeypatch.setattr(sys, "platform", "win32" if windows else "linux")
    monkeypatch.setattr("locale.getencoding", lambda: page)
    assert decode(b"\xe9") == text


async def test_a_stream_is_read_to_its_end(out: ModelOutput) -> None:
    stream = asyncio.StreamReader()
    stream.feed_data(b"a\n" + b"b" * 40_000 + b"\nlast words")
    stream.feed_eof()
    await out.read_from(stream)
    lines = out.path.read_text().splitlines()
    assert lines[0] == "a"
    assert "".join(lines[1:-1]) == "b" * 40_000
    assert lines[-1] == "last words"


# ---- the file ----------------------------------------------------------------------------------


def test_the_file_holds_the_lines(out: ModelOutput) -> None:
    out.feed("模型\n\x1b[2J\n".encode())
    assert out.path.name == "chat.log"
    assert out.path.read_bytes() == "模型\n\\x1b[2J\n".encode()


def test_the_file_is_rotated(out: ModelOutput, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "FILE_LIMIT", LIMIT)
    for number in range(7):
        out.feed(b"line %d\n" % number)
    found = {path.name: path.read_text() for path in out.path.parent.iterdir()}
    assert found == {"chat.log": "line 6\n", "chat.log.1": "line 5\n", "chat.log.2": "line 4\n"}


def test_a_file_that_somebody_holds_open_is_rotated_later(
    out: ModelOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "FILE_LIMIT", LIMIT)
    out.feed(b"line 0\n")

    def held(*paths: Path) -> None:
        raise PermissionError(errno.EACCES, "in use")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", held)
        out.feed(b"line 1\n")
    assert out.path.read_text() == "line 0\nline 1\n"
    out.feed(b"line 2\n")
    assert out.path.read_text() == "line 2\n"


if sys.platform == "win32":

    def test_a_file_that_is_really_open_is_rotated_later(
        out: ModelOutput, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(output, "FILE_LIMIT", LIMIT)
        out.feed(b"line 0\n")
        with out.path.open("rb"):
            out.feed(b"line 1\n")
            assert out.path.read_text() == "line 0\nline 1\n"
        out.feed(b"line 2\n")
        assert out.path.read_text() == "line 2\n"


def test_a_full_disk_costs_lines_only(
    out: ModelOutput, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*args: Any, **more: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        for _ in range(100):
            out.feed(b"lost\nlost\n")
    assert out.dropped == 200
    assert out.tail(1) == ["lost"]
    out.feed(b"found\n")
    assert out.dropped == 0
    assert out.path.read_text() == "found\n"
    assert [r.levelno for r in caplog.records] == [logging.WARNING] * 2
    assert "No space left" in caplog.messages[0]
    assert "200 lines are missing" in caplog.messages[1]


def test_a_folder_that_cannot_be_made_costs_lines_only(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file is in the way")
    out = ModelOutput("chat", tmp_path / "models")
    out.feed(b"one\n")
    assert out.tail() == ["one"]
    assert out.dropped == 1


# ---- its name ----------------------------------------------------------------------------------

NAMES = [
    "a/b", "a_2Fb", "a\\b", "a_b", "a%2Fb", "a b", "a  b", "a", "a.", "a .", "a ", " a", ".a", "a~",
    "CON", "con", "_CON", "CON.txt", "CON ", "COM1", "LPT9.x", "NUL.tar.gz", "..", ".", "", "~",
    "千问", "模型", "é", "e\u0301", "x" * 150, "x" * 151, "x" * 200, "x" * 300, "a:ads", "a\0b",
    "a\nb", "a*", "a?", 'a"', "a<", "a|", "Qwen/Qwen3-8B", "\ud800", "a.log", "a.log.1", "COM¹",
    "_",
]  # fmt: skip


@pytest.mark.parametrize("model", ["demo-chat", "Qwen3_8B.Q4", "a b", "glm-4.5 (air)", "x" * 150])
def test_plain_names_are_file_names(model: str) -> None:
    assert file_name(model) == f"{model}.log"


def test_no_two_models_share_a_file() -> None:
    names = {name: file_name(name) for name in NAMES}
    for one, two in itertools.combinations(NAMES, 2):
        if one.lower() != two.lower():
            assert names[one].lower() != names[two].lower(), (one, two)


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=300) | st.sampled_from(NAMES))
def test_a_file_name_is_safe_everywhere(model: str) -> None:
    name = file_name(model)
    assert name.isascii()
    assert name.isprintable()
    assert not set(name) & set('<>:"/\\|?*%')
    assert len(name) <= 160
    assert name.endswith(".log")
    assert name[0] not in " ."
    stem = name.removesuffix(".log")
    assert stem
    assert stem[-1] not in " ."
    first = stem.split(".")[0].strip().upper()
    assert first not in ("CON", "PRN", "AUX", "NUL")
    assert not (len(first) == 4 and first[:3] in ("COM", "LPT") and first[3].isdigit())
    assert Path(name).name == name


# ---- followers ---------------------------------------------------------------------------------


async def collect(batches: AsyncIterator[list[str]]) -> list[str]:
    return [line async for batch in batches for line in batch]


async def test_every_follower_gets_every_line(out: ModelOutput) -> None:
    out.feed(b"0\n1\n2\n")
    async with asyncio.TaskGroup() as tasks:
        followers = [tasks.create_task(collect(out.follow(history))) for history in (0, 2, 99)]
        for number in range(3, 6):
            await asyncio.sleep(0)
            out.feed(b"%d\n" % number)
        out.close()
    numbers = list("012345")
    assert [f.result() for f in followers] == [numbers[3:], numbers[1:], numbers]


async def test_a_follower_that_waits_is_woken(out: ModelOutput) -> None:
    lines = out.follow()
    async with asyncio.TaskGroup() as tasks:
        for number in range(3):
            upcoming: asyncio.Task[list[str]] = tasks.create_task(anext(lines))  # type: ignore[arg-type]
            await asyncio.sleep(0)
            assert not upcoming.done()
            out.feed(b"%d\n" % number)
            assert await upcoming == [str(number)]


async def test_a_slow_follower_is_told_how_much_it_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "KEPT_LINES", 5)
    monkeypatch.setattr(output, "FAST_READER", 0)
    out = ModelOutput("chat", tmp_path)
    follower = out.follow(1)
    out.feed(b"first\n")
    assert await anext(follower) == ["first"]
    for number in range(12):
        out.feed(b"%d\n" % number)
    seen = await anext(follower)
    assert seen == ["[LLM-Manager] 7 lines were too fast to show", *"7 8 9 10 11".split()]
    for number in range(12, 24):
        out.feed(b"%d\n" % number)
    out.close()
    rest = await collect(follower)
    assert rest == ["[LLM-Manager] 7 lines were too fast to show", *"19 20 21 22 23".split()]


async def test_no_line_is_ever_lost_silently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "KEPT_LINES", 50)
    monkeypatch.setattr(output, "FAST_READER", 0)
    out = ModelOutput("chat", tmp_path)
    out._write = lambda lines: None  # type: ignore[method-assign]
    dice = random.Random(1)
    told: list[str] = []

    async def watch() -> None:
        async for batch in out.follow():
            told.extend(batch)
            for _ in range(dice.randrange(4)):
                await asyncio.sleep(0)

    total = 0
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watch())
        await asyncio.sleep(0)
        for _ in range(500):
            count = dice.randrange(60)
            out.add([str(n) for n in range(total, total + count)])
            total += count
            await asyncio.sleep(0)
        out.close()
    accounted = 0
    for line in told:
        if line.startswith("["):
            accounted += int(line.split()[1])
        else:
            assert int(line) == accounted
            accounted += 1
    assert accounted == total


async def test_a_closed_output_ends_its_followers(out: ModelOutput) -> None:
    out.feed(b"one\n")
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(collect(out.follow())) for _ in range(3)]
        await asyncio.sleep(0)
        out.close()
    assert [task.result() for task in waiting] == [[]] * 3
    assert await collect(out.follow(5)) == ["one"]  # who comes later gets the past


async def test_a_follower_that_leaves_disturbs_nobody(out: ModelOutput) -> None:
    async with asyncio.TaskGroup() as tasks:
        gone = tasks.create_task(collect(out.follow()))
        stays = tasks.create_task(collect(out.follow()))
        await asyncio.sleep(0)
        gone.cancel()
        await until(gone.done)
        out.feed(b"one\n")
        out.close()
    assert stays.result() == ["one"]
