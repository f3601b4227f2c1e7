"""POSIX: a process tree owned by a guardian process, and the handle to it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil

from core.bridge import Bridge
from core.launchers import leftovers, ports
from core.launchers.guardian import descendants
from core.launchers.output import Descriptor, PipeFeed, pipe

if sys.platform == "win32":
    raise ImportError("a Job Object does this on Windows")

log = logging.getLogger(__name__)

GUARDIAN = Path(__file__).with_name("guardian.py")
GRACE = 0.5
"""Seconds between asking and killing when the manager has died."""
OBEYS = 3.0
"""Seconds in which a guardian carries out an order, unless somebody stopped it."""


def start(
    command: Sequence[str], folder: Path, env: Mapping[str, str], *, host: str, port: int
) -> GuardedProcess:
    """Spawn the tree; to be called in the running loop. Blocks for a few milliseconds.

    `env` is the whole environment and holds the mark. Raises OSError if there is no process or
    descriptor left to start it with.
    """
    loop = asyncio.get_running_loop()
    with ExitStack() as failed, ExitStack() as handed_over:
        control, lifeline = pipe()
        handed_over.callback(control.close)
        failed.callback(lifeline.close)
        status, report = pipe()
        failed.callback(status.close)
        handed_over.callback(report.close)
        source, output = pipe()
        failed.callback(source.close)
        handed_over.callback(output.close)
        first = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", str(GUARDIAN)),
                *(str(control.number), str(report.number), str(GRACE), "--"),
                *command,
            ],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output.number,
            stderr=output.number,
            pass_fds=(control.number, report.number),
            start_new_session=True,
        )
        failed.pop_all()
    feed = PipeFeed(loop, source)
    watch = _Watch(loop, status, first, feed, env[leftovers.MARK])
    process = GuardedProcess(watch, lifeline, feed.reader, host, port)
    watch.handle = weakref.ref(process)
    return process


class GuardedProcess:
    """A `Process`; whoever drops it ends the tree, because it holds the life-line."""

    def __init__(
        self,
        watch: _Watch,
        lifeline: Descriptor,
        output: asyncio.StreamReader,
        host: str,
        port: int,
    ) -> None:
        self.pid = 0
        """Of the script; 0 until it is reported, which is before its first output."""
        self.host = host
        self.port = port
        self.output = output
        self._watch = watch
        self._lifeline = lifeline
        os.set_blocking(lifeline.number, False)

    async def wait(self) -> int:
        await self._watch.ended.wait()
        return self._watch.code

    async def script_exit(self) -> int:
        await self._watch.script_ended.wait()
        return self._watch.code

    def terminate(self) -> None:
        self._order(b"term\n")

    def kill(self) -> None:
        self._order(b"kill\n")
        self._watch.killed()

    def owner_of_port(self) -> str | None:
        if self._watch.ended.is_set():
            return f"nobody of this tree listens on port {self.port}: it has ended"
        return ports.stranger_on(self.port, self._watch.members())

    def _order(self, line: bytes) -> None:
        try:
            os.write(self._lifeline.number, line)
        except OSError:
            return  # no guardian any more: `_Watch` ends what it left


class _Watch:
    """Listens to the guardian until it is gone; does not keep the handle alive."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        status: Descriptor,
        first: subprocess.Popen[bytes],
        feed: PipeFeed,
        mark: str,
    ) -> None:
        self.ended = asyncio.Event()
        self.script_ended = asyncio.Event()
        self.code = -signal.SIGKILL
        self.handle: weakref.ref[GuardedProcess] | None = None
        self._loop = loop
        self._status = status
        self._first = first
        self._feed = feed
        self._mark = mark
        self._script = 0
        self._guardian = 0
        self._tree_is_empty = False
        self._unread = b""
        self._kill_ordered_at: float | None = None
        os.set_blocking(status.number, False)
        loop.add_reader(status.number, self._read)

    def killed(self) -> None:
        """The order to kill was given; who has to give it again needs no guardian for it."""
        now = self._loop.time()
        if self._kill_ordered_at is None:
            self._kill_ordered_at = now
        elif now - self._kill_ordered_at > OBEYS and not self.ended.is_set():
            log.warning("the guardian of pid %s does not obey: ending its tree", self._script)
            self._kill_ordered_at = now
            threading.Thread(target=self._sweep, name="end-tree", daemon=True).start()

    def members(self) -> list[int]:
        """The living processes of the tree."""
        if not self._guardian:
            return []
        if sys.platform == "linux":
            return descendants(self._guardian)
        found = []
        for process in psutil.process_iter():
            try:
                group = os.getpgid(process.pid)
                above = {parent.pid for parent in process.parents()}
            except (OSError, psutil.Error):
                continue
            if group == self._script or self._guardian in above:
                found.append(process.pid)
        return found

    def _read(self) -> None:
        try:
            data = os.read(self._status.number, 4096)
        except BlockingIOError:
            return
        if not data:
            self._guardian_ended()
            return
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._report(line.decode("ascii").split())

    def _report(self, words: list[str]) -> None:
        self._first.poll()  # it ended when it had forked the guardian: collect it
        match words:
            case ["pid", script, guardian]:
                self._script, self._guardian = int(script), int(guardian)
                handle = self.handle() if self.handle else None
                if handle:
                    handle.pid = self._script
            case ["exit", code]:
                self.code = int(code)
                self.script_ended.set()
            case ["end"]:
                self._tree_is_empty = True

    def _guardian_ended(self) -> None:
        self._loop.remove_reader(self._status.number)
        self._status.close()
        self._first.wait()
        if self._tree_is_empty:
            self._settle()
            return
        log.warning("the guardian of pid %s was killed: ending its tree", self._script)
        threading.Thread(target=self._end_the_rest, name="end-tree", daemon=True).start()

    def _end_the_rest(self) -> None:
        try:
            self._sweep()
        finally:
            Bridge(self._loop).call(self._settle)

    def _sweep(self) -> None:
        """End whoever carries the mark, the guardian among them; blocks until they are dead."""
        try:
            leftovers.sweep_instance(self._mark)
        except OSError as error:
            log.error("cannot look for what is left of pid %s: %s", self._script, error)

    def _settle(self) -> None:
        self._feed.finish()
        self.script_ended.set()
        self.ended.set()
