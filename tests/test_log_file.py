"""The program's log file: its last lines, and what is added."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import log_file
from core.log_file import follow_file, last_lines


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "x.log"
    file.write_bytes("eins\nzwei ü\r\ndrei\nno end".encode())
    return file


def test_last_lines_are_whole_lines(file: Path) -> None:
    assert last_lines(file, 2) == ["zwei ü", "drei"]
    assert last_lines(file, 99) == ["eins", "zwei ü", "drei"]
    assert last_lines(file, 0) == []


def test_no_file_has_no_lines(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "none", 5) == []


def test_only_the_end_of_a_large_file_is_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_file, "REACH", 16)
    assert last_lines(file, 99) == ["drei"]


async def test_following_goes_on_where_the_history_ended(file: Path) -> None:
    follow = follow_file(file, 1)
    assert await anext(follow) == ["drei"]
    with file.open("ab") as more:
        more.write(b" any more\nbad \xff byte\n")
    assert await anext(follow) == ["no end any more", "bad \\xff byte"]
    await follow.aclose()  # type: ignore[attr-defined]
