"""The parent's end of the device probe: start it, ask it, know where it is stuck, end it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.interpreter import with_console
from core.plugin_loading import ROOT

log = logging.getLogger(__name__)

LOG_LINE = re.compile(r"(INFO|WARNING|ERROR):(core\.[\w.]+):(.*)")
LAST_WORDS = 0.5
"""Seconds that the child has to end by itself."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds that one step may take."""

    load: float = 30.0
    """Start of the child, or import of one plugin file: some vendor packages are large."""
    read: float = 5.0


class ProbeLost(Exception):
    """The child hangs or is gone; `step` is what it was at: ("load", file), ("read", device)."""

    def __init__(self, step: tuple[str, str] | None, reason: str) -> None:
        super().__init__(reason)
        self.step = step
        self.reason = reason


class ProbeProcess:
    """One child. It ends when its stdin does, so it never outlives the manager."""

    def __init__(self, process: asyncio.subprocess.Process, limits: Limits) -> None:
        self.pid = process.pid
        self._process = process
        self._limits = limits
        self._step: tuple[str, str] | None = None
        self._last_lines: deque[str] = deque(maxlen=20)
        self._relay: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls, folder: Path, group: asyncio.TaskGroup, limits: Limits | None = None
    ) -> ProbeProcess:
        """Raises OSError. `group` gets the task that reads the child's stderr."""
        process = await asyncio.create_subprocess_exec(
            *(with_console(), "-m", "core.device_probe", str(folder)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONUTF8": "1"},
            limit=1 << 20,
            start_new_session=sys.platform != "win32",  # Ctrl+C in the terminal is not for it
            creationflags=_creation_flags(),
        )
        probe = cls(process, limits or Limits())
        probe._relay = group.create_task(probe._relay_lines(), name="device probe's stderr")
        return probe

    async def ask(self, op: str, **arguments: Any) -> AsyncIterator[dict[str, Any]]:
        """Give one command and yield the parts of the answer; raises ProbeLost."""
        self._step = None
        stdin = self._process.stdin
        assert stdin is not None
        # It is gone, or was closed just now (what uvloop says then): the answer's end will tell.
        with suppress(OSError, RuntimeError):
            stdin.write(json.dumps({"op": op, **arguments}).encode() + b"\n")
        while True:
            message = await self._next(op)
            if message.get("done"):
                self._step = None
                return
            if "step" in message:
                kind, what = message["step"]
                self._step = (kind, what)
            else:
                yield message

    async def _next(self, op: str) -> dict[str, Any]:
        limit = self._limits.load if op == "load" else self._limits.read
        stdout = self._process.stdout
        assert stdout is not None
        for wait in (limit, 0.25):  # the second look is for a machine that woke from sleep
            try:
                async with asyncio.timeout(wait):
                    line = await stdout.readline()
                message: dict[str, Any] = json.loads(line) if line else {}
            except TimeoutError:
                continue
            except ValueError as error:
                raise ProbeLost(self._step, f"talks nonsense: {error}") from error
            if message:
                return message
            raise ProbeLost(self._step, await self._why_it_ended())
        raise ProbeLost(self._step, f"gave no answer within {limit:g} s")

    async def _why_it_ended(self) -> str:
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self._process.wait()
        for line in self._last_lines:
            log.warning("device probe: %s", line)
        code = self._process.returncode
        if code is not None and code < 0:
            with suppress(ValueError):
                return f"crashed with {signal.Signals(-code).name}"
        return f"ended the process (exit code {code})"

    def close(self) -> None:
        """Ask it to end; it does within a fraction of a second, even out of a hung plugin."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def kill(self) -> None:
        """End it and what its plugins started, now."""
        with suppress(ProcessLookupError, PermissionError):
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self.pid, signal.SIGKILL)

    async def end(self) -> None:
        """Return when it is dead, or given up because not even SIGKILL ends it."""
        self.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS if self._step is None else 0):
                await self._process.wait()
        self.kill()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                await self._process.wait()
        if self._relay:
            self._relay.cancel()

    async def _relay_lines(self) -> None:
        """Read all of stderr: the log lines of the plugin system go on, prints are for DEBUG."""
        stderr = self._process.stderr
        assert stderr is not None
        with suppress(OSError):
            while data := await stderr.read(1 << 16):
                for line in data.decode("utf-8", "backslashreplace").splitlines():
                    self._relay_line(line)

    def _relay_line(self, line: str) -> None:
        if found := LOG_LINE.fullmatch(line):
            level, name, message = found.groups()
            logging.getLogger(name).log(logging.getLevelNamesMapping()[level], "%s", message)
        else:
            self._last_lines.append(line[:500])
            log.debug("device probe: %s", line)


def _creation_flags() -> int:
    if sys.platform == "win32":
        return subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
    return 0
