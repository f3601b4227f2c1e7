"""The tray between a fake panel and a fake controller; and a program that has to do without one."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core import tray as module
from core.bridge import Bridge
from core.domain import DeviceReading
from core.events import Bus, ConfigChanged, DevicesChanged, InstanceChanged, RequestFinished
from core.states import State
from core.tray import PACE, Sources, Tray, no_desktop
from core.tray_menu import Action, Entry, Mood, Verb
from tests.fakes.statuses import status
from tests.fakes.tray_program import TrayProgram
from tests.fakes.waiting import until

DESKTOP = {"DISPLAY": ":0", "LC_ALL": "C"}


class FakeController:
    """Notes what it is asked to do."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.state = State.STOPPED
        models = {n: SimpleNamespace(name=n, auto_start=n == "auto") for n in ("auto", "m")}
        self.config = SimpleNamespace(models=models)
        self.looks = 0

    def status(self) -> list[Any]:
        self.looks += 1
        return [status("auto"), status("m", self.state)]

    def start_soon(self, model: Any) -> None:
        self.asked.append(f"start {model.name}")

    def stop(self, model: Any) -> None:
        self.asked.append(f"stop {model.name}")

    def restart(self, model: Any, reason: str) -> None:
        self.asked.append(f"restart {model.name}")


class FakePanel:
    """Shown until it is stopped, or until it fails."""

    def __init__(self) -> None:
        self.updates: list[tuple[Mood, str]] = []
        self.notices: list[tuple[str, str]] = []
        self.thread: threading.Thread | None = None
        self.stops = 0
        self.stuck = False
        self._over = threading.Event()
        self._error: Exception | None = None

    def run(self) -> None:
        self.thread = threading.current_thread()
        self._over.wait()
        if self._error is not None:
            raise self._error

    def fail(self, error: Exception | None) -> None:
        self._error = error
        self._over.set()

    def stop(self) -> None:
        self.stops += 1
        if not self.stuck:
            self._over.set()

    def update(self, mood: Mood, tooltip: str) -> None:
        self.updates.append((mood, tooltip))

    def notify(self, title: str, body: str) -> None:
        self.notices.append((title, body))


class FakeAutostart:
    def __init__(self) -> None:
        self.on = False
        self.error: OSError | None = None

    def enabled(self) -> bool:
        return self.on

    def switch(self, on: bool) -> None:
        if self.error:
            raise self.error
        self.on = on


class Scene:
    """A tray and everything around it."""

    def __init__(self, logs: Path, open_panel: Callable[..., Any] | None = None) -> None:
        self.controller = FakeController()
        self.bus = Bus()
        self.panel = FakePanel()
        self.autostart = FakeAutostart()
        self.problems: list[str] = []
        self.quits = 0
        self.opened: list[str] = []
        sources = Sources(
            controller=self.controller,  # type: ignore[arg-type]
            bus=self.bus,
            readings=lambda: {"gpu0": DeviceReading("gpu0", True), "x": DeviceReading("x", False)},
            problems=lambda: self.problems,
            address="http://127.0.0.1:1",
            logs=logs,
            quit=self._quit,
            autostart=self.autostart,
        )
        self.tray = Tray(
            Bridge(asyncio.get_running_loop()),
            sources,
            env=DESKTOP,
            open_panel=open_panel or (lambda tray, mood, tooltip: self.panel),
        )

    def _quit(self) -> None:
        self.quits += 1

    async def shown(self) -> None:
        await until(lambda: self.panel.thread is not None)
        self.tray.report("on")
        await until(lambda: self.panel.updates)

    def click(self, verb: Verb, model: str = "") -> None:
        self.tray.act(Action(verb, model))

    def entry(self, verb: Verb) -> Entry:
        entries = self.tray.entries(moving=True)
        return next(e for e in entries if e.action and e.action.verb == verb)


@asynccontextmanager
async def scene(logs: Path, open_panel: Callable[..., Any] | None = None) -> AsyncIterator[Scene]:
    it = Scene(logs, open_panel)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(it.tray.run())
        await asyncio.sleep(0)
        yield it
        it.bus.close()
        it.panel.stuck = False
        await it.tray.stop()


