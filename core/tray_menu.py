"""From the status of the program to what the tray shows: mood, tooltip, menu. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from core.domain import ModelStatus
from core.states import COMING, LEAVING, State
from core.tray_texts import Texts, clip

TOOLTIP = 127
"""Windows keeps 128 places, the last one for the end of the string."""
NAMES = 56
"""How much of the tooltip one list of names may take."""
MOST_STOPPED = 40
"""Stopped models in the menu; whoever has more finds them in the dashboard."""
LABEL = 90

Verb = Literal[
    "open", "start", "stop", "restart_autostart", "stop_all",
    "logs", "notifications", "autostart", "quit",
]  # fmt: skip


class Mood(StrEnum):
    """What the icon tells at a glance; the first that applies, from the last to the first."""

    IDLE = "idle"
    SERVING = "serving"
    LOADING = "loading"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class View:
    """The program as the tray shows it; taken in the loop, read in the tray's thread."""

    models: tuple[ModelStatus, ...] = ()
    devices: tuple[str, ...] = ()
    """Names of those online."""
    problems: bool = False
    """The config file is broken; an earlier one is in force."""
    auto_start: bool = False
    """At least one model has `auto_start`."""
    taken_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Action:
    """What a click asks for."""

    verb: Verb
    model: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a menu; without action and entries it only tells something."""

    label: str = ""
    action: Action | None = None
    entries: tuple[Entry, ...] = ()
    checked: bool | None = None
    """None: it is no switch."""
    default: bool = False
    """What a click on the icon does."""


SEPARATOR = Entry()


def mood(view: View) -> Mood:
    """Problem before loading before serving: the one that wants attention most."""
    states = {_state(status) for status in view.models}
    if view.problems or "failed" in states:
        return Mood.PROBLEM
    if states & {"starting", "waking", "waiting"}:
        return Mood.LOADING
    return Mood.SERVING if states & {"ready", "draining"} else Mood.IDLE


def tooltip(view: View, texts: Texts) -> str:
    """Devices online and models loaded, within what every system shows."""
    lines = ["LLM-Manager"]
    if view.problems:
        lines[0] += f": {texts('bad_config')}"
    if view.devices:
        lines.append(texts("devices", names=_names(view.devices, NAMES)))
    else:
        lines.append(texts("no_devices"))
    for key, states in (
        ("loading", {"starting", "waking", "waiting"}),
        ("loaded", {"ready", "draining"}),
        ("failing", {"failed"}),
    ):
        if names := [status.name for status in view.models if _state(status) in states]:
            lines.append(texts(key, names=_names(names, NAMES)))
    if not any(status.memory_mb for status in view.models) and len(lines) == 2:
        lines.append(texts("nothing_loaded"))
    return clip("\n".join(lines), TOOLTIP)


def _names(names: Sequence[str], room: int) -> str:
    """As many as fit, and how many are left."""
    text = names[0]
    for position, name in enumerate(names[1:], 1):
        if len(text) + len(name) + 6 > room:
            return f"{clip(text, room)} +{len(names) - position}"
        text += f", {name}"
    return clip(text, room)


def menu(
    view: View, texts: Texts, *, notifications: bool, autostart: bool | None, now: float | None
) -> tuple[Entry, ...]:
    """The whole menu. `autostart` None: this system has no such switch.

    `now` None: leave out what changes by itself, for desktops that keep a copy of the menu.
    """
    switches = [Entry(texts("notifications"), Action("notifications"), checked=notifications)]
    if autostart is not None:
        switches.append(Entry(texts("autostart"), Action("autostart"), checked=autostart))
    running = any(_state(status) not in ("stopped", "failed") for status in view.models)
    return (
        Entry(texts("open"), Action("open"), default=True),
        SEPARATOR,
        _models(view, texts, now),
        Entry(texts("restart_autostart"), Action("restart_autostart") if view.auto_start else None),
        Entry(texts("stop_all"), Action("stop_all") if running else None),
        SEPARATOR,
        Entry(texts("logs"), Action("logs")),
        *switches,
        SEPARATOR,
        Entry(texts("quit"), Action("quit")),
    )


def _models(view: View, texts: Texts, now: float | None) -> Entry:
    if not view.models:
        return Entry(texts("no_models"))
    stopped = [status for status in view.models if _state(status) == "stopped"]
    active = [status for status in view.models if _state(status) != "stopped"]
    age = None if now is None else max(0.0, now - view.taken_at)
    entries = [_model(status, texts, age) for status in (*active, *stopped[:MOST_STOPPED])]
    if left := len(stopped) - MOST_STOPPED:
        if left > 0:
            entries.append(Entry(texts("more", count=left), Action("open")))
    loaded = sum(_state(status) in ("ready", "draining", "sleeping") for status in active)
    label = texts("models", loaded=loaded, all=len(view.models))
    return Entry(label, entries=tuple(entries))


def _model(status: ModelStatus, texts: Texts, age: float | None) -> Entry:
    """`name · starting 12 s · 300 MB`, and what can be done with it."""
    words = texts(_state(status))
    if age is not None and status.state in COMING | LEAVING:
        words += " " + texts("seconds", count=int(status.state_seconds + age))
    parts = [status.name, words]
    if status.memory_mb:
        parts.append(f"{sum(status.memory_mb.values())} MB")
    if age is not None and status.pending + status.waiting:
        parts.append(texts("requests", count=status.pending + status.waiting))
    details = (Entry(clip(line, LABEL)) for line in _details(status, age is not None))
    return Entry(" · ".join(parts), entries=(*details, _step(status, texts)))


def _details(status: ModelStatus, moving: bool) -> Iterator[str]:
    """Why it is as it is, where that is not plain."""
    if status.variant:
        where = ", ".join(f"{device} {mb} MB" for device, mb in status.memory_mb.items())
        yield f"{status.variant}: {where}" if where else status.variant
    if moving and (_state(status) == "waiting" or status.state in COMING) and status.stage:
        yield status.stage
    if status.state is State.FAILED and status.failure:
        yield status.failure.reason
    if status.state in (State.STOPPED, State.FAILED) and status.startable:
        yield status.startable


def _step(status: ModelStatus, texts: Texts) -> Entry:
    """The one sensible next step of a model in its state."""
    state = _state(status)
    if state in ("stopped", "failed"):
        start = None if status.startable else Action("start", status.name)
        return Entry(texts("start"), start)
    if state == "sleeping":
        return Entry(texts("wake"), Action("start", status.name))
    if state in ("starting", "waking", "waiting"):
        return Entry(texts("abort"), Action("stop", status.name))
    key = "stop_now" if status.state in LEAVING else "stop"
    return Entry(texts(key), Action("stop", status.name))


def _state(status: ModelStatus) -> str:
    """The state, or `waiting`: not started yet, but somebody stands in line for it."""
    if status.waiting and status.state in (State.STOPPED, State.FAILED):
        return "waiting"
    return status.state.value
