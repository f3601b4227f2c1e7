"""The icon on GTK desktops: finding GTK, fresh menus, a real tooltip, and outliving the screen."""

from __future__ import annotations

import ctypes
import importlib
import importlib.machinery
import importlib.util
import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

SYSTEM_PACKAGES = (
    "/usr/lib/python3/dist-packages",
    "/usr/lib64/python{0}.{1}/site-packages",
    "/usr/lib/python{0}.{1}/site-packages",
)
NO_PANEL = "off (no panel of this desktop shows tray icons)"
EMBED_SECONDS = 3
"""A panel that is there takes an icon in much less."""


def find_gi() -> None:
    """Make the system's `gi` importable from a virtual environment, if both are one Python.

    PyPI has no wheels of it, the desktop has it anyway; only this package is taken from there.
    """
    if importlib.util.find_spec("gi") is not None:
        return
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    for pattern in SYSTEM_PACKAGES:
        folder = Path(pattern.format(*sys.version_info)) / "gi"
        if not (folder / f"_gi{suffix}").is_file():
            continue
        spec = importlib.util.spec_from_file_location(
            "gi", folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        if spec is None or spec.loader is None:
            continue
        module = importlib.util.module_from_spec(spec)
        sys.modules["gi"] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules["gi"]
            raise
        return


def icon_class(base: Any, report: Callable[[str], None]) -> Any:
    """`base`, with `post` and `appear`, and what pystray's GTK backends lack."""
    GLib = importlib.import_module("gi.repository.GLib")

    class Icon(base):  # type: ignore[misc]
        def __init__(self, *args: Any, **more: Any) -> None:
            self._outlive = _outlive_the_screen(report)
            super().__init__(*args, **more)

        def post(self, function: Callable[[], None]) -> None:
            GLib.idle_add(_once, function)

        def appear(self) -> None:
            self.post(self._appear)

        def _appear(self) -> None:
            self.visible = True
            self._update_title()
            status_icon = getattr(self, "_status_icon", None)
            if status_icon is None:  # an indicator: its library finds a panel by itself
                report("on")
                return
            status_icon.connect("notify::embedded", lambda *_: self._embedded())
            if status_icon.is_embedded():
                self._embedded()
            else:
                GLib.timeout_add_seconds(EMBED_SECONDS, _once, self._embedded)

        def _embedded(self) -> None:
            report("on" if self._status_icon.is_embedded() else NO_PANEL)

        def _initialize(self) -> None:
            try:
                super()._initialize()
            except GLib.Error as error:
                log.info("no notifications: %s", error.message)
                self._notifier = _NoNotifier()
                self._mark_ready()

        def _update_title(self) -> None:
            status_icon = getattr(self, "_status_icon", None)
            if status_icon is None:
                super()._update_title()
                return
            # The title is only read aloud; what is shown is the tooltip.
            self.post(lambda: status_icon.set_title(self.name))
            self.post(lambda: status_icon.set_tooltip_text(self.title))

        def _on_status_icon_popup_menu(self, *args: Any) -> None:
            self._menu_handle = self._create_menu(self.menu)
            super()._on_status_icon_popup_menu(*args)

    return Icon


def _once(function: Callable[[], None]) -> bool:
    """For GLib: run it, and do not run it again."""
    try:
        function()
    except Exception:  # what the desktop does to its icon is no reason to end
        log.debug("the tray icon could not be changed", exc_info=True)
    return False


class _NoNotifier:
    """Where no message bus is, nothing is told."""

    def notify(self, title: str, message: str, icon: str) -> None:
        pass

    def hide(self) -> None:
        pass


def _outlive_the_screen(report: Callable[[str], None]) -> Any:
    """Park this thread for ever when the X server goes away; by default Xlib ends the process.

    Returns what must be kept as long as the handler may be called.
    """

    def park(_display: int | None) -> int:
        report("off (the desktop session ended)")
        _leave_libraries_alone_at_exit()
        threading.Event().wait()
        return 0

    handler = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(park)
    try:
        ctypes.CDLL("libX11.so.6").XSetIOErrorHandler(handler)
    except (OSError, AttributeError):
        pass  # Wayland without X
    return handler


def _leave_libraries_alone_at_exit() -> None:
    """This thread holds Xlib's lock for ever, and the GL library wants it in its last words."""
    libc = ctypes.CDLL(None)
    try:
        libc.on_exit(ctypes.cast(libc._exit, ctypes.c_void_p), None)
    except AttributeError:
        return  # not the GNU one
