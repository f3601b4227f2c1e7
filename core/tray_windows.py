"""The icon on Windows: the menu is made at the moment of the click, in the window's own thread."""

from __future__ import annotations

import ctypes
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from core.signals import PATIENCE

log = logging.getLogger(__name__)

POST = 0x0400 + 77
"""A window message of our own (pystray's are WM_USER + 10 and 11): run what was posted."""
WM_RBUTTONUP = 0x0205
WM_QUERYENDSESSION, WM_ENDSESSION = 0x0011, 0x0016
TRIES, PAUSE = 30, 2.0
"""After a logon the taskbar may come later than we do."""


def icon_class(base: Any, report: Callable[[str], None], end: Callable[[], None]) -> Any:
    """`base`, with `post` and `appear`, and a menu that is never destroyed while it is open.

    It calls `end` when the user logs off, and once more if that does not help.
    """
    return _with_steady_menu(_on_the_taskbar(_with_messages(base, end), report))


def _with_messages(base: Any, end: Callable[[], None]) -> Any:
    """`base`, whose window hears what we post, and what the system says of its end."""
    from pystray._util import win32

    class Messages(base):  # type: ignore[misc]
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            self._posted: deque[Callable[[], None]] = deque()
            self._message_handlers[POST] = self._run_posted
            self._message_handlers[WM_QUERYENDSESSION] = lambda _w, _l: True
            self._message_handlers[WM_ENDSESSION] = self._end_session

        def post(self, function: Callable[[], None]) -> None:
            self._posted.append(function)
            if self._hwnd is not None:
                win32.PostMessage(self._hwnd, POST, 0, 0)

        def _run_posted(self, _w: int, _l: int) -> None:
            while self._posted:
                try:
                    self._posted.popleft()()
                except Exception:  # Explorer may be gone for a moment
                    log.debug("the tray icon could not be changed", exc_info=True)

        def _end_session(self, ending: int, _l: int) -> None:
            """The user logs off, or the computer shuts down: we are killed once this returns."""
            for _ in range(2 if ending else 0):
                end()
                threading.Event().wait(PATIENCE)

    return Messages


def _on_the_taskbar(base: Any, report: Callable[[str], None]) -> Any:
    """`base`, which asks the taskbar until it has the icon, and again when it comes back."""
    from pystray._util import win32

    class OnTheTaskbar(base):  # type: ignore[misc]
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            self._appearing = threading.Lock()

        def appear(self) -> None:
            """In a thread of its own: the message loop runs already."""
            with self._appearing:
                self._visible = False  # a taskbar that came back has no icon of ours
                for _ in range(TRIES):
                    try:
                        self.visible = True
                    except OSError as error:
                        reason = f"off (no taskbar: {error})"
                        report(reason)
                        threading.Event().wait(PAUSE)
                    else:
                        self.post(self._catch_up)
                        report("on")
                        break

        def _show(self) -> None:
            super()._show()
            # Nobody looks at what the taskbar answered to that; it changes only what it has.
            data = win32.NOTIFYICONDATAW(
                cbSize=ctypes.sizeof(win32.NOTIFYICONDATAW),
                hWnd=self._hwnd,
                uFlags=win32.NIF_MESSAGE,
                uCallbackMessage=win32.WM_NOTIFY,
            )
            if not win32.Shell_NotifyIcon(win32.NIM_MODIFY, data):
                raise OSError("it did not take the icon")

        def _catch_up(self) -> None:
            """Both may have changed while the taskbar was asked to take the icon."""
            self._update_icon()
            self._update_title()

        def _on_taskbarcreated(self, _w: int, _l: int) -> None:
            """Explorer has started, perhaps once more."""
            threading.Thread(target=self.appear, name="tray icon", daemon=True).start()

        def _on_display_change(self, wparam: int, lparam: int) -> None:
            """The icon is wanted in another size."""
            if self.visible:
                self._hide()
                self._on_taskbarcreated(wparam, lparam)

    return OnTheTaskbar


def _with_steady_menu(base: Any) -> Any:
    """`base`, whose menu is made when it opens and left alone while it is open."""

    class SteadyMenu(base):  # type: ignore[misc]
        _menu_open = False

        def _update_menu(self) -> None:
            if not self._menu_open:
                super()._update_menu()

        def _on_notify(self, wparam: int, lparam: int) -> None:
            if lparam != WM_RBUTTONUP or self._menu_open:
                super()._on_notify(wparam, lparam)
                return
            self._update_menu()
            self._menu_open = True
            try:
                super()._on_notify(wparam, lparam)
            finally:
                self._menu_open = False

    return SteadyMenu
