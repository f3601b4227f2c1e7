"""The part between menu entries and pystray, with a pystray that only remembers."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from core.tray_backend import ICON_ONLY, Panel, import_pystray
from core.tray_menu import SEPARATOR, Action, Entry, Mood
from tests.fakes.waiting import until_sync


class Menu(list[Any]):
    SEPARATOR = "-"

    def __init__(self, *items: Any) -> None:
        super().__init__(items)


class Item:
    def __init__(self, text: str, action: Any, **more: Any) -> None:
        self.text, self.action, self.more = text, action, more


class Icon:
    """Runs until it is stopped, as a backend of plain X11 does."""

    HAS_NOTIFICATION = True
    __module__ = "pystray._xorg"
    made: list[Icon]

    def __init__(self, name: str, icon: Any, title: str, menu: Menu) -> None:
        self.drawings = [icon]
        self.title, self.menu = title, menu
        self.visible = False
        self.menu_updates = 0
        self.notices: list[tuple[str, str]] = []
        self.stopped = False
        self.made.append(self)

    @property
    def icon(self) -> Any:
        return self.drawings[-1]

    @icon.setter
    def icon(self, image: Any) -> None:
        self.drawings.append(image)

    def run(self, setup: Any) -> None:
        setup(self)

    def stop(self) -> None:
        self.stopped = True

    def update_menu(self) -> None:
        self.menu_updates += 1

    def notify(self, body: str, title: str) -> None:
        self.notices.append((title, body))

    def items(self) -> list[Any]:
        return list(self.menu[0]())


class Desk:
    def __init__(self) -> None:
        self.shown: Sequence[Entry] = (Entry("Quit", Action("quit")),)
        self.asked: list[bool] = []
        self.acts: list[Action] = []
        self.states: list[str] = []

    def entries(self, *, moving: bool) -> Sequence[Entry]:
        self.asked.append(moving)
        return self.shown

    def act(self, action: Action) -> None:
        self.acts.append(action)

    def report(self, state: str) -> None:
        self.states.append(state)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def icons(monkeypatch: pytest.MonkeyPatch) -> list[Icon]:
    made: list[Icon] = []
    monkeypatch.setattr(Icon, "made", made, raising=False)
    return made


PYSTRAY = types.SimpleNamespace(Icon=Icon, Menu=Menu, MenuItem=Item)


@pytest.fixture
def panel(desk: Desk, icons: list[Icon]) -> Panel:
    return Panel(PYSTRAY, desk, Mood.IDLE, "a tooltip")


def test_an_icon_without_a_menu_is_better_than_none(
    panel: Panel, desk: Desk, icons: list[Icon]
) -> None:
    panel.run()
    assert icons[0].visible
    assert desk.states == [ICON_ONLY]


def test_updates_reach_the_icon(panel: Panel, icons: list[Icon]) -> None:
    (icon,) = icons
    panel.update(Mood.IDLE, "another tooltip")
    until_sync(lambda: icon.title == "another tooltip")
    assert len(icon.drawings) == 1  # drawing it anew makes panels flicker
    panel.update(Mood.PROBLEM, "x")
    until_sync(lambda: len(icon.drawings) == 2)
    panel.notify("title", "body")
    until_sync(lambda: icon.notices == [("title", "body")])
    panel.stop()
    until_sync(lambda: icon.stopped)
    assert icon.menu_updates == 0  # the menu is made when it opens


def test_entries_become_items(panel: Panel, desk: Desk, icons: list[Icon]) -> None:
    desk.shown = (
        Entry("Open", Action("open"), default=True),
        SEPARATOR,
        Entry("Models", entries=(Entry("only told"), Entry("Start", Action("start", "m")))),
        Entry("Switch", Action("autostart"), checked=True),
        Entry("R&D", Action("stop", "R&D")),
    )
    opening, line, models, switch, odd = icons[0].items()
    assert opening.more["default"]
    assert line == Menu.SEPARATOR
    told, start = models.action
    assert (told.more["enabled"], start.more["enabled"]) == (False, True)
    assert told.action is None
    assert switch.more["checked"](switch) is True
    assert opening.more["checked"] is None
    assert odd.text == ("R&&D" if sys.platform == "win32" else "R&D")
    for item in (start, odd, opening):
        item.action()
    assert desk.acts == [Action("start", "m"), Action("stop", "R&D"), Action("open")]


def test_a_desktop_that_copies_the_menu_is_told_of_changes_only(
    panel: Panel, desk: Desk, icons: list[Icon]
) -> None:
    panel._copied = True
    icons[0].items()
    panel._update(Mood.IDLE, "")
    assert icons[0].menu_updates == 0
    desk.shown = (*desk.shown, SEPARATOR)
    panel._update(Mood.IDLE, "")
    assert icons[0].menu_updates == 1
    assert not any(desk.asked)  # nothing that moves by itself


# ---- importing it ------------------------------------------------------------------------------

PACKAGE = """
import os
backend = os.environ.get("PYSTRAY_BACKEND")
if backend not in {works}:
    raise {error}(f"{{backend}} fails")
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package `pystray` of the test's own."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "pystray"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("core.tray_gtk.find_gi", lambda: None)
    monkeypatch.delenv("PYSTRAY_BACKEND", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path / "pystray.py"
    sys.modules.pop("pystray", None)


@pytest.mark.parametrize("error", ["ImportError", "ValueError", "RuntimeError"])
@pytest.mark.parametrize("works", ["appindicator", "gtk", "xorg"])
def test_the_first_backend_that_works_is_taken(package: Path, works: str, error: str) -> None:
    package.write_text(PACKAGE.format(works={works}, error=error))
    assert import_pystray(os.environ).backend == works
    assert "PYSTRAY_BACKEND" not in os.environ


def test_none_that_works_tells_why_of_each(package: Path) -> None:
    package.write_text(PACKAGE.format(works=set(), error="ValueError"))
    with pytest.raises(ImportError) as caught:
        import_pystray(os.environ)
    assert str(caught.value) == "; ".join(
        f"{name}: {name} fails" for name in ("appindicator", "gtk", "xorg")
    )
    assert "pystray" not in sys.modules


def test_a_backend_that_a_person_named_is_the_only_one(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package.write_text(PACKAGE.format(works={"xorg"}, error="ValueError"))
    monkeypatch.setenv("PYSTRAY_BACKEND", "dummy")
    with pytest.raises(ValueError, match="dummy fails"):
        import_pystray(os.environ)
