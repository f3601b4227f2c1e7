"""The last good reading of every device; owns the probe and decides whom it may ask."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.domain import DeviceReading
from core.events import Bus, DevicesChanged, PluginReloaded
from core.probe_process import Limits, ProbeLost, ProbeProcess

log = logging.getLogger(__name__)

BUSY_INTERVAL, QUIET_INTERVAL = 1.0, 5.0
"""Seconds between two rounds: while memory moves, and while nothing happens."""
LOOK_INTERVAL = 60.0
"""Seconds between two looks at the plugin folder that nobody asked for: new hardware is found."""
GAP = 0.05
"""Seconds at least between two rounds: what is asked for in one burst is one round."""
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0


@dataclass(slots=True)
class _Suspect:
    """A file or device that cost a probe: left alone for a while, longer each time."""

    reason: str
    wait: float
    retry_at: float


class Devices:
    """Reads all devices again and again, in a process that may die.

    `readings` is None until every device has been read once, or has been found wanting.
    `taken_at` is the moment at which the round was asked for: what happened later may be missing.
    """

    def __init__(
        self,
        folder: Path,
        bus: Bus,
        *,
        clock: Callable[[], float] = time.monotonic,
        limits: Limits | None = None,
    ) -> None:
        self._folder = folder
        self._bus = bus
        self._clock = clock
        self._limits = limits or Limits()
        self._interval = QUIET_INTERVAL
        self._latest: dict[str, DeviceReading] = {}
        self._complete = False
        self._published: dict[str, DeviceReading] = {}
        self._names: list[str] = []
        self._owned: dict[str, list[str]] = {}
        self._plugins: dict[str, Any] = {"directory": str(folder), "error": None, "plugins": []}
        self._suspects: dict[tuple[str, str], _Suspect] = {}
        self._probe: ProbeProcess | None = None
        self._lost = 0
        self._error: str | None = None
        self._wake = asyncio.Event()
        self._reload = False
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()

    @property
    def readings(self) -> Mapping[str, DeviceReading] | None:
        """By name in lower case; a snapshot that does not change any more."""
        return dict(self._latest) if self._complete else None

    def status(self) -> dict[str, Any]:
        """The plugin files with their reasons, and how the probe itself is."""
        pid = self._probe.pid if self._probe else None
        return {**self._plugins, "probe": {"pid": pid, "lost": self._lost, "error": self._error}}

    def refresh(self) -> None:
        """Read soon: memory was just taken or given back. DevicesChanged follows in any case."""
        self._wake.set()

    def set_pace(self, busy: bool) -> None:
        """Read every second while something loads, waits or goes; rarely otherwise."""
        interval = BUSY_INTERVAL if busy else QUIET_INTERVAL
        if interval < self._interval:
            self._wake.set()
        self._interval = interval

    def reload(self) -> None:
        """Look at the plugin files soon, also at those that hung: they may have been mended."""
        self._suspects.clear()
        self._reload = True
        self._wake.set()

    async def run(self) -> None:
        """Read until `stop` or cancelled; the probe is dead when this returns."""
        wait = 0.0
        try:
            async with asyncio.TaskGroup() as group:
                while not self._stopping.is_set():
                    wait = await self._one_probe(group, wait)
                    await _wait_for(self._stopping, wait)
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """End `run` and the probe, within a second even if a plugin hangs."""
        self._stopping.set()
        self._wake.set()
        if self._probe is None:
            return
        self._probe.close()
        await _wait_for(self._ended, 0.6)
        if self._probe is not None:
            self._probe.kill()
            await _wait_for(self._ended, 0.3)

    async def _one_probe(self, group: asyncio.TaskGroup, waited: float) -> float:
        """Serve one child until it is lost; return the seconds to wait before the next one."""
        served = False
        try:
            self._probe = await ProbeProcess.start(self._folder, group, self._limits)
            next_look = 0.0
            while not self._stopping.is_set():
                if self._reload or self._clock() >= next_look:
                    self._reload = False
                    await self._load(self._probe)
                    next_look = self._clock() + LOOK_INTERVAL
                asked = self._wake.is_set()
                self._wake.clear()
                await self._round(self._probe, asked)
                served = True
                await self._pause(self._interval)
        except ProbeLost as lost:
            if self._stopping.is_set():
                return 0.0
            self._lost += 1
            if lost.step:
                self._blame(lost.step, lost.reason)
            elif not served:
                return self._give_up(lost.reason, waited)
            else:
                log.warning("the device probe %s; starting another", lost.reason)
        except OSError as error:
            return self._give_up(f"cannot start: {error}", waited)
        finally:
            if self._probe:
                await self._probe.end()
            self._probe = None
        return 0.0

    async def _load(self, probe: ProbeProcess) -> None:
        now = self._clock()
        skip = {
            what: suspect.reason
            for (kind, what), suspect in self._suspects.items()
            if kind == "load" and now < suspect.retry_at
        }
        async for answer in probe.ask("load", skip=skip):
            self._take_over(answer["loaded"]["names"], answer["loaded"]["status"])
        for key in [key for key in self._suspects if key[0] == "load" and key[1] not in skip]:
            del self._suspects[key]

    def _take_over(self, names: list[str], status: dict[str, Any]) -> None:
        """New plugins. A device whose file worked once and does not now is offline, not gone."""
        old = {each["file"]: each for each in self._plugins["plugins"]}
        new = {each["file"]: each for each in status["plugins"]}
        self._names, self._plugins = names, status
        self._owned = {
            file: [name.lower() for name in each["names"]]
            if each["loaded"]
            else self._owned.get(file, [])
            for file, each in new.items()
        }
        for file, each in new.items():
            if not each["loaded"]:
                self._set_offline(set(self._owned[file]) - set(names), each["error"])
        known = {name for owned in self._owned.values() for name in owned}
        self._latest = {name: each for name, each in self._latest.items() if name in known}
        changed = [file for file in old.keys() | new.keys() if old.get(file) != new.get(file)]
        failed = {file for file in changed if file in new and new[file]["error"]}
        if changed:
            self._bus.publish(
                PluginReloaded(
                    loaded=tuple(sorted(f"devices/{file}" for file in set(changed) - failed)),
                    failed=tuple(sorted(f"devices/{file}" for file in failed)),
                )
            )

    async def _round(self, probe: ProbeProcess, asked: bool) -> None:
        """Read every device that is not under suspicion; those that were, last."""
        now = self._clock()
        due = {name: self._suspects.get(("read", name)) for name in self._names}
        names = [name for name, suspect in due.items() if suspect is None]
        names += [name for name, suspect in due.items() if suspect and now >= suspect.retry_at]
        async for answer in probe.ask("read", names=names):
            reading = DeviceReading(taken_at=now, **answer["reading"])
            self._latest[reading.name] = reading
            self._suspects.pop(("read", reading.name), None)
        self._error = None
        self._complete = True
        self._publish(asked)

    def _publish(self, in_any_case: bool) -> None:
        values = {name: replace(each, taken_at=0.0) for name, each in self._latest.items()}
        if in_any_case or values != self._published:
            self._published = values
            self._bus.publish(DevicesChanged())

    def _blame(self, step: tuple[str, str], reason: str) -> None:
        """One plugin cost the probe: its devices are offline, the others keep their readings."""
        kind, what = step
        known = self._suspects.get(step)
        wait = min(known.wait * 2, LONGEST_WAIT) if known else FIRST_WAIT
        self._suspects[step] = _Suspect(reason, wait, self._clock() + wait)
        log.warning("device plugin %s: %s; next try in %g s", what, reason, wait)
        self._set_offline({what} if kind == "read" else set(self._owned.get(what, [])), reason)
        self._publish(False)

    def _give_up(self, reason: str, waited: float) -> float:
        """Nothing can be read and no plugin is to blame: all devices are offline for a while."""
        wait = min(waited * 2, LONGEST_WAIT) or FIRST_WAIT
        log.error("the device probe %s; next try in %g s", reason, wait)
        self._error = reason
        self._complete = True
        self._set_offline(set(self._latest), f"the device probe {reason}")
        self._publish(False)
        return wait

    def _set_offline(self, names: set[str], reason: str) -> None:
        now = self._clock()
        for name in names:
            self._latest[name] = DeviceReading(name, online=False, error=reason, taken_at=now)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not longer than until somebody asks for something."""
        await asyncio.sleep(GAP)
        if not self._reload:
            await _wait_for(self._wake, seconds)


async def _wait_for(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
