"""What a Launcher promises: a LaunchSpec becomes a Process whose whole tree can be ended."""

from __future__ import annotations

import asyncio
from typing import Protocol

from core.domain import LaunchSpec


class Process(Protocol):
    """A running process *tree*: the script and everything it started, also what it daemonised."""

    pid: int
    """Of the script."""
    host: str
    port: int
    """Where its server is to answer."""
    output: asyncio.StreamReader
    """stdout and stderr, mixed; ends some time after the last member of the tree ended."""

    async def wait(self) -> int:
        """Return the script's exit code once no member of the tree is alive; may be awaited by
        several tasks. Minus N: ended by signal N."""

    async def script_exit(self) -> int:
        """Return the script's exit code as soon as it has ended, whoever of its tree lives on."""

    def terminate(self) -> None:
        """Ask every member of the tree to end. Returns at once; never raises."""

    def kill(self) -> None:
        """End every member of the tree, now. Returns at once; never raises."""

    def owner_of_port(self) -> str | None:
        """None if the tree itself listens on `port`; else a sentence naming who does, or saying
        that nobody does. May block for tens of milliseconds: call it in a worker thread."""


class Launcher(Protocol):
    """Starts trees on this machine (or, one day, on another)."""

    def start(self, spec: LaunchSpec, *, instance_id: str, host: str, port: int) -> Process:
        """Spawn the tree and return its handle.

        Not a coroutine: there is no moment at which a tree runs and nobody owns it. The tree ends
        when the manager dies, however it dies. Its members carry LLM_MANAGER_INSTANCE.
        Raises OSError with a sentence for a person (file missing, not executable, out of
        processes) and then leaves nothing running.
        """
