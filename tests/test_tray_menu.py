"""What the tray shows for a status, as tables."""

from __future__ import annotations

import pytest

from core.domain import Failure, ModelStatus
from core.states import State
from core.tray_menu import MOST_STOPPED, SEPARATOR, Action, Entry, Mood, View, menu, mood, tooltip
from core.tray_texts import Texts
from tests.fakes.statuses import status

ENGLISH, CHINESE = Texts("en"), Texts("zh")


def look(*models: ModelStatus, **more: object) -> View:
    return View(models=models, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ((), Mood.IDLE),
        ((State.STOPPED, State.STOPPING, State.SLEEPING), Mood.IDLE),
        ((State.STOPPED, State.READY), Mood.SERVING),
        ((State.DRAINING,), Mood.SERVING),
        ((State.READY, State.STARTING), Mood.LOADING),
        ((State.WAKING,), Mood.LOADING),
        ((State.READY, State.STARTING, State.FAILED), Mood.PROBLEM),
    ],
)
def test_the_mood_is_what_wants_attention_most(states: tuple[State, ...], expected: Mood) -> None:
    assert mood(look(*(status(s.value, s) for s in states))) is expected


def test_a_broken_config_is_a_problem() -> None:
    assert mood(look(status(state=State.READY), problems=True)) is Mood.PROBLEM


@pytest.mark.parametrize("state", [State.STOPPED, State.FAILED])
def test_a_model_that_waits_for_room_is_loading(state: State) -> None:
    assert mood(look(status(state=state, waiting=1))) is Mood.LOADING


# ---- tooltip -----------------------------------------------------------------------------------


def test_the_tooltip_names_devices_and_loaded_models() -> None:
    view = look(
        status("a", State.READY, memory_mb={"cpu": 1}),
        status("b", State.STARTING),
        status("c", State.FAILED),
        status("d"),
        devices=("cpu", "v100"),
    )
    assert tooltip(view, ENGLISH).splitlines() == [
        "LLM-Manager",
        "Devices: cpu, v100",
        "Loading: b",
        "Loaded: a",
        "Failed: c",
    ]


def test_the_tooltip_of_nothing() -> None:
    assert tooltip(look(), ENGLISH) == "LLM-Manager\nno device online\nnothing loaded"
    assert tooltip(look(problems=True), CHINESE).startswith("LLM-Manager: 配置文件有错误")


@pytest.mark.parametrize("name", ["model-{}", "一个名字很长的模型{}", "🙂" * 20 + "{}"])
def test_a_tooltip_fits_every_system_whatever_the_names(name: str) -> None:
    models = [status(name.format(i), State.READY) for i in range(300)]
    failed = [status(name.format(i) + "x", State.FAILED) for i in range(300)]
    view = look(*models, *failed, devices=tuple(name.format(i) for i in range(40)))
    text = tooltip(view, ENGLISH)
    assert len(text.encode("utf-16-le")) // 2 <= 127
    assert "+3" in text  # thirty-some devices are left out, and counted
    assert name.format(0)[:8] in text


# ---- menu --------------------------------------------------------------------------------------


def shown(view: View, **more: object) -> tuple[Entry, ...]:
    settings = {"notifications": True, "autostart": False, "now": 0.0, **more}
    return menu(view, ENGLISH, **settings)  # type: ignore[arg-type]


def verbs(entries: tuple[Entry, ...]) -> list[str]:
    return [entry.action.verb for entry in entries if entry.action]


def models_of(view: View, **more: object) -> tuple[Entry, ...]:
    return shown(view, **more)[2].entries


