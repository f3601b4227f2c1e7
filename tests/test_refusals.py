"""Refusals as errors with their codes."""

from __future__ import annotations

import pytest

from core.domain import Failure
from core.refusals import SHOWN_LINES, failed, refusal

LOG = tuple(f"line {n}" for n in range(30))
FAILURE = Failure("exit code 3", exit_code=3, log_tail=LOG, at=100.0, retry_at=104.0)


@pytest.mark.parametrize(
    ("code", "status", "shown"),
    [
        ("model_not_found", 404, "model_not_found"),
        ("no_device", 503, "no_device"),
        ("insufficient_memory", 503, "insufficient_memory"),
        ("model_failed", 503, "model_failed"),
    ],
)
def test_every_word_of_the_scheduler_has_its_error(code: str, status: int, shown: str) -> None:
    error = refusal("m", code, "because", 10.0, FAILURE, 100.0)
    assert (error.status, error.code) == (status, shown)
    assert "'m'" in error.message


def test_memory_may_come_back_by_itself() -> None:
    assert refusal("m", "insufficient_memory", "full", 10.0, None, 0.0).retry_after == 10.0
    assert refusal("m", "insufficient_memory", "too large", None, None, 0.0).retry_after is None


def test_a_failure_tells_reason_last_lines_and_when_to_try_again() -> None:
    error = failed("m", FAILURE, 101.0)
    assert "exit code 3" in error.message
    assert LOG[-1] in error.message
    assert LOG[-SHOWN_LINES - 1] not in error.message
    assert error.retry_after == 3.0


def test_a_late_start_has_its_own_code() -> None:
    late = Failure("not ready after 300 s", code="start_timeout")
    assert (failed("m", late, 0.0).status, failed("m", late, 0.0).code) == (504, "start_timeout")


def test_no_failure_known() -> None:
    assert failed("m", None, 0.0).code == "model_failed"
