"""What is remembered of a Model between its instances: the price of failing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from core.domain import Failure
from core.record import LONGEST_COOLDOWN, STEADY, Record


def life(*, ready_at: float | None = None, failed: bool = True) -> Any:
    """What a record looks at of an instance that ended."""
    failure = Failure("died") if failed else None
    return SimpleNamespace(ready_at=ready_at, failure=failure, load_seconds=2.5)


def cooldown(record: Record, now: float) -> float:
    failure = record.failure
    return max(0.0, failure.retry_at - now) if failure else 0.0


def test_a_new_record_is_clean() -> None:
    record = Record()
    assert (record.starts, record.failures, record.failure, record.load_seconds) == (
        0,
        0,
        None,
        None,
    )
    assert record.cooling(0.0) is None


def test_failing_starts_back_off() -> None:
    record, now, waits = Record(), 1000.0, []
    for _ in range(10):
        record.ended(life(), now)
        waits.append(cooldown(record, now))
        now += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert LONGEST_COOLDOWN == 60


def test_the_cooldown_ends() -> None:
    record = Record()
    record.ended(life(), 100.0)
    assert record.cooling(100.9) is record.failure
    assert record.cooling(101.0) is None
    assert record.failure is not None  # still shown


def test_the_first_crash_in_service_costs_nothing_the_next_ones_do() -> None:
    record, now, waits = Record(), 1000.0, []
    for _ in range(5):
        record.ended(life(ready_at=now - 1), now)
        waits.append(cooldown(record, now))
        now += waits[-1] + 1
    assert waits == [0, 1, 2, 4, 8]


def test_steady_service_is_forgiving() -> None:
    record = Record()
    for _ in range(6):
        record.ended(life(), 0.0)
    record.ended(life(ready_at=1000.0), 1000.0 + STEADY)
    assert record.failures == 1
    assert cooldown(record, 1000.0 + STEADY) == 0


def test_an_end_in_peace_is_no_failure() -> None:
    record = Record()
    record.ended(life(failed=False, ready_at=0.0), 10.0)
    assert (record.failures, record.failure) == (0, None)


@pytest.mark.parametrize(("served", "failures"), [(STEADY - 1, 3), (STEADY, 0)])
def test_an_end_in_peace_forgives_only_after_steady_service(served: float, failures: int) -> None:
    record = Record()
    for _ in range(3):
        record.ended(life(), 0.0)
    record.ended(life(failed=False, ready_at=100.0), 100.0 + served)
    assert record.failures == failures


def test_ready_clears_the_failure_but_not_the_count() -> None:
    record = Record()
    record.ended(life(), 0.0)
    record.ready(life(ready_at=2.0))
    assert record.failure is None
    assert record.load_seconds == 2.5
    assert record.failures == 1


def test_a_person_need_not_wait() -> None:
    record = Record()
    record.pardon()
    record.ended(life(), 0.0)
    record.pardon()
    assert record.cooling(0.0) is None
    assert record.failure is not None
    record.ended(life(), 0.0)
    assert cooldown(record, 0.0) == 2  # the next failure counts on


@pytest.mark.parametrize("serves", [False, True])
@pytest.mark.parametrize("load", [0.0, 0.5])
def test_a_crash_loop_under_load_costs_few_starts(serves: bool, load: float) -> None:
    """A hundred requests a second for half a minute at a model that dies as soon as it is asked."""
    record, free_at = Record(), 0.0
    for tick in range(3000):
        now = tick / 100
        if now < free_at or record.cooling(now):
            continue
        record.starts += 1
        free_at = now + load
        if serves:
            record.ready(life(ready_at=free_at))
        record.ended(life(ready_at=free_at if serves else None), free_at)
    assert 4 <= record.starts <= 6