@pytest.fixture
def desktop(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was opened in browser and file manager; any platform passes for Linux."""
    opened: list[str] = []
    monkeypatch.setattr(module, "open_page", opened.append)
    monkeypatch.setattr(module, "open_folder", lambda folder: opened.append(folder.name))
    monkeypatch.setattr(sys, "platform", "linux")
    return opened


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


pytestmark = pytest.mark.usefixtures("desktop")


# ---- showing -----------------------------------------------------------------------------------


async def test_it_runs_in_a_daemon_thread_of_its_own_and_leaves_when_told(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        assert it.tray.state == "starting"
        await it.shown()
        assert it.tray.state == "on"
        thread = it.panel.thread
        assert thread is not None
        assert thread.daemon
        assert thread is not threading.main_thread()
    assert it.panel.stops == 1
    assert not thread.is_alive()
    assert it.tray.state == "on"  # its end on request is no news


async def test_the_icon_follows_changes_made_elsewhere(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        await it.shown()
        assert it.panel.updates[-1][0] is Mood.IDLE
        assert "gpu0" in it.panel.updates[-1][1]
        it.controller.state = State.READY
        it.bus.publish(InstanceChanged("m", "m#1", State.READY))
        await until(lambda: it.panel.updates[-1][0] is Mood.SERVING)
        assert "Loaded: m" in it.panel.updates[-1][1]
        it.problems.append("port: 0")
        it.bus.publish(ConfigChanged((), ("port: 0",)))
        await until(lambda: it.panel.updates[-1][0] is Mood.PROBLEM)


async def test_a_thousand_changes_are_one_update(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        await it.shown()
        began, before = asyncio.get_running_loop().time(), len(it.panel.updates)
        for _ in range(50):
            for _ in range(20):
                it.bus.publish(DevicesChanged())
            await asyncio.sleep(0)
        it.controller.state = State.READY
        it.bus.publish(InstanceChanged("m", "m#1", State.READY))
        await until(lambda: it.panel.updates[-1][0] is Mood.SERVING)
        seconds = asyncio.get_running_loop().time() - began
        assert len(it.panel.updates) - before <= 1 + seconds / PACE


async def test_a_finished_request_changes_nothing_that_is_shown(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        await it.shown()
        await until(lambda: it.tray._due is None)
        it.bus.publish(RequestFinished("m", "m#1", "/v1/x", 200, 1.0, "ok"))
        for _ in range(10):
            await asyncio.sleep(0)
        assert it.tray._due is None
        it.bus.publish(DevicesChanged())
        await until(lambda: it.tray._due is not None)


async def test_the_same_state_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with scene(tmp_path) as it:
        await it.shown()
        for state in ("on", "off (gone)", "off (gone)", "on"):
            it.tray.report(state)
        await until(lambda: caplog.text.count("tray: on") == 2)
        assert caplog.text.count("tray: off (gone)") == 1


async def test_the_menu_is_made_in_the_icons_thread_from_the_last_view(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        await it.shown()
        looks = it.controller.looks
        models = it.tray.entries(moving=True)[2]
        assert models.label == "Models (0 of 2 loaded)"
        assert it.controller.looks == looks


async def test_failures_are_told_unless_switched_off(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        await it.shown()
        it.bus.publish(InstanceChanged("m", "m#1", State.FAILED, "exit code 3"))
        await until(lambda: it.panel.notices == [("m failed", "exit code 3")])
        it.click("notifications")
        await until(lambda: not it.entry("notifications").checked)
        it.bus.publish(InstanceChanged("m", "m#2", State.FAILED, "exit code 4"))
        it.bus.publish(ConfigChanged((), ("x",)))
        await until(lambda: it.panel.updates and it.tray._due is None)
        assert len(it.panel.notices) == 1
    assert (tmp_path / "tray.json").is_file()


# ---- steering ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "model", "asked"),
    [
        ("start", "m", ["start m"]),
        ("stop", "m", ["stop m"]),
        ("start", "gone", []),
        ("stop", "gone", []),
        ("restart_autostart", "", ["restart auto"]),
        ("stop_all", "", ["stop auto", "stop m"]),
    ],
)
async def test_clicks_reach_the_controller(
    tmp_path: Path, verb: Verb, model: str, asked: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with scene(tmp_path) as it:
        it.click(verb, model)
        assert it.controller.asked == []  # not before the loop's thread gets to it
        await until(lambda: f"tray: {verb.replace('_', ' ')} {model}" in caplog.text)
        assert it.controller.asked == asked


async def test_clicks_reach_desktop_and_program(tmp_path: Path, desktop: list[str]) -> None:
    async with scene(tmp_path / "logs") as it:
        it.click("open")
        it.click("logs")
        it.click("quit")
        it.click("quit")
        await until(lambda: it.quits == 2)
        assert desktop == ["http://127.0.0.1:1/", "logs"]


async def test_the_autostart_switch_shows_what_is_true(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        await it.shown()
        assert it.entry("autostart").checked is False
        it.click("autostart")
        await until(lambda: it.entry("autostart").checked)
        it.autostart.error = OSError("read-only")
        it.click("autostart")
        await until(lambda: it.panel.notices)
        assert it.panel.notices[0][1] == "read-only"
        assert it.entry("autostart").checked is True


# ---- doing without -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (ImportError("no\n backend"), "off (no backend)"),
        (NotImplementedError(), "off (NotImplementedError)"),
        (RuntimeError("x" * 999), f"off ({'x' * 199}…)"),
    ],
)
@pytest.mark.parametrize("late", [False, True])
async def test_a_desktop_that_fails_is_one_line_in_the_log(
    tmp_path: Path, error: Exception, state: str, late: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def open_panel(*_: object) -> FakePanel:
        raise error

    async with scene(tmp_path, None if late else open_panel) as it:
        if late:
            it.panel.fail(error)
        await until(lambda: it.tray.state == state)
        it.bus.publish(DevicesChanged())
        it.bus.publish(InstanceChanged("m", "m#1", State.FAILED, "x"))
        await until(lambda: it.controller.looks > 1)
    assert [r.getMessage() for r in caplog.records if "tray" in r.name] == [f"tray: {state}"]
    assert it.panel.stops == 0


async def test_a_desktop_that_does_not_let_go_delays_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LAST_WORDS", 0.05)
    async with scene(tmp_path) as it:
        await it.shown()
        it.panel.stuck = True
        await it.tray.stop()
        assert it.tray._thread.is_alive()


@pytest.mark.parametrize(
    ("platform", "env", "words"),
    [
        ("linux", {}, "DISPLAY"),
        ("linux", {"DISPLAY": ""}, "DISPLAY"),
        ("freebsd14", {}, "DISPLAY"),
        ("darwin", {"DISPLAY": ":0"}, "main thread"),
        ("linux", {"DISPLAY": ":0"}, None),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, None),
        ("win32", {}, None),
    ],
)
def test_where_no_icon_can_be_is_known_without_trying(
    platform: str, env: dict[str, str], words: str | None
) -> None:
    reason = no_desktop(platform, env)
    assert (words in reason) if reason and words else reason is words


async def test_without_a_desktop_no_thread_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    it = Scene(tmp_path)
    monkeypatch.setattr(it.tray, "_env", {})
    await it.tray.run()
    await it.tray.stop()
    assert it.tray.state.startswith("off (no desktop")
    assert not it.tray._thread.is_alive()
    assert caplog.text.count("tray: off") == 1


# ---- the whole program -------------------------------------------------------------------------


def _broken(folder: Path, text: str) -> str:
    """A folder whose pystray is this."""
    folder.mkdir()
    (folder / "pystray.py").write_text(text)
    return str(folder)


NOWHERE = ":987"
FAULTS: dict[str, Callable[[Path], dict[str, str]]] = {
    "no display": lambda _: {"DISPLAY": ""},
    "a display that is not there": lambda _: {"DISPLAY": NOWHERE},
    "xlib without a display": lambda _: {"DISPLAY": NOWHERE, "PYSTRAY_BACKEND": "xorg"},
    "gtk without a display": lambda _: {"DISPLAY": NOWHERE, "PYSTRAY_BACKEND": "gtk"},
    "the dummy backend": lambda _: {"DISPLAY": NOWHERE, "PYSTRAY_BACKEND": "dummy"},
    "an unknown backend": lambda _: {"DISPLAY": NOWHERE, "PYSTRAY_BACKEND": "amiga"},
    "pystray is broken": lambda folder: {
        "DISPLAY": NOWHERE,
        "PYTHONPATH": _broken(folder / "b", "raise ValueError('a broken install')"),
    },
}

if sys.platform.startswith("linux"):

    @pytest.mark.parametrize("fault", FAULTS)
    def test_the_program_goes_on_without_a_tray_and_says_so_once(
        fault: str, tmp_path: Path
    ) -> None:
        env = {k: v for k, v in os.environ.items() if k != "WAYLAND_DISPLAY"}
        with TrayProgram(tmp_path, {**env, **FAULTS[fault](tmp_path)}) as program:
            program.until_tray("off (")
            assert program.ask("GET", "/health")["status"] == "ok"
            assert program.end(signal.SIGTERM) == 0
        assert program.log().count("core.tray: tray:") == 1

    def test_headless_is_a_reason_too(tmp_path: Path) -> None:
        with TrayProgram(tmp_path, dict(os.environ), "--headless") as program:
            assert program.ask("GET", "/api/info")["tray"] == "off (headless)"
            assert program.end(signal.SIGTERM) == 0
        assert "core.tray" not in program.log()
