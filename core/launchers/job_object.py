"""Windows: a process tree owned by a Job Object, and the handle to it."""

from __future__ import annotations

import asyncio
import msvcrt
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from core.bridge import Bridge
from core.launchers import job, job_output, ports

assert sys.platform == "win32", "a guardian process does this elsewhere"

CREATE_SUSPENDED = 0x00000004
BATCH = (".bat", ".cmd")
LOOK_AGAIN = 1.0
"""Seconds after which the job is looked at without having sent a message."""
TERMINATED, KILLED = -15, -9
"""The exit codes of members that we ended, as they would be on other systems."""


def start(
    argv: tuple[str, ...], folder: Path, env: Mapping[str, str], *, host: str, port: int
) -> JobProcess:
    """Spawn the tree; to be called in the running loop. Blocks for some milliseconds.

    `env` is the whole environment. Raises OSError with a sentence for a person.
    """
    command = runnable(argv, folder, env)
    loop = asyncio.get_running_loop()
    try:
        source, output = job_output.output_pipe()
        owner = job.Job()
        first = _spawn(command, folder, env, output)
    except (OSError, ValueError) as error:  # ValueError: a zero byte, a name with "="
        raise OSError(f"cannot start {argv[0]}: {_reason(error)}") from error
    try:
        owner.take(int(first._handle))  # type: ignore[attr-defined]
    except BaseException as error:
        first.kill()
        first.wait()
        if isinstance(error, OSError):
            raise OSError(f"cannot start {argv[0]}: {_reason(error)}") from error
        raise
    return JobProcess(_Tree(loop, owner, first, job_output.PipeFeed(loop, source)), host, port)


def runnable(argv: tuple[str, ...], folder: Path, env: Mapping[str, str]) -> str | list[str]:
    """The command: a text for cmd.exe if it is a batch file, else the words for CreateProcess.

    Only the short name of a batch file stands in that text, because cmd.exe reads it as it reads a
    script: the values that a script needs come by the environment.
    """
    program, *arguments = argv
    path = folder.absolute() / program
    if os.sep not in program and "/" not in program:
        found = shutil.which(program, path=env.get("PATH"))
        if not found:
            raise OSError(f"the program {program} is not on the PATH")
        path = Path(found)
    if path.is_dir():
        raise OSError(f"{path} is a folder, not a script")
    if not path.exists():
        raise OSError(f"{path} does not exist")
    if path.suffix.lower() not in BATCH:
        return [str(path), *arguments]
    if arguments or path.parent != folder.absolute():
        raise OSError(f"{path}: a batch file is started in its own folder, without arguments")
    if "%" in path.name or '"' in path.name:
        raise OSError(f"{path} cannot be started safely: rename it, without '%'")
    if path.drive.startswith("\\\\"):
        raise OSError(f"{path}: cmd.exe cannot work in a network folder; give it a drive letter")
    return f'".\\{path.name}"'


def _spawn(
    command: str | list[str], folder: Path, env: Mapping[str, str], output: job.Handle
) -> subprocess.Popen[bytes]:
    """A process that has not run yet, with a hidden console of its own: `chcp` in it works."""
    number = msvcrt.open_osfhandle(output.value, 0)
    output.value = 0
    try:
        return subprocess.Popen(
            command,
            shell=isinstance(command, str),
            cwd=folder,
            # Names that differ only in case are one name here; the later value counts.
            env={name.upper(): value for name, value in env.items()},
            stdin=subprocess.DEVNULL,
            stdout=number,
            stderr=number,
            creationflags=subprocess.CREATE_NO_WINDOW | CREATE_SUSPENDED,
        )
    finally:
        os.close(number)


def _reason(error: Exception) -> str:
    if getattr(error, "winerror", None) == 193:
        return "Windows cannot run this kind of file; a start-up script is a .bat or .exe file"
    return getattr(error, "strerror", None) or str(error)


class JobProcess:
    """A `Process`; whoever drops it ends the tree."""

    def __init__(self, tree: _Tree, host: str, port: int) -> None:
        self.pid = tree.first.pid
        self.host = host
        self.port = port
        self.output = tree.feed.reader
        self._tree = tree

    async def wait(self) -> int:
        await self._tree.ended.wait()
        return self._tree.code

    async def script_exit(self) -> int:
        await self._tree.script_ended.wait()
        return self._tree.code

    def terminate(self) -> None:
        """End every member, as `kill` does: there is no way to ask the programs of a hidden console
        (a Ctrl+Break does not reach them), and waiting for nothing would only make stops slow."""
        self._tree.job.terminate(TERMINATED)

    def kill(self) -> None:
        self._tree.job.terminate(KILLED)

    def owner_of_port(self) -> str | None:
        if self._tree.ended.is_set():
            return f"nobody of this tree listens on port {self.port}: it has ended"
        return ports.stranger_on(self.port, self._tree.job.members())

    def __del__(self) -> None:
        self._tree.job.terminate(KILLED)


class _Tree:
    """Knows when the script and when the last member has ended; does not keep the handle alive."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        owner: job.Job,
        first: subprocess.Popen[bytes],
        feed: job_output.PipeFeed,
    ) -> None:
        self.ended = asyncio.Event()
        self.script_ended = asyncio.Event()
        self.code = KILLED
        self.job = owner
        self.first = first
        self.feed = feed
        self._bridge = Bridge(loop)
        threading.Thread(target=self._watch, name=f"job of {first.pid}", daemon=True).start()

    def _watch(self) -> None:
        """In a thread, until the job is empty."""
        told = False
        while self.job.active():
            self.job.wait(LOOK_AGAIN)
            if not told and self.first.poll() is not None:
                told = True
                self._bridge.call(self._script_is_gone)
        self.first.wait()
        self.feed.writers_gone.set()
        self._bridge.call(self._all_are_gone)

    def _script_is_gone(self) -> None:
        code = self.first.returncode
        self.code = code - 2**32 if code in (TERMINATED % 2**32, KILLED % 2**32) else code
        self.script_ended.set()

    def _all_are_gone(self) -> None:
        self._script_is_gone()
        self.ended.set()
