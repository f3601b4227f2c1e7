"""The tray on a real screen with a real panel: seen, clicked, and left by both.

The whole program runs as a child process; GTK could not be had twice in this one.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from core.tray_gtk import NO_PANEL, find_gi
from core.tray_icon import COLOURS
from core.tray_menu import Mood
from tests.fakes.program import HOME
from tests.fakes.screen import Screen, missing, screen
from tests.fakes.tray_program import TrayProgram
from tests.fakes.waiting import until_sync

FIND_GI = "from core.tray_gtk import find_gi; find_gi(); import gi; print(gi.__file__)"
MODELS = ("Down", "Down")
LOGS, NOTIFICATIONS, AUTOSTART, QUIT = (("Up",) * count for count in (4, 3, 2, 1))
"""The keys from the freshly opened menu to these lines."""


def _obstacle() -> str:
    """Why these tests cannot run here."""
    if not sys.platform.startswith("linux"):
        return "POSIX only: panels of GTK"
    if absent := missing():
        return f"not installed here: {absent} (tests/setup-debian.sh installs them)"
    done = subprocess.run(
        [sys.executable, "-c", FIND_GI], cwd=HOME, capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else f"no gi for {sys.executable}"


OBSTACLE = _obstacle()
pytestmark = pytest.mark.skipif(bool(OBSTACLE), reason=OBSTACLE)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    with screen(tmp_path_factory.mktemp("home")) as it:
        yield it


@pytest.fixture
def desk(shared: Screen) -> Iterator[Screen]:
    """The screen, without menus or icons of an earlier test."""
    shared.notifications.clear()
    yield shared
    until_sync(lambda: shared.icon() is None)


@pytest.fixture
def program(desk: Screen, tmp_path: Path) -> Iterator[TrayProgram]:
    with TrayProgram(tmp_path, _with_openers(desk, tmp_path)) as it:
        it.until_tray("on")
        yield it


def _with_openers(desk: Screen, folder: Path) -> dict[str, str]:
    """Its environment, with a browser and a file manager that write down what they are given."""
    programs = folder / "programs"
    programs.mkdir()
    for name in ("browser", "xdg-open"):
        file = programs / name
        file.write_text(f'#!/bin/sh\necho "$1" > "$0.new"; mv "$0.new" "{folder / name}.told"\n')
        file.chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    return {**desk.env, "PATH": path, "BROWSER": str(programs / "browser")}


def menu_at(desk: Screen, *ways: tuple[str, ...]) -> None:
    """Open the menu and walk into the submenus; each way is a row of keys."""

    def opened() -> bool:
        desk.click(3)
        return _soon(lambda: desk.menus() == 1)

    until_sync(opened)
    for depth, keys in enumerate(ways, 2):
        desk.keys(*keys, "Right")
        until_sync(lambda depth=depth: desk.menus() == depth)  # type: ignore[misc]


def choose(desk: Screen, *ways: tuple[str, ...]) -> None:
    """The same, and choose: the last way leads to the line that is wanted."""
    menu_at(desk, *ways[:-1])
    desk.keys(*ways[-1], "Return")
    until_sync(lambda: desk.menus() == 0)


def _soon(fact: Callable[[], bool]) -> bool:
    """Whether it happens before another click is due: the first ones may be lost."""
    try:
        return until_sync(fact, seconds=1.5)
    except AssertionError:
        return False


def shows(desk: Screen, mood: Mood, folder: Path) -> bool:
    """Whether the panel's picture of the icon has the colour of this mood."""
    place = desk.icon()
    if place is None:
        return False
    desk.picture(folder / "screen.png")
    width, height, left, top = place
    wanted = Image.new("RGB", (1, 1), COLOURS[mood]).getpixel((0, 0))
    with Image.open(folder / "screen.png") as picture:
        pixels = picture.convert("RGB").crop((left, top, left + width, top + height))
        return (
            sum(color == wanted for color in zip(*[iter(pixels.tobytes())] * 3, strict=True)) > 40
        )


# ---- one program each, on one screen -----------------------------------------------------------


def test_a_model_is_started_and_unloaded_from_the_menu(
    desk: Screen, program: TrayProgram, tmp_path: Path
) -> None:
    until_sync(lambda: shows(desk, Mood.IDLE, tmp_path))
    choose(desk, MODELS, (), ())
    program.until_state("demo", "ready")
    until_sync(lambda: shows(desk, Mood.SERVING, tmp_path))
    choose(desk, MODELS, (), ())
    program.until_state("demo", "stopped")
    until_sync(lambda: shows(desk, Mood.IDLE, tmp_path))


def test_the_menu_opens_while_a_model_loads_and_aborts_it(
    desk: Screen, program: TrayProgram, tmp_path: Path
) -> None:
    program.ask("POST", "/api/models/slow/start")
    until_sync(lambda: shows(desk, Mood.LOADING, tmp_path))
    choose(desk, MODELS, (), ())  # what is active comes first
    program.until_state("slow", "stopped")


