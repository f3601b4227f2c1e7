"""A Launcher without processes: a test plays the part of the tree.

launcher = FakeLauncher()                          # or FakeLauncher(lambda spec: FakeProcess())
... the code under test starts something ...
process = launcher.processes[-1]
process.print("loading\\n"); process.exit(3)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import count

from core.domain import LaunchSpec


class FakeProcess:
    """A `Process` that ends when it is told to: by `exit`, `kill`, or `terminate`.

    With `ignores_terminate` only `exit` and `kill` end it; with `ignores_kill` nothing but `exit`
    (a process that the kernel holds). `stranger` is what `owner_of_port` answers. To be made while
    the loop runs.
    """

    def __init__(
        self,
        *,
        ignores_terminate: bool = False,
        ignores_kill: bool = False,
        stranger: str | None = None,
    ) -> None:
        self.ignores_terminate = ignores_terminate
        self.ignores_kill = ignores_kill
        self.stranger = stranger
        self.pid = 0
        self.host = ""
        self.port = 0
        self.spec: LaunchSpec | None = None
        self.instance_id = ""
        self.output = asyncio.StreamReader()
        self.terminated = 0
        """How often `terminate` was called."""
        self.killed = 0
        """How often `kill` was called."""
        self.exit_code: int | None = None
        """None while it lives."""
        self.script_code = 0
        self._ended = asyncio.Event()
        self._script_ended = asyncio.Event()

    # -- for the test ----------------------------------------------------------------------------

    def print(self, text: str | bytes) -> None:
        """Put it into the output, as it is: lines need their newline."""
        self.output.feed_data(text.encode() if isinstance(text, str) else text)

    def exit(self, code: int = 0) -> None:
        """The last member of the tree ends; a second call changes nothing."""
        if self.exit_code is None:
            self.exit_code = code
            self.output.feed_eof()
            self.leave_children(code)
            self._ended.set()

    def leave_children(self, code: int = 0) -> None:
        """The script itself ends, others of its tree live on."""
        if not self._script_ended.is_set():
            self.script_code = code
            self._script_ended.set()

    @property
    def alive(self) -> bool:
        return self.exit_code is None

    # -- Process ---------------------------------------------------------------------------------

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.exit_code is not None
        return self.exit_code

    async def script_exit(self) -> int:
        await self._script_ended.wait()
        return self.script_code

    def terminate(self) -> None:
        self.terminated += 1
        if not self.ignores_terminate:
            self.exit(-15)

    def kill(self) -> None:
        self.killed += 1
        if not self.ignores_kill:
            self.exit(-9)

    def owner_of_port(self) -> str | None:
        return self.stranger


class FakeLauncher:
    """Starts a FakeProcess for every spec, or fails with `error` while that is set.

    `behaviour` makes the process (and may raise OSError); default: one that runs until it is ended.
    """

    def __init__(self, behaviour: Callable[[LaunchSpec], FakeProcess] | None = None) -> None:
        self.behaviour = behaviour or (lambda spec: FakeProcess())
        self.error: OSError | None = None
        self.processes: list[FakeProcess] = []
        """All that were ever started, in order."""
        self._pids: Iterator[int] = count(50_001)

    def start(self, spec: LaunchSpec, *, instance_id: str, host: str, port: int) -> FakeProcess:
        if self.error is not None:
            raise self.error
        process = self.behaviour(spec)
        process.spec, process.instance_id = spec, instance_id
        process.pid, process.host, process.port = next(self._pids), host, port
        self.processes.append(process)
        return process

    @property
    def alive(self) -> list[FakeProcess]:
        """Those that have not ended."""
        return [process for process in self.processes if process.alive]
