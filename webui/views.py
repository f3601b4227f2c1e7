"""From the status of the program to what the pages show. Pure.

A view is equal to an earlier one exactly when its HTML would be the same: times are moments on the
program's clock, never ages, and the browser counts the seconds.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from core.domain import DeviceReading, ModelStatus
from core.states import COMING, State

ICONS = {"chat": "💬", "base": "📝", "embedding": "🔍", "reranker": "🔄"}
DEFAULT_ICON = "🧩"
TAIL = 12
"""Lines of a failed model's log that are shown beside the reason."""

HOLDING = frozenset(
    {State.STARTING, State.READY, State.DRAINING, State.WAKING, State.SLEEPING, State.STOPPING}
)
"""States in which a model has memory or will have it in a moment."""


def key_of(name: str) -> str:
    """A name as part of an element's id: any text becomes letters and digits."""
    return hashlib.blake2s(name.encode(), digest_size=6).hexdigest()


@dataclass(frozen=True, slots=True)
class FailureView:
    reason: str
    exit_code: int | None
    tail: tuple[str, ...]
    retry_at: float
    """On the program's clock; 0 = at once."""


@dataclass(frozen=True, slots=True)
class ModelView:
    """One row of the list, and the head of the model's panel."""

    id: str
    name: str
    path: str
    """The name as part of a URL."""
    aliases: tuple[str, ...]
    """All but the primary name."""
    mode: str
    icon: str
    word: str
    """Key of the text for its state."""
    tone: str
    """off, idle, busy, load, leave, park or bad: colour and shape."""
    group: str
    """off, loaded, busy or problem: for the filter; loaded ones that work are busy."""
    since: float | None
    stage: str
    last_line: str
    usual_load: float | None
    variant: str | None
    memory: tuple[tuple[str, int], ...]
    port: int | None
    pid: int | None
    pending: int
    waiting: int
    unload_at: float | None
    """When it is unloaded if nobody asks for it; None = not counting down."""
    stays: bool
    """It is ready, idle, and nothing will unload it but need."""
    failure: FailureView | None
    unable: str | None
    pinned: bool
    action: str
    """start, stop, abort, kill or nothing: what the button does."""
    starts: int
    order: int


def model_view(status: ModelStatus, order: int, now: float) -> ModelView:
    """The view of one model; `now` is the moment of the status."""
    word, tone, group = _mood(status)
    state = status.state
    queued = waits_for_room(status)
    loading = state in COMING and not queued
    idle = state is State.READY and not status.pending
    unload_at = None
    if idle and status.idle_limit is not None:
        unload_at = round(now - status.idle_seconds + status.idle_limit, 1)
    return ModelView(
        id=key_of(status.name),
        name=status.name,
        path=quote(status.name, safe=""),
        aliases=tuple(a for a in status.aliases if a != status.name),
        mode=status.mode,
        icon=ICONS.get(status.mode.lower(), DEFAULT_ICON),
        word=word,
        tone=tone,
        group=group,
        since=None if queued or state is State.STOPPED else round(now - status.state_seconds, 1),
        stage=status.stage if loading or queued else "",
        last_line=status.last_line if loading else "",
        usual_load=status.usual_load_seconds if loading else None,
        variant=status.variant,
        memory=tuple(status.memory_mb.items()),
        port=status.port,
        pid=status.pid,
        pending=status.pending,
        waiting=status.waiting,
        unload_at=unload_at,
        stays=idle and status.idle_limit is None,
        failure=_failure(status, now),
        unable=status.startable,
        pinned=status.pinned,
        action=_action(status),
        starts=status.starts,
        order=order,
    )


def waits_for_room(status: ModelStatus) -> bool:
    """It is wanted, and nothing of it runs yet."""
    return status.variant is None and status.waiting > 0


def _mood(status: ModelStatus) -> tuple[str, str, str]:
    """Word, tone and filter group."""
    if waits_for_room(status):
        return "st_waiting", "load", "busy"
    match status.state:
        case State.READY if status.pending:
            return "st_serving", "busy", "busy"
        case State.READY:
            return "st_ready", "idle", "loaded"
        case State.STARTING | State.WAKING:
            return f"st_{status.state.value}", "load", "busy"
        case State.DRAINING | State.STOPPING:
            return f"st_{status.state.value}", "leave", "busy"
        case State.SLEEPING:
            return "st_sleeping", "park", "loaded"
    if status.state is State.FAILED:
        return "st_failed", "bad", "problem"
    if status.startable is not None:
        return "st_unable", "bad", "problem"
    return "st_stopped", "off", "off"


def _action(status: ModelStatus) -> str:
    if waits_for_room(status):
        return "abort"
    match status.state:
        case State.STARTING | State.WAKING:
            return "abort"
        case State.READY | State.SLEEPING:
            return "stop"
        case State.DRAINING | State.STOPPING:
            return "kill"
    return "" if status.startable is not None else "start"


