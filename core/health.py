"""Whether a server that comes up really answers: three layers, each only if the last holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from core.bridge import in_thread
from core.launchers import ports
from core.launchers.base import Process

HOST = "127.0.0.1"
GOOD_PROBES = 2
"""Healthy answers in a row before an instance is ready: some servers flap while they load."""
FIRST_PAUSE, LONGEST_PAUSE = 0.03, 0.5
"""Seconds between two health probes: short at first, for the models that load at once."""
KNOCK, HASTY_KNOCK = 2.0, 0.3
"""Seconds for a connection; the second where most likely nobody listens."""
LOOK_AROUND = 12
"""Knocks in vain, two seconds at first, after which it is told where the tree listens instead."""


async def port_answers(port: int) -> bool:
    """Whether anybody accepts connections at the port of this machine."""
    patience = HASTY_KNOCK if await ports.refuses_slowly(port) else KNOCK
    try:
        async with asyncio.timeout(patience):
            _, writer = await asyncio.open_connection(HOST, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


@dataclass(frozen=True, slots=True)
class Health:
    """The questions for one process."""

    process: Process
    check: Callable[[float], tuple[bool, str]]
    """A real request, as the interface plugin makes it, given the time of the start; it blocks."""
    port_answers: Callable[[int], Awaitable[bool]]
    tell: Callable[[str], None]
    """Called with what is found, for the person who waits."""

    async def until_healthy(self) -> None:
        """Return when the port answers, is ours, and real requests get real answers."""
        port = self.process.port
        began = time.time()
        pause, good, probes, in_vain = FIRST_PAUSE, 0, 0, 0
        self.tell(f"waiting for port {port}")
        while good < GOOD_PROBES:
            if await self.port_answers(port):
                stranger = await in_thread(self.process.owner_of_port, name=f"owner of {port}")
                if stranger is None:
                    probes += 1
                    healthy, message = await self._probe(began)
                    good = good + 1 if healthy else 0
                    self.tell(f"health check {probes}: {message}")
                else:
                    good = 0
                    self.tell(stranger)
            else:
                in_vain += 1
                if in_vain % LOOK_AROUND == 0:
                    await self._look_around()
            if good < GOOD_PROBES:
                await asyncio.sleep(FIRST_PAUSE if good else pause)
                pause = min(pause * 1.3, LONGEST_PAUSE)

    async def _look_around(self) -> None:
        """Tell why nobody answers; a server that uses another port may have been up for long."""
        owner = self.process.owner_of_port
        if sentence := await in_thread(owner, name=f"owner of {self.process.port}"):
            self.tell(sentence)

    async def _probe(self, began: float) -> tuple[bool, str]:
        """Ask the plugin; whatever it raises means unhealthy."""
        try:
            healthy, message = await in_thread(self.check, began, name="health check")
        except Exception as error:  # a plugin
            return False, f"{type(error).__name__}: {error}"
        return bool(healthy), str(message)
