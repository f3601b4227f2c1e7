"""What a model's server prints: a file per model, the last lines in memory, a live view."""

from __future__ import annotations

import asyncio
import hashlib
import locale
import logging
import os
import re
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from urllib.parse import quote

log = logging.getLogger(__name__)

KEPT_LINES = 5000
KEPT_LETTERS = 2_000_000
"""Of all kept lines together: a server that prints nothing but endless lines has as few megabytes
as any other."""
LONGEST_LINE = 8192
"""Bytes after which a line is cut: a server that prints no newline must not fill the memory."""
FILE_LIMIT = 10 * 1024 * 1024
KEPT_FILES = 3
FAST_READER = 0.02
"""Seconds between two reads of a flooding server; the full pipe slows it down meanwhile."""
OTHERS = 3.0
"""Times as long as the work on a flood took, the loop is left to others: binary costs more."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]|\x1b(?!\[[0-9;]*m)")
_ESCAPE = re.compile(r"\x1b(?!\[[0-9;]*m)")
_ESCAPED = {n: f"\\x{n:02x}" for n in (*range(0x20), *range(0x7F, 0xA0)) if n not in (9, 10, 27)}


def escape_controls(text: str) -> str:
    """Make control characters visible; only tabs and SGR colours may reach a terminal."""
    if _CONTROL.search(text) is None:
        return text
    text = text.translate(_ESCAPED)  # ten times as fast as a regex where somebody prints binary
    return _ESCAPE.sub(r"\\x1b", text) if "\x1b" in text else text


def file_name(model: str) -> str:
    """A safe file name for any model name, the same on every operating system.

    Two names never share a file: a name that had to be changed ends in a checksum.
    """
    first = model.split(".")[0].rstrip().upper()
    if _PLAIN.fullmatch(model) and first not in _RESERVED:
        return model + ".log"
    readable = quote(model, safe=" ()[]+,=@", errors="surrogatepass").replace("%", "_")[:100]
    checksum = hashlib.sha256(model.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"_{readable.strip('. ')}~{checksum}.log"


_PLAIN = re.compile(
    r"[A-Za-z0-9_\-()\[\]+,=@](?:[A-Za-z0-9_\-()\[\]+,=@ .]{0,148}[A-Za-z0-9_\-()\[\]+,=@])?"
)
_RESERVED = frozenset(
    ["CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(10))]
)


class ModelOutput:
    """The output of one Model over all its instances; lives in the loop's thread."""

    def __init__(self, model: str, folder: Path) -> None:
        self.path = folder / file_name(model)
        self.last_line = ""
        self.dropped = 0
        """Lines that could not be written to the file (disk full)."""
        self._lines: deque[str] = deque()
        self._letters = 0
        self._count = 0
        """Lines ever seen: the number of the next one."""
        self._rest = b""
        self._arrived = asyncio.Event()
        self._closed = False

    async def read_from(self, stream: asyncio.StreamReader) -> None:
        """Take everything the stream gives until its end."""
        while data := await stream.read(256 * 1024):
            began = time.perf_counter()
            self.feed(data)
            if len(data) > 32 * 1024:
                spent = time.perf_counter() - began
                await asyncio.sleep(max(FAST_READER, OTHERS * spent))
        if self._rest:
            self.feed(b"\n")

    def feed(self, data: bytes) -> None:
        """Take raw bytes as they come, cut anywhere."""
        *ended, rest = (self._rest + data).split(b"\n")
        *full, self._rest = _pieces(rest)
        pieces = [piece for raw in ended for piece in _pieces(raw)]
        if lines := [_line(raw) for raw in (*pieces, *full)]:
            self.add(lines)
        if self._rest:
            self.last_line = _line(self._rest) or self.last_line

    def note(self, text: str) -> None:
        """Add a line of the manager's own, so that the story reads in one place."""
        self.add([f"[LLM-Manager] {escape_controls(line)}" for line in text.splitlines() or [""]])

    def add(self, lines: list[str]) -> None:
        self._keep(lines)
        self.last_line = next((line for line in reversed(lines) if line.strip()), self.last_line)
        self._write(lines)
        self._wake_followers()

    def _keep(self, lines: list[str]) -> None:
        kept = self._lines
        kept.extend(lines)
        self._count += len(lines)
        self._letters += sum(map(len, lines))
        while len(kept) > KEPT_LINES or self._letters > KEPT_LETTERS:
            self._letters -= len(kept.popleft())

    def tail(self, count: int = KEPT_LINES) -> list[str]:
        """The last lines, oldest first; a line that has not ended yet is the last of them."""
        lines = list(self._lines)[-count:] if count > 0 else []
        return [*lines, _line(self._rest)][-count:] if self._rest else lines

    async def follow(self, history: int = 0) -> AsyncIterator[list[str]]:
        """Yield batches of lines as they come, after the last `history` ones.

        A reader that is too slow for the memory kept here gets one line saying how many it missed.
        """
        seen = self._count - min(history, len(self._lines))
        while True:
            if fresh := self._count - seen:
                kept = list(self._lines)[-fresh:]
                seen = self._count
                if missed := fresh - len(kept):
                    kept.insert(0, f"[LLM-Manager] {missed} lines were too fast to show")
                yield kept
                await asyncio.sleep(FAST_READER)
            elif self._closed:
                return
            else:
                await self._arrived.wait()

    def close(self) -> None:
        """End every follower."""
        self._closed = True
        self._wake_followers()

    def _wake_followers(self) -> None:
        arrived, self._arrived = self._arrived, asyncio.Event()
        arrived.set()

    def _write(self, lines: Iterable[str]) -> None:
        text = "".join(f"{line}\n" for line in lines)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists() and self.path.stat().st_size + len(text) > FILE_LIMIT:
                self._rotate()
            with self.path.open("ab") as file:  # the same bytes on every system
                file.write(text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            if not self.dropped:
                log.warning("%s: output is not written to disk: %s", self.path.name, error)
            self.dropped += text.count("\n")
        else:
            if self.dropped:
                log.warning("%s: %s lines are missing from disk", self.path.name, self.dropped)
                self.dropped = 0

    def _rotate(self) -> None:
        for number in range(KEPT_FILES - 1, 0, -1):
            older = self.path.with_suffix(f".log.{number}")
            newer = self.path if number == 1 else self.path.with_suffix(f".log.{number - 1}")
            try:
                os.replace(newer, older)
            except FileNotFoundError:
                continue
            except PermissionError:  # Windows: somebody has it open; the next time will do
                return


def _pieces(raw: bytes) -> list[bytes]:
    """The line cut at LONGEST_LINE, but not within a character; the last piece is what is left."""
    pieces = []
    while len(raw) > LONGEST_LINE:
        cut = LONGEST_LINE
        while raw[cut] & 0xC0 == 0x80 and cut > LONGEST_LINE - 3:
            cut -= 1
        pieces.append(raw[:cut])
        raw = raw[cut:]
    return [*pieces, raw]


def _line(raw: bytes) -> str:
    """One line for people: decoded, progress bars reduced to their last state, controls escaped."""
    raw = raw.rstrip(b"\r")
    return escape_controls(decode(raw[raw.rfind(b"\r") + 1 :]))


def decode(raw: bytes) -> str:
    """UTF-8, else the code page of this Windows, else with the odd bytes spelled out."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        pass
    if sys.platform == "win32":
        try:
            return raw.decode(locale.getencoding())
        except UnicodeDecodeError:
            pass
    return raw.decode("utf-8", errors="backslashreplace")
