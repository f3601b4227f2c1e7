from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from core import devices as module
from core.devices import Devices
from core.domain import DeviceReading
from core.events import Bus, DevicesChanged, Event, PluginReloaded
from core.launchers import leftovers
from core.plugin_loading import ROOT
from core.probe_process import Limits
from tests.fakes.saving import save
from tests.fakes.waiting import DEADLINE, until, until_sync
from tests.test_plugin_loading import BODY, HEAD

DEVICE = HEAD + BODY
SLOW = 6 if sys.platform == "win32" else 1
"""Under wine a process starts several times as slowly."""


def named(name: str, memory: str = "return 3, 2, 1") -> str:
    return DEVICE.replace('"d"', f'"{name}"').replace("return 3, 2, 1", memory)


class Recorder(Bus):
    """Remembers at once what was published."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []

    def publish(self, event: Event) -> None:
        self.events.append(event)


@dataclass
class Rig:
    """Devices at work, and what they published."""

    devices: Devices
    folder: Path
    events: list[Event]

    async def until(self, fact: Callable[[], object]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not fact():
            assert time.monotonic() < deadline, (self.devices.readings, self.devices.status())
            await asyncio.sleep(0.005)

    def reading(self, name: str) -> DeviceReading | None:
        return (self.devices.readings or {}).get(name)

    async def online(self, name: str) -> DeviceReading:
        await self.until(lambda: (found := self.reading(name)) and found.online)
        found = self.reading(name)
        assert found
        return found

    async def offline(self, name: str) -> str:
        await self.until(lambda: (found := self.reading(name)) and not found.online)
        found = self.reading(name)
        assert found
        assert found.error
        return found.error

    @property
    def pid(self) -> int | None:
        pid = self.devices.status()["probe"]["pid"]
        assert pid is None or isinstance(pid, int)
        return pid

    def told(self, kind: type[Event]) -> int:
        return sum(isinstance(event, kind) for event in self.events)


@asynccontextmanager
async def running(folder: Path, limits: Limits | None = None) -> AsyncIterator[Rig]:
    bus = Recorder()
    devices = Devices(folder, bus, limits=limits or Limits(load=10 * SLOW, read=0.5 * SLOW))
    rig = Rig(devices, folder, bus.events)
    async with asyncio.TaskGroup() as group:
        group.create_task(devices.run())
        try:
            yield rig
        finally:
            await devices.stop()
    assert rig.pid is None


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT", 0.05)
    monkeypatch.setattr(module, "BUSY_INTERVAL", 0.05)


async def test_devices_are_read_and_stop_is_clean(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(named("A"))
    devices = Devices(tmp_path, Bus())
    assert devices.readings is None
    await devices.stop()
    async with running(tmp_path) as rig:
        reading = await rig.online("a")
        assert (reading.total_mb, reading.available_mb, reading.used_mb) == (3, 2, 1)
        assert reading.error is None
        pid = rig.pid
        assert pid
    assert not psutil.pid_exists(pid)


async def test_a_round_begins_after_the_refresh_that_asked_for_it(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(named("a"))
    async with running(tmp_path) as rig:
        await rig.online("a")
        for _ in range(3):
            asked = time.monotonic()
            told = rig.told(DevicesChanged)
            rig.devices.refresh()
            await rig.until(lambda: rig.told(DevicesChanged) > told)  # noqa: B023
            reading = rig.reading("a")
            assert reading
            assert reading.taken_at >= asked


async def test_a_burst_of_refreshes_is_one_round(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(named("a"))
    async with running(tmp_path) as rig:
        await rig.online("a")
        rig.devices.refresh()
        told = rig.told(DevicesChanged)
        await rig.until(lambda: rig.told(DevicesChanged) > told)
        told = rig.told(DevicesChanged)
        for _ in range(100):
            rig.devices.refresh()
        await rig.until(lambda: rig.told(DevicesChanged) > told)
        first = rig.reading("a")
        rig.devices.refresh()
        await rig.until(lambda: rig.reading("a") != first)
        await rig.until(lambda: rig.told(DevicesChanged) >= told + 2)
        assert rig.told(DevicesChanged) == told + 2


async def test_who_asks_again_at_every_answer_does_not_make_it_spin(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(named("a"))
    async with running(tmp_path) as rig:
        await rig.online("a")
        began, told = time.monotonic(), rig.told(DevicesChanged)
        while rig.told(DevicesChanged) < told + 10:
            assert time.monotonic() < began + DEADLINE
            rig.devices.refresh()
            await asyncio.sleep(0)
        assert time.monotonic() - began >= 6 * module.GAP  # Windows wakes up to 16 ms early


async def test_unchanged_readings_are_not_told_and_changed_ones_are(tmp_path: Path) -> None:
    (tmp_path / "memory").write_text("10")
    memory = (
        "import pathlib; return 99, int(pathlib.Path(__file__).with_name('memory').read_text()), 0"
    )
    (tmp_path / "a.py").write_text(named("a", memory))
    async with running(tmp_path) as rig:
        rig.devices.set_pace(busy=True)
        first = await rig.online("a")
        await rig.until(lambda: rig.reading("a").taken_at > first.taken_at + 0.2)  # type: ignore[union-attr]
        assert rig.told(DevicesChanged) == 1
        (tmp_path / "memory").write_text("20")
        await rig.until(lambda: rig.reading("a").available_mb == 20)  # type: ignore[union-attr]
        await rig.until(lambda: rig.told(DevicesChanged) >= 2)


HANG = "import time; time.sleep(1e9)"
ABORT = "import os; os.abort()"
SWITCH = "import pathlib; file = pathlib.Path(__file__).with_name('switch')\n        "


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (HANG, "gave no answer within 0.5 s"),
        (ABORT, "SIGABRT"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
    ids=["hang", "abort", "exit"],
)
async def test_a_bad_device_is_offline_and_the_others_go_on(
    tmp_path: Path, bad: str, words: str
) -> None:
    (tmp_path / "a.py").write_text(named("a", bad))
    (tmp_path / "b.py").write_text(named("b"))
    async with running(tmp_path) as rig:
        error = await rig.offline("a")
        if sys.platform != "win32":
            assert words in error
        first = await rig.online("b")
        rig.devices.refresh()
        await rig.until(lambda: rig.reading("b").taken_at > first.taken_at)  # type: ignore[union-attr]
        assert rig.reading("b").online  # type: ignore[union-attr]


@pytest.mark.parametrize("bad", [HANG, ABORT], ids=["hang", "abort"])
async def test_a_device_that_recovers_is_back(tmp_path: Path, bad: str) -> None:
    switch = tmp_path / "switch"
    text = SWITCH + f"if file.exists(): {bad}\n        return 3, 2, 1"
    (tmp_path / "a.py").write_text(named("a", text))
    async with running(tmp_path) as rig:
        rig.devices.set_pace(busy=True)
        await rig.online("a")
        switch.touch()
        await rig.offline("a")
        await rig.until(lambda: rig.devices.status()["probe"]["lost"] >= 2)
        switch.unlink()
        await rig.online("a")


async def test_a_device_that_costs_probe_after_probe_is_asked_ever_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT", 1.0)
    now = 1000.0
    devices = Devices(tmp_path, Bus(), clock=lambda: now)
    waits = []
    for _ in range(9):
        devices._blame(("read", "a"), "hung")
        suspect = devices._suspects["read", "a"]
        waits.append(suspect.retry_at - now)
        now = suspect.retry_at
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize("bad", [HANG, ABORT], ids=["hang", "abort"])
async def test_a_file_that_costs_the_probe_at_its_import(tmp_path: Path, bad: str) -> None:
    (tmp_path / "a.py").write_text(bad)
    (tmp_path / "b.py").write_text(named("b"))
    async with running(tmp_path, Limits(load=1.5 * SLOW, read=0.5 * SLOW)) as rig:
        await rig.online("b")
        (a,) = [each for each in rig.devices.status()["plugins"] if each["file"] == "a.py"]
        assert not a["loaded"]
        assert a["error"]
        (tmp_path / "a.py").write_text(named("a"))
        rig.devices.reload()
        await rig.online("a")


async def test_a_new_version_that_hangs_makes_its_device_offline_not_gone(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(named("a"))
    (tmp_path / "b.py").write_text(named("b"))
    async with running(tmp_path, Limits(load=1.5 * SLOW, read=0.5 * SLOW)) as rig:
        await rig.online("a")
        (tmp_path / "a.py").write_text(HANG)
        rig.devices.reload()
        assert "gave no answer" in await rig.offline("a")
        await rig.until(lambda: not rig.devices.status()["plugins"][0]["loaded"])
        assert "gave no answer" in await rig.offline("a")
        await rig.online("b")
        rig.devices.reload()
        await rig.until(lambda: rig.devices.status()["probe"]["lost"] >= 2)
        assert "gave no answer" in await rig.offline("a")
        (tmp_path / "a.py").unlink()
        rig.devices.reload()
        await rig.until(lambda: rig.reading("a") is None)


async def test_files_that_come_change_break_and_go(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(named("a"))
    async with running(tmp_path) as rig:
        await rig.online("a")
        pid = rig.pid
        (tmp_path / "b.py").write_text(named("b"))
        (tmp_path / "a.py").write_text("def (")
        rig.devices.reload()
        await rig.online("b")
        await rig.until(lambda: rig.told(PluginReloaded) >= 2)
        assert PluginReloaded(("devices/b.py",), ("devices/a.py",)) in rig.events
        await rig.online("a")  # by its old version
        (tmp_path / "a.py").unlink()
        rig.devices.reload()
        await rig.until(lambda: rig.reading("a") is None)
        assert rig.pid == pid
        told = rig.told(PluginReloaded)
        rig.devices.reload()
        rig.devices.refresh()
        changed = rig.told(DevicesChanged)
        await rig.until(lambda: rig.told(DevicesChanged) > changed)
        assert rig.told(PluginReloaded) == told


async def test_a_probe_that_somebody_kills_is_replaced_unnoticed(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(named("a"))
    async with running(tmp_path) as rig:
        first = await rig.online("a")
        old = rig.pid
        assert old
        psutil.Process(old).kill()
        rig.devices.refresh()
        await rig.until(lambda: rig.reading("a").taken_at > first.taken_at)  # type: ignore[union-attr]
        assert rig.reading("a").online  # type: ignore[union-attr]
        assert rig.pid != old


async def test_without_a_probe_all_devices_are_offline_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.py").write_text(named("a"))
    async with running(tmp_path) as rig:
        await rig.online("a")
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", str(tmp_path / "no-python"))
            assert rig.pid
            psutil.Process(rig.pid).kill()
            rig.devices.refresh()
            # Its first reason may be the end of the old probe.
            await rig.until(lambda: "cannot start" in str(getattr(rig.reading("a"), "error", "")))
            assert "cannot start" in rig.devices.status()["probe"]["error"]
            rig.devices.refresh()
        await rig.online("a")
        # Forgotten at the end of the round, of which "a" may be the beginning.
        await rig.until(lambda: rig.devices.status()["probe"]["error"] is None)


async def test_a_folder_that_is_missing_means_no_devices_and_says_so(tmp_path: Path) -> None:
    async with running(tmp_path / "none") as rig:
        await rig.until(lambda: rig.devices.readings is not None)
        assert rig.devices.readings == {}
        assert "cannot read the folder" in rig.devices.status()["error"]


@pytest.mark.parametrize("how", ["stop", "cancel"])
@pytest.mark.parametrize("bad", ["return 3, 2, 1", HANG], ids=["idle", "hung"])
async def test_it_ends_within_a_second_even_if_a_plugin_hangs(
    tmp_path: Path, how: str, bad: str
) -> None:
    tries = []
    for number in range(5):  # a busy machine is slow now and then, who waits for a plugin always is
        folder = tmp_path / str(number)
        folder.mkdir()
        tries.append(await seconds_to_end(folder, how, bad))
        if tries[-1] < 3.0:  # a second, and two for a machine that is busy with other things
            return
    raise AssertionError(f"it took {tries}")


async def seconds_to_end(folder: Path, how: str, bad: str) -> float:
    """How long it takes to end while the plugin in this folder is asked."""
    (folder / "a.py").write_text(
        named("a", f"import pathlib; pathlib.Path(__file__).with_name('asked').touch(); {bad}")
    )
    devices = Devices(folder, Bus(), limits=Limits(load=60, read=60))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(devices.run())
        await until(lambda: (folder / "asked").exists())
        pid = devices.status()["probe"]["pid"]
        began = time.monotonic()
        if how == "cancel":
            task.cancel()
        else:
            await devices.stop()
        await asyncio.wait([task])
        took = time.monotonic() - began
    assert not psutil.pid_exists(pid)
    return took


MANAGER = """
import asyncio, sys
from pathlib import Path
from core.devices import Devices
from core.events import Bus

