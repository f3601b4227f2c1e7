"""The icon on the panel: the one part that knows pystray and its ways on each system.

Imported in the tray's thread only: importing pystray connects to the screen, and may fail with
anything.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from core.tray_icon import draw
from core.tray_menu import SEPARATOR, Action, Entry, Mood

NAME = "LLM-Manager"
ICON_ONLY = "on (icon only: a menu needs Debian's python3-gi and gir1.2-ayatanaappindicator3-0.1)"


class Desk(Protocol):
    """Whoever shows the icon; called in the tray's thread."""

    def entries(self, *, moving: bool) -> Sequence[Entry]:
        """The menu of this moment; not `moving`: without what changes by itself."""

    def act(self, action: Action) -> None: ...
    def report(self, state: str) -> None:
        """`on`, or `off (reason)`."""


def open_panel(desk: Desk, mood: Mood, tooltip: str) -> Panel:
    """The icon for this desktop, not yet shown. Raises whatever pystray and its backends raise."""
    return Panel(import_pystray(os.environ), desk, mood, tooltip)


def import_pystray(env: dict[str, str] | os._Environ[str]) -> Any:
    """pystray with the best backend that works here.

    Its own choice gives up at the first one that fails with anything but an ImportError, so each
    is tried by name; `PYSTRAY_BACKEND` in the environment leaves no choice.
    """
    if sys.platform != "win32":
        from core.tray_gtk import find_gi

        find_gi()
    if sys.platform == "win32" or env.get("PYSTRAY_BACKEND"):
        return importlib.import_module("pystray")
    reasons = []
    for backend in ("appindicator", "gtk", "xorg"):
        env["PYSTRAY_BACKEND"] = backend
        try:
            return importlib.import_module("pystray")
        except Exception as error:  # a display that is not there is no ImportError
            reasons.append(f"{backend}: {error}")
            for name in [name for name in sys.modules if name.partition(".")[0] == "pystray"]:
                del sys.modules[name]
        finally:
            del env["PYSTRAY_BACKEND"]
    raise ImportError("; ".join(reasons))


def icon_class(pystray: Any, report: Callable[[str], None], end: Callable[[], None]) -> Any:
    """pystray's Icon with two more methods, `post` and `appear`, in the way of its backend."""
    backend = backend_of(pystray)
    if backend in ("gtk", "appindicator"):
        from core import tray_gtk

        return tray_gtk.icon_class(pystray.Icon, report)
    if backend == "win32":
        from core import tray_windows

        return tray_windows.icon_class(pystray.Icon, report, end)
    return _plain_icon_class(pystray.Icon, report)


def backend_of(pystray: Any) -> str:
    return str(pystray.Icon.__module__.rpartition("._")[2])


def _plain_icon_class(base: Any, report: Callable[[str], None]) -> Any:
    """For Xlib's icon, which knows neither clicks nor menus but hands over by itself, and waits."""

    class Icon(base):  # type: ignore[misc]
        def appear(self) -> None:
            self.visible = True
            report(ICON_ONLY)

        def post(self, function: Callable[[], None]) -> None:
            threading.Thread(target=function, name="tray post", daemon=True).start()

    return Icon


class Panel:
    """pystray's icon. Only `run` blocks; the others may be called from any thread.

    What they do is done in the thread of `run`, because pystray is not thread-safe.
    """

    def __init__(self, pystray: Any, desk: Desk, mood: Mood, tooltip: str) -> None:
        self._pystray = pystray
        self._desk = desk
        self._mood = mood
        self._copied = backend_of(pystray) == "appindicator"
        """The desktop keeps a copy of the menu, and has to be told of every change."""
        self._shown: Sequence[Entry] = ()
        self._draw = functools.cache(draw)
        end = functools.partial(desk.act, Action("quit"))
        self._icon: Any = icon_class(pystray, desk.report, end)(
            NAME, self._draw(mood), tooltip, pystray.Menu(self._items)
        )

    def run(self) -> None:
        """Show the icon and serve it until `stop`."""
        self._icon.run(lambda icon: icon.appear())

    def stop(self) -> None:
        self._icon.post(self._icon.stop)

    def update(self, mood: Mood, tooltip: str) -> None:
        """Show the mood; whatever opens the menu next finds it as it is then."""
        self._icon.post(lambda: self._update(mood, tooltip))

    def notify(self, title: str, body: str) -> None:
        if self._icon.HAS_NOTIFICATION:
            self._icon.post(lambda: self._icon.notify(body, title))

    def _update(self, mood: Mood, tooltip: str) -> None:
        if mood is not self._mood:
            self._mood = mood
            self._icon.icon = self._draw(mood)
        self._icon.title = tooltip
        if self._copied and self._desk.entries(moving=False) != self._shown:
            self._icon.update_menu()

    # ---- the menu ------------------------------------------------------------------------------

    def _items(self) -> Iterator[Any]:
        self._shown = self._desk.entries(moving=not self._copied)
        return (self._item(entry) for entry in self._shown)

    def _item(self, entry: Entry) -> Any:
        pystray = self._pystray
        if entry == SEPARATOR:
            return pystray.Menu.SEPARATOR
        label = entry.label.replace("&", "&&") if sys.platform == "win32" else entry.label
        if entry.entries:
            return pystray.MenuItem(label, pystray.Menu(*map(self._item, entry.entries)))
        action, checked = entry.action, entry.checked
        return pystray.MenuItem(
            label,
            None if action is None else lambda: self._desk.act(action),
            checked=None if checked is None else lambda _: checked,
            default=entry.default,
            enabled=action is not None,
        )
