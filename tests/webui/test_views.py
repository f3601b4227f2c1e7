"""What each status looks like."""

from __future__ import annotations

from typing import Any

import pytest

from core.domain import DeviceReading, Failure
from core.states import State
from tests.webui.worlds import status
from webui.views import device_view, key_of, kinds_of, memory_words, model_view, summary_view

RUNNING: dict[str, Any] = {"variant": "A", "port": 9000, "memory_mb": {"gpu": 100}}
FAILURE = Failure("it broke", exit_code=3, log_tail=tuple("abc"), retry_at=1004.0)


@pytest.mark.parametrize(
    ("changes", "word", "tone", "action"),
    [
        ({}, "st_stopped", "off", "start"),
        ({"startable": "no device"}, "st_unable", "bad", ""),
        ({"state": State.STARTING, "waiting": 1}, "st_waiting", "load", "abort"),
        ({"state": State.STOPPED, "waiting": 1}, "st_waiting", "load", "abort"),
        ({"state": State.STARTING, **RUNNING}, "st_starting", "load", "abort"),
        ({"state": State.STARTING, "waiting": 1, **RUNNING}, "st_starting", "load", "abort"),
        ({"state": State.READY, **RUNNING}, "st_ready", "idle", "stop"),
        ({"state": State.READY, "pending": 1, **RUNNING}, "st_serving", "busy", "stop"),
        ({"state": State.DRAINING, **RUNNING}, "st_draining", "leave", "kill"),
        ({"state": State.STOPPING, **RUNNING}, "st_stopping", "leave", "kill"),
        ({"state": State.SLEEPING, **RUNNING}, "st_sleeping", "park", "stop"),
        ({"state": State.WAKING, **RUNNING}, "st_waking", "load", "abort"),
        ({"state": State.FAILED, "failure": FAILURE}, "st_failed", "bad", "start"),
    ],
)
def test_each_state_has_word_tone_and_action(
    changes: dict[str, Any], word: str, tone: str, action: str
) -> None:
    view = model_view(status(**changes), 0, 1000.0)
    assert (view.word, view.tone, view.action) == (word, tone, action)


def test_a_view_does_not_change_while_only_time_passes() -> None:
    first = status(state=State.READY, state_seconds=5.0, idle_seconds=2.0, **RUNNING)
    later = status(state=State.READY, state_seconds=8.0, idle_seconds=5.0, **RUNNING)
    assert model_view(first, 0, 1000.0) == model_view(later, 0, 1003.0)


def test_a_queued_model_counts_no_seconds() -> None:
    view = model_view(status(state=State.STARTING, waiting=2, stage="why"), 0, 1000.0)
    assert (view.since, view.stage, view.last_line) == (None, "why", "")


def test_idle_countdown_ends_when_the_idle_limit_is_over() -> None:
    ready = status(state=State.READY, idle_seconds=10.0, idle_limit=60.0, **RUNNING)
    assert model_view(ready, 0, 1000.0).unload_at == 1050.0
    busy = status(state=State.READY, pending=1, idle_limit=60.0, **RUNNING)
    assert model_view(busy, 0, 1000.0).unload_at is None
    stays = model_view(status(state=State.READY, idle_limit=None, **RUNNING), 0, 1000.0)
    assert stays.stays
    assert stays.unload_at is None


def test_a_failure_is_shown_until_it_serves_again() -> None:
    failed = model_view(status(state=State.FAILED, failure=FAILURE), 0, 1000.0)
    assert failed.failure is not None
    assert failed.failure.retry_at == 1004.0
    later = model_view(status(state=State.FAILED, failure=FAILURE), 0, 1010.0)
    assert later.failure is not None
    assert later.failure.retry_at == 0.0
    ready = status(state=State.READY, failure=FAILURE, **RUNNING)
    assert model_view(ready, 0, 1000.0).failure is None


