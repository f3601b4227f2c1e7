"""Which events are worth a notification, and whether the user wants any."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.events import ConfigChanged, Event, InstanceChanged
from core.states import COMING, State
from core.tray_texts import BODY, TITLE, Texts, clip

log = logging.getLogger(__name__)

LONG_LOAD = 20.0
"""Seconds of loading after which somebody has probably turned to something else."""
QUIET = 60.0
"""Seconds in which the same failure of the same model is not told again."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A notification: short enough for every system."""

    title: str
    body: str


class Notices:
    """Fed with every event in order, tells the few that a person wants to hear of."""

    def __init__(self, texts: Texts, clock: Callable[[], float]) -> None:
        self._texts = texts
        self._clock = clock
        self._coming: dict[str, float] = {}
        """Instances that load, and since when."""
        self._told: dict[tuple[str, str], float] = {}

    def of(self, event: Event) -> Notice | None:
        """The notification that this event deserves, if it does."""
        if isinstance(event, ConfigChanged) and event.problems:
            return self._notice(self._texts("config_title"), event.problems[0])
        if isinstance(event, InstanceChanged):
            return self._instance(event)
        return None

    def _instance(self, event: InstanceChanged) -> Notice | None:
        now = self._clock()
        if event.state in COMING:
            self._coming.setdefault(event.instance, now)
            return None
        began = self._coming.pop(event.instance, None)
        if event.state is State.READY and began is not None and now - began >= LONG_LOAD:
            title = self._texts("ready_title", model=event.model)
            return self._notice(title, self._texts("ready_body", seconds=round(now - began)))
        if event.state is State.FAILED and self._news(event.model, event.reason, now):
            return self._notice(self._texts("failed_title", model=event.model), event.reason)
        return None

    def _news(self, model: str, reason: str, now: float) -> bool:
        """Whether this was not told just now: a server that crashes in circles is told once."""
        self._told = {key: at for key, at in self._told.items() if now - at < QUIET}
        return self._told.setdefault((model, reason), now) == now

    def _notice(self, title: str, body: str) -> Notice:
        return Notice(clip(title, TITLE), clip(self._texts.sentence(body), BODY))


class Choice:
    """Whether notifications are wanted: a small file, because it is no matter of the config."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.notifications = self._read()

    def _read(self) -> bool:
        try:
            choice = json.loads(self._path.read_text(encoding="utf-8"))
            return bool(choice["notifications"])
        except (OSError, ValueError, LookupError, TypeError):
            return True

    def switch(self) -> None:
        """The other way from now on, and in the next run."""
        self.notifications = not self.notifications
        text = json.dumps({"notifications": self.notifications}) + "\n"
        try:
            self._path.write_text(text, encoding="utf-8")
        except OSError as error:
            log.warning("the tray's choice is not remembered: %s", error)
