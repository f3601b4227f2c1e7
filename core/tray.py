"""The tray icon: shows the state of the program, and steers it, from a thread of its own.

The loop's thread takes a `View` of the program now and then; the icon's thread only reads the last
one, and hands every click over. Without a desktop the program goes on without an icon.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from core.autostart import Autostart
from core.bridge import Bridge, in_thread
from core.desktop import open_folder, open_page
from core.domain import DeviceReading
from core.events import Bus, Event, RequestFinished
from core.model_controller import ModelController
from core.tray_menu import Action, Entry, Mood, View, menu, mood, tooltip
from core.tray_notices import Choice, Notices
from core.tray_texts import BODY, Texts, clip, system_language

log = logging.getLogger(__name__)

PACE = 0.5
"""Seconds between two updates of the icon: the desktop draws each one."""
LAST_WORDS = 1.0
"""Seconds that the icon gets to go away."""
CHOICES = "tray.json"


class Panel(Protocol):
    """An icon; only `run` blocks, the others may be called from any thread."""

    def run(self) -> None: ...
    def stop(self) -> None: ...
    def update(self, mood: Mood, tooltip: str) -> None: ...
    def notify(self, title: str, body: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Sources:
    """What the tray shows and steers."""

    controller: ModelController
    bus: Bus
    readings: Callable[[], Mapping[str, DeviceReading] | None]
    problems: Callable[[], Sequence[object]]
    """Of the config file."""
    address: str
    logs: Path
    quit: Callable[[], None]
    autostart: Autostart | None


class Tray:
    """`run` is its task in the loop; `entries`, `act` and `report` belong to the icon's thread."""

    def __init__(
        self,
        bridge: Bridge,
        sources: Sources,
        *,
        env: Mapping[str, str] = os.environ,
        open_panel: Callable[[Tray, Mood, str], Panel] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.state = "starting"
        """`on`, or `off (reason)`: for the dashboard."""
        self._bridge = bridge
        self._s = sources
        self._env = env
        self._texts = Texts(system_language(env))
        self._open_panel = open_panel or _open_panel
        self._clock = clock
        self._choice = Choice(sources.logs / CHOICES)
        self._notices = Notices(self._texts, clock)
        self._view = View()
        self._panel: Panel | None = None
        self._thread = threading.Thread(target=self._serve, name="tray", daemon=True)
        self._tasks: asyncio.TaskGroup | None = None
        self._updated_at = -PACE
        self._due: asyncio.TimerHandle | None = None
        self._ending = False

    # ---- in the loop's thread ------------------------------------------------------------------

    async def run(self) -> None:
        """Show the icon, if there is a desktop, and keep it true until the bus is closed."""
        if reason := no_desktop(sys.platform, self._env):
            self._set_state(f"off ({reason})")
            return
        self._view = self._look()
        async with asyncio.TaskGroup() as self._tasks:
            with self._s.bus.subscribe() as events:
                self._thread.start()
                async for event in events:
                    self._take(event)
            self._tasks = None

    async def stop(self) -> None:
        """Take the icon away; a desktop that does not answer is not waited for."""
        self._ending = True
        if self._due is not None:
            self._due.cancel()
        if self._panel is not None:
            self._panel.stop()
            await in_thread(self._thread.join, LAST_WORDS, name="tray end")

    def _take(self, event: Event) -> None:
        notice = self._notices.of(event)
        if notice is not None:
            self._tell(notice.title, notice.body)
        if not isinstance(event, RequestFinished):
            self._refresh_soon()

    def _refresh_soon(self) -> None:
        if self._due is None:
            loop = asyncio.get_running_loop()
            self._due = loop.call_at(max(loop.time(), self._updated_at + PACE), self._refresh)

    def _refresh(self) -> None:
        self._due = None
        self._updated_at = asyncio.get_running_loop().time()
        self._view = self._look()
        if self._panel is not None:
            self._panel.update(mood(self._view), tooltip(self._view, self._texts))

    def _look(self) -> View:
        readings = self._s.readings() or {}
        controller = self._s.controller
        return View(
            models=tuple(controller.status()),
            devices=tuple(reading.name for reading in readings.values() if reading.online),
            problems=bool(self._s.problems()),
            auto_start=any(model.auto_start for model in controller.config.models.values()),
            taken_at=self._clock(),
        )

    def _tell(self, title: str, body: str) -> None:
        if self._choice.notifications and self._panel is not None:
            self._panel.notify(title, body)

    def _set_state(self, state: str) -> None:
        if state == self.state or self._ending:
            return
        self.state = state
        log.info("tray: %s", state)
        if not state.startswith("off") and self._panel is not None:
            self._refresh_soon()

    def _do(self, action: Action) -> None:
        """What a click asked for."""
        controller = self._s.controller
        model = controller.config.models.get(action.model)
        log.info("tray: %s %s", action.verb.replace("_", " "), action.model)
        match action.verb:
            case "open":
                open_page(self._s.address + "/")
            case "logs":
                open_folder(self._s.logs)
            case "start" if model is not None:
                controller.start_soon(model)
            case "stop" if model is not None:
                controller.stop(model)
            case "restart_autostart":
                for each in [m for m in controller.config.models.values() if m.auto_start]:
                    controller.restart(each, "restart of the auto-start models")
            case "stop_all":
                for each in list(controller.config.models.values()):
                    controller.stop(each)
            case "notifications":
                self._choice.switch()
            case "autostart" if self._tasks is not None:
                self._tasks.create_task(self._switch_autostart(), name="autostart")
            case "quit":
                self._s.quit()
        self._refresh_soon()

    async def _switch_autostart(self) -> None:
        switch = self._s.autostart
        if switch is None:
            return
        try:
            await in_thread(lambda: switch.switch(not switch.enabled()), name="autostart")
        except OSError as error:
            log.warning("start with the system could not be changed: %s", error)
            self._tell(self._texts("autostart_title"), clip(self._texts.sentence(str(error)), BODY))
        self._refresh_soon()

    # ---- in the icon's thread ------------------------------------------------------------------

    def _serve(self) -> None:
        reason = "it ended by itself"
        try:
            view = self._view
            self._panel = self._open_panel(self, mood(view), tooltip(view, self._texts))
            if not self._ending:
                self._panel.run()
        except Exception as error:  # a task root, and a desktop fails with anything
            reason = " ".join(str(error).split()) or type(error).__name__
            log.debug("the tray icon failed", exc_info=True)
        self._panel = None
        self.report(f"off ({clip(reason, 200)})")

    def entries(self, *, moving: bool) -> tuple[Entry, ...]:
        """The menu of this moment; not `moving`: without what changes by itself."""
        switch = self._s.autostart
        return menu(
            self._view,
            self._texts,
            notifications=self._choice.notifications,
            autostart=None if switch is None else switch.enabled(),
            now=self._clock() if moving else None,
        )

    def act(self, action: Action) -> None:
        """Hand a click over and return at once: the menu must not freeze."""
        self._bridge.call(self._do, action)

    def report(self, state: str) -> None:
        """Tell the program what became of the icon."""
        self._bridge.call(self._set_state, state)


def _open_panel(tray: Tray, mood: Mood, tooltip: str) -> Panel:
    """Imported here: reading Pillow and pystray takes its time, and may fail in any way."""
    from core.tray_backend import open_panel

    return open_panel(tray, mood, tooltip)


def no_desktop(platform: str, env: Mapping[str, str]) -> str | None:
    """Why there can be no icon here, where that is plain without trying."""
    if platform == "win32":
        return None
    if platform == "darwin":
        return "macOS shows icons only from the main thread, which serves requests here"
    if not env.get("DISPLAY") and not env.get("WAYLAND_DISPLAY"):
        return "no desktop: neither DISPLAY nor WAYLAND_DISPLAY is set"
    return None