def _failure(status: ModelStatus, now: float) -> FailureView | None:
    """Shown until it serves again."""
    failure = status.failure
    if failure is None or status.state in (State.READY, State.SLEEPING):
        return None
    return FailureView(
        failure.reason,
        failure.exit_code,
        failure.log_tail[-TAIL:],
        round(failure.retry_at, 1) if failure.retry_at > now else 0.0,
    )


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a device's memory bar; `x` and `width` are percent of the whole."""

    kind: str
    """ours, load, others or free."""
    name: str
    mb: int
    x: float
    width: float
    shade: int
    """0 to 3, so that neighbours differ."""


@dataclass(frozen=True, slots=True)
class DeviceView:
    id: str
    name: str
    online: bool
    error: str
    total_mb: int
    free_mb: int
    used_mb: int
    others_mb: int
    parts: tuple[Part, ...]
    metrics: tuple[tuple[str, str], ...]
    """(key of the text, value with its unit)."""


def device_view(
    reading: DeviceReading, statuses: Iterable[ModelStatus], others_before: int | None = None
) -> DeviceView:
    """How a device's memory is shared out between our models, others, and nobody.

    While a model loads, the reading does not tell its growth from other programs' use: as long as
    it is possible, those keep what they had before (`others_before`).
    """
    if not reading.online:
        return DeviceView(
            key_of(reading.name), reading.name, False, reading.error or "", 0, 0, 0, 0, (), ()
        )
    here = [
        (s.name, s.memory_mb[reading.name], s.state in COMING)
        for s in statuses
        if s.memory_mb.get(reading.name)
    ]
    held = sum(mb for _, mb, loading in here if not loading)
    reserved = sum(mb for _, mb, _ in here)
    others = max(0, reading.used_mb - held)
    if reserved > held:
        least = max(0, reading.used_mb - reserved)
        others = max(least, min(others, least if others_before is None else others_before))
    free = max(0, min(reading.available_mb, reading.total_mb - reserved - others))
    return DeviceView(
        id=key_of(reading.name),
        name=reading.name,
        online=True,
        error="",
        total_mb=reading.total_mb,
        free_mb=free,
        used_mb=reading.used_mb,
        others_mb=others,
        parts=tuple(_parts(here, others, free, max(1, reading.total_mb))),
        metrics=tuple(_metrics(reading.metrics)),
    )


def _parts(here: list[tuple[str, int, bool]], others: int, free: int, total: int) -> Iterable[Part]:
    x = 0.0
    pieces = [("load" if loading else "ours", name, mb) for name, mb, loading in here]
    pieces.append(("others", "", others))
    for number, (kind, name, mb) in enumerate(pieces):
        width = min(100.0 - x, 100.0 * mb / total)
        if mb > 0:
            yield Part(kind, name, mb, round(x, 2), round(max(0.0, width), 2), number % 4)
        x += max(0.0, width)
    yield Part("free", "", free, round(x, 2), round(max(0.0, 100.0 - x), 2), 0)


def _metrics(metrics: Mapping[str, float]) -> Iterable[tuple[str, str]]:
    for key, text, unit in (
        ("use_percent", "use", " %"),
        ("temperature_c", "temperature", " °C"),
        ("power_w", "power", " W"),
    ):
        if key in metrics:
            yield text, f"{metrics[key]:.0f}{unit}"


def reserved_by_device(statuses: Iterable[ModelStatus]) -> dict[str, int]:
    """Megabytes that our models hold, per device."""
    held: dict[str, int] = {}
    for status in statuses:
        for device, mb in status.memory_mb.items():
            held[device] = held.get(device, 0) + mb
    return held


@dataclass(frozen=True, slots=True)
class SummaryView:
    """One line that answers: what is loaded, what is it doing."""

    loaded: int
    models: int
    serving: int
    requests: int
    in_line: int
    problems: int
    base_url: str
    """What an OpenAI client is given."""


def summary_view(models: Iterable[ModelView], requests: int, address: str) -> SummaryView:
    rows = list(models)
    tones = Counter(view.tone for view in rows)
    return SummaryView(
        loaded=tones["idle"] + tones["busy"] + tones["park"],
        models=len(rows),
        serving=tones["busy"],
        requests=requests,
        in_line=sum(view.waiting for view in rows),
        problems=sum(1 for view in rows if view.group == "problem"),
        base_url=f"{address}/v1",
    )


@dataclass(frozen=True, slots=True)
class FlightView:
    """A request under way."""

    number: int
    model: str
    path: str
    """The model's name as part of a URL."""
    endpoint: str
    client: str
    since: float
    first_seconds: float | None
    chunks: int


def memory_words(megabytes: int) -> str:
    """ "512 MB", "8.0 GB", "23.4 GB": three digits are enough to decide by."""
    if megabytes < 1000:
        return f"{megabytes} MB"
    return f"{megabytes / 1024:.1f} GB"


def kinds_of(mode: str, endpoints: Mapping[str, Iterable[str]]) -> tuple[tuple[str, str], ...]:
    """The calls that a model of this interface can be tried with: (kind of form, path)."""
    known = {
        "/v1/chat/completions": "chat",
        "/v1/completions": "completion",
        "/v1/embeddings": "embedding",
        "/v1/rerank": "rerank",
    }
    served = [path for path, names in endpoints.items() if mode.lower() in names]
    order = [path for path in known if path in served]
    order += sorted(path for path in served if path not in known)
    return tuple((known.get(path, "raw"), path) for path in order)