async def main():
    devices = Devices(Path(sys.argv[1]), Bus())
    async with asyncio.TaskGroup() as group:
        group.create_task(devices.run())
        while devices.status()["probe"]["pid"] is None:
            await asyncio.sleep(0.01)
        print(devices.status()["probe"]["pid"], flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("bad", ["return 3, 2, 1", HANG], ids=["idle", "hung"])
def test_the_probe_does_not_outlive_a_manager_that_is_killed(tmp_path: Path, bad: str) -> None:
    asked = tmp_path / "asked"
    (tmp_path / "a.py").write_text(
        named("a", f"import pathlib; pathlib.Path({str(asked)!r}).touch(); {bad}")
    )
    with subprocess.Popen(
        [sys.executable, "-c", MANAGER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
    ) as manager:
        assert manager.stdout
        pid = int(manager.stdout.readline())
        until_sync(asked.exists)
        manager.kill()
    until_sync(lambda: leftovers.start_time(pid) is None)


# Against a pretended driver, and pretended devices


@pytest.fixture
def nvml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    file = tmp_path / "nvml.json"
    monkeypatch.setenv("FAKE_NVML", str(file))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests/fakes/nvml"))

    def has(*gpus: object) -> None:
        save(file, json.dumps({"gpus": gpus}))

    return has


@pytest.mark.parametrize("fault", [{"hang": True}, {"crash": True}, {"error": 15}], ids=str)
async def test_a_gpu_that_is_lost_hangs_or_crashes_comes_back(
    nvml: Callable[..., None], fault: dict[str, object]
) -> None:
    card = {"name": "Tesla V100-SXM2-16GB", "total": 16000, "free": 12000}
    nvml(card)
    async with running(ROOT / "plugins/devices") as rig:
        rig.devices.set_pace(busy=True)
        reading = await rig.online("v100")
        assert (reading.total_mb, reading.available_mb, reading.index) == (16000, 12000, 0)
        assert set(rig.devices.readings or {}) == {"cpu", "v100", "rtx 4060"}
        nvml({**card, **fault})
        await rig.offline("v100")
        assert rig.reading("cpu").online  # type: ignore[union-attr]
        nvml(card)
        await rig.online("v100")


async def test_fake_devices_hold_what_living_servers_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ledger").mkdir()
    (tmp_path / "devices.json").write_text('{"V100": 16000, "cpu": {"total": 8000, "used": 500}}')
    monkeypatch.setenv("FAKE_DEVICES_JSON", str(tmp_path / "devices.json"))
    monkeypatch.setenv("FAKE_MEMORY_DIR", str(tmp_path / "ledger"))
    (tmp_path / "ledger" / str(os.getpid())).write_text('{"cpu": 300}')
    (tmp_path / "ledger" / "999999999").write_text('{"cpu": 300}')
    async with running(ROOT / "tests/fakes/devices") as rig:
        assert (await rig.online("v100")).available_mb == 16000
        assert (await rig.online("cpu")).available_mb == 8000 - 500 - 300
