"""The program's own log as it stands in its file: the last lines, and those that are added."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

REACH = 4 * 1024 * 1024
"""Bytes at the end of the file that are looked at for its last lines."""
PIECE = 256 * 1024
LOOK = 0.5
"""Seconds between two looks at the file, and only while somebody watches."""


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines, oldest first; none if there is no such file."""
    return _end_of(path, count)[0]


async def follow_file(path: Path, history: int = 0) -> AsyncIterator[list[str]]:
    """Yield the last `history` lines, then batches of lines as they are added."""
    lines, place = _end_of(path, history)
    if lines:
        yield lines
    while True:
        data = _read(path, place, PIECE)
        whole = data[: data.rfind(b"\n") + 1]
        if whole:
            place += len(whole)
            yield _lines(whole)
        if len(data) < PIECE:
            await asyncio.sleep(LOOK)


def _end_of(path: Path, count: int) -> tuple[list[str], int]:
    """The last lines and the place behind them."""
    try:
        size = path.stat().st_size
    except OSError:
        return [], 0
    start = max(0, size - REACH)
    data = _read(path, start, size - start)
    whole = data[: data.rfind(b"\n") + 1]
    lines = _lines(whole)
    if start and lines:
        del lines[0]  # cut in the middle
    return (lines[-count:] if count > 0 else []), start + len(whole)


def _read(path: Path, place: int, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(place)
            return file.read(size)
    except OSError:
        return b""


def _lines(data: bytes) -> list[str]:
    return [line.rstrip("\r") for line in data.decode("utf-8", "backslashreplace").split("\n")[:-1]]