def test_the_menu_of_a_running_program() -> None:
    view = look(status("a", State.READY), status("b"), auto_start=True)
    entries = shown(view)
    assert [entry.label for entry in entries if entry != SEPARATOR] == [
        "Open dashboard",
        "Models (1 of 2 loaded)",
        "Restart auto-start models",
        "Unload all models",
        "Open logs folder",
        "Notifications",
        "Start with the system",
        "Quit",
    ]
    assert [entry for entry in entries if entry.default] == [entries[0]]
    assert verbs(entries) == [
        "open", "restart_autostart", "stop_all", "logs", "notifications", "autostart", "quit",
    ]  # fmt: skip
    checks = {e.action.verb: e.checked for e in entries if e.action and e.checked is not None}
    assert checks == {"notifications": True, "autostart": False}


def test_what_would_do_nothing_cannot_be_chosen() -> None:
    assert verbs(shown(look(status("a"), status("b", State.FAILED)))) == [
        "open", "logs", "notifications", "autostart", "quit",
    ]  # fmt: skip
    assert "autostart" not in verbs(shown(look(), autostart=None))
    assert shown(look())[2] == Entry("No models configured")


@pytest.mark.parametrize(
    ("state", "more", "label", "step", "verb"),
    [
        (State.STOPPED, {}, "m · stopped", "Start", "start"),
        (State.STARTING, {"state_seconds": 11.9}, "m · starting 12 s", "Abort", "stop"),
        (State.READY, {"memory_mb": {"a": 3, "b": 4}}, "m · ready · 7 MB", "Unload", "stop"),
        (State.READY, {"pending": 2, "waiting": 1}, "m · ready · requests: 3", "Unload", "stop"),
        (State.DRAINING, {}, "m · finishing 1 s", "Unload without waiting", "stop"),
        (State.STOPPING, {}, "m · stopping 1 s", "Unload without waiting", "stop"),
        (State.SLEEPING, {}, "m · sleeping", "Wake up", "start"),
        (State.WAKING, {}, "m · waking 1 s", "Abort", "stop"),
        (State.FAILED, {}, "m · failed", "Start", "start"),
        (State.STOPPED, {"waiting": 1}, "m · waiting for room · requests: 1", "Abort", "stop"),
    ],
)
def test_a_model_and_its_next_step(
    state: State, more: dict[str, object], label: str, step: str, verb: str
) -> None:
    """The view is a second old when the menu opens."""
    (entry,) = models_of(look(status("m", state, **more), taken_at=10.0), now=11.0)
    assert entry.label == label
    last = entry.entries[-1]
    assert (last.label, last.action) == (step, Action(verb, "m"))  # type: ignore[arg-type]


def test_a_model_that_cannot_start_says_why_and_offers_no_start() -> None:
    (entry,) = models_of(look(status(startable="V: gpu1 is offline")))
    assert [(e.label, e.action) for e in entry.entries] == [
        ("V: gpu1 is offline", None),
        ("Start", None),
    ]


def test_details_tell_variant_stage_and_failure() -> None:
    loading = status("a", State.STARTING, variant="GPU", memory_mb={"v100": 9}, stage="check 3")
    failure = Failure(reason="the server ended by itself " + "x" * 200)
    failed = status("b", State.FAILED, failure=failure)
    first, second = models_of(look(loading, failed))
    assert [e.label for e in first.entries] == ["GPU: v100 9 MB", "check 3", "Abort"]
    assert second.entries[0].label.startswith("the server ended by itself xxx")
    assert len(second.entries[0].label) == 90


def test_active_models_come_first_and_many_stopped_ones_are_left_to_the_dashboard() -> None:
    stopped = [status(f"s{i}") for i in range(MOST_STOPPED + 60)]
    entries = models_of(look(*stopped, status("last", State.READY)))
    assert entries[0].label == "last · ready"
    assert len(entries) == 1 + MOST_STOPPED + 1
    assert entries[-1] == Entry("60 more in the dashboard", Action("open"))


def test_a_copied_menu_stands_still_while_nothing_happens() -> None:
    def at(second: float) -> tuple[Entry, ...]:
        changing = {"state_seconds": second, "stage": f"check {second}", "pending": int(second)}
        return shown(look(status("m", State.STARTING, **changing), taken_at=second), now=None)

    assert at(1.0) == at(2.0)