def test_names_become_safe_parts_of_ids_and_urls() -> None:
    view = model_view(status('a/b "<c>'), 0, 0.0)
    assert view.path == "a%2Fb%20%22%3Cc%3E"
    assert key_of('a/b "<c>').isalnum()
    assert key_of("a") != key_of("b")


def gpu(used: int, total: int = 1000) -> DeviceReading:
    return DeviceReading("gpu", True, total, total - used, used)


def test_memory_is_ours_others_loading_and_free() -> None:
    view = device_view(
        gpu(used=500),
        [
            status("a", state=State.READY, memory_mb={"gpu": 300}),
            status("b", state=State.STARTING, memory_mb={"gpu": 200}),
            status("c", state=State.READY, memory_mb={"cpu": 999}),
        ],
        50,
    )
    shown = [(p.kind, p.name, p.mb) for p in view.parts]
    assert shown == [
        ("ours", "a", 300), ("load", "b", 200), ("others", "", 50), ("free", "", 450),
    ]  # fmt: skip
    assert sum(p.width for p in view.parts) == pytest.approx(100)


def test_growth_while_loading_is_not_taken_for_other_programs() -> None:
    loading = [status("b", state=State.STARTING, memory_mb={"gpu": 400})]
    shown = [device_view(gpu(used), loading, 100).others_mb for used in (100, 300, 500, 600)]
    assert shown == [100, 100, 100, 200]
    assert device_view(gpu(50), loading, 100).others_mb == 50
    assert device_view(gpu(500), loading).others_mb == 100
    ready = [status("b", state=State.READY, memory_mb={"gpu": 400})]
    assert device_view(gpu(550), ready, 100).others_mb == 150


def test_a_bar_never_grows_out_of_its_device() -> None:
    too_much = [status("a", state=State.READY, memory_mb={"gpu": 900})]
    too_much.append(status("b", state=State.STARTING, memory_mb={"gpu": 900}))
    view = device_view(gpu(used=950), too_much)
    assert all(0 <= p.x <= 100 and p.x + p.width <= 100.01 for p in view.parts)
    assert view.free_mb == 0


def test_all_used_memory_is_others_where_we_have_none() -> None:
    view = device_view(gpu(used=400), [])
    assert [(p.kind, p.mb) for p in view.parts] == [("others", 400), ("free", 600)]


def test_an_offline_device_says_why() -> None:
    view = device_view(DeviceReading("gpu", False, error="unplugged"), [])
    assert (view.online, view.error, view.parts) == (False, "unplugged", ())


def test_metrics_have_units() -> None:
    reading = DeviceReading("gpu", True, 10, 10, 0, metrics={"temperature_c": 61.4, "other": 1})
    assert device_view(reading, []).metrics == (("temperature", "61 °C"),)


def test_summary_counts() -> None:
    rows = [
        model_view(status("a", state=State.READY, pending=2, **RUNNING), 0, 0.0),
        model_view(status("b", state=State.STARTING, waiting=3), 1, 0.0),
        model_view(status("c", startable="gone"), 2, 0.0),
        model_view(status("d", state=State.SLEEPING, **RUNNING), 3, 0.0),
    ]
    view = summary_view(rows, 2, "http://x")
    assert (view.loaded, view.models, view.serving, view.in_line, view.problems) == (2, 4, 1, 3, 1)
    assert view.base_url == "http://x/v1"


def test_memory_in_words() -> None:
    assert [memory_words(mb) for mb in (0, 999, 1000, 24576)] == [
        "0 MB", "999 MB", "1.0 GB", "24.0 GB",
    ]  # fmt: skip


def test_calls_that_can_be_tried() -> None:
    endpoints = {
        "/v1/completions": {"chat", "base"},
        "/v1/chat/completions": {"chat"},
        "/v1/audio": {"voice"},
    }
    chat = (("chat", "/v1/chat/completions"), ("completion", "/v1/completions"))
    assert kinds_of("Chat", endpoints) == chat
    assert kinds_of("Voice", endpoints) == (("raw", "/v1/audio"),)
    assert kinds_of("None", endpoints) == ()