def test_quit_ends_the_program_and_its_models(desk: Screen, program: TrayProgram) -> None:
    program.ask("POST", "/api/models/demo/start?wait=1")
    pid = program.ask("GET", "/api/models/demo/info")["pid"]
    choose(desk, QUIT)
    assert program.wait() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert "Traceback" not in program.log()


def test_a_failure_is_shown_and_told_unless_that_is_switched_off(
    desk: Screen, program: TrayProgram, tmp_path: Path
) -> None:
    program.ask("POST", "/api/models/bad/start")
    until_sync(lambda: shows(desk, Mood.PROBLEM, tmp_path))
    until_sync(lambda: any("bad failed" in line for line in desk.notifications))
    choose(desk, NOTIFICATIONS)
    choice = tmp_path / "logs" / "tray.json"
    until_sync(choice.exists)
    assert json.loads(choice.read_text()) == {"notifications": False}


def test_a_click_opens_the_dashboard(desk: Screen, program: TrayProgram, tmp_path: Path) -> None:
    told = tmp_path / "browser.told"

    def clicked() -> bool:
        desk.click(1)
        return _soon(told.exists)

    until_sync(clicked)
    assert told.read_text().strip() == f"http://127.0.0.1:{program.port}/"


def test_the_logs_folder_and_the_start_with_the_system(
    desk: Screen, program: TrayProgram, tmp_path: Path
) -> None:
    choose(desk, LOGS)
    until_sync((tmp_path / "xdg-open.told").exists)
    assert (tmp_path / "xdg-open.told").read_text().strip() == str(tmp_path / "logs")
    entry = desk.home / "config" / "autostart" / "LLM-Manager.desktop"
    choose(desk, AUTOSTART)
    until_sync(entry.exists)
    assert str(tmp_path / "config.json") in entry.read_text()
    choose(desk, AUTOSTART)
    until_sync(lambda: not entry.exists())


def test_an_open_menu_survives_changes_made_elsewhere(desk: Screen, program: TrayProgram) -> None:
    menu_at(desk)
    program.ask("POST", "/api/models/demo/start?wait=1")
    program.ask("POST", "/api/models/slow/start")
    program.until_state("slow", "starting")
    assert desk.menus() == 1
    desk.keys(*QUIT, "Return")
    assert program.wait() == 0


def test_an_indicator_has_a_menu_that_follows_too(desk: Screen, tmp_path: Path) -> None:
    env = {**desk.env, "PYSTRAY_BACKEND": "appindicator"}
    with TrayProgram(tmp_path, env) as program:
        program.until_tray("on")
        program.ask("POST", "/api/models/slow/start")
        until_sync(lambda: shows(desk, Mood.LOADING, tmp_path))
        choose(desk, MODELS, (), ())
        program.until_state("slow", "stopped")
        choose(desk, QUIT)
        assert program.wait() == 0


# ---- screens of their own ----------------------------------------------------------------------


def test_a_panel_may_come_later(tmp_path: Path) -> None:
    """Until then the state says that nobody shows the icon."""
    with screen(tmp_path / "home", panel=False) as it, TrayProgram(tmp_path, it.env) as program:
        program.until_tray(NO_PANEL)
        it.start_panel()
        program.until_tray("on")
        assert program.end(signal.SIGTERM) == 0


def test_the_program_outlives_the_desktop_session(tmp_path: Path) -> None:
    with screen(tmp_path / "home") as it, TrayProgram(tmp_path, it.env) as program:
        program.until_tray("on")
        it.end()
        program.until_tray("off (the desktop session ended)")
        assert program.ask("POST", "/api/models/demo/start?wait=1")["state"] == "ready"
        assert program.end(signal.SIGTERM) == 0


def test_no_message_bus_costs_only_the_notifications(tmp_path: Path) -> None:
    with screen(tmp_path / "home") as it:
        env = {**it.env, "DBUS_SESSION_BUS_ADDRESS": f"unix:path={tmp_path}/nowhere"}
        with TrayProgram(tmp_path, env) as program:
            program.until_tray("on")
            program.ask("POST", "/api/models/bad/start")
            program.until_state("bad", "failed")
            choose(it, QUIT)
            assert program.wait() == 0
        assert "no notifications:" in program.log()


# ---- finding gi --------------------------------------------------------------------------------


def test_gi_is_found_outside_of_the_virtual_environment() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIND_GI], cwd=HOME, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith("gi/__init__.py")


def test_a_gi_that_is_there_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.delitem(sys.modules, "gi", raising=False)
    find_gi()
    assert "gi" not in sys.modules


def test_a_gi_of_another_python_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "gi").mkdir()
    (tmp_path / "gi" / "__init__.py").write_text("raise SystemExit")
    (tmp_path / "gi" / "_gi.cpython-27-x86_64-linux-gnu.so").touch()
    monkeypatch.setattr("core.tray_gtk.SYSTEM_PACKAGES", (str(tmp_path),))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "gi", raising=False)
    find_gi()
    assert "gi" not in sys.modules
