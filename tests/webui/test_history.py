"""What is remembered of devices and requests."""

from __future__ import annotations

from core.domain import DeviceReading
from core.events import RequestFinished
from webui.history import KEPT_REQUESTS, PACE, SPAN, DeviceHistory, RequestHistory

GPU = DeviceReading("gpu", True, 1000, 600, 400)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_samples_cover_the_span_at_its_pace() -> None:
    clock = Clock()
    history = DeviceHistory(clock)
    taken = 0
    for tenth in range(int(SPAN * 20)):
        clock.now = tenth / 10
        if history.due():
            history.take({"gpu": GPU}, {"gpu": 100})
            taken += 1
    assert history.count == taken
    series = history.series({"gpu": GPU})
    times = series["t"]
    assert isinstance(times, list)
    assert len(times) <= SPAN / PACE + 2
    assert times == sorted(times)
    assert times[0] >= -SPAN
    assert series["devices"]["gpu"]["used"][-1] == 400  # type: ignore[index]


def test_silence_means_that_nothing_changed() -> None:
    clock = Clock()
    history = DeviceHistory(clock)
    history.take({"gpu": GPU}, {})
    clock.now = 60.0
    assert history.series({"gpu": GPU}) == {
        "t": [-60.0, 0.0],
        "devices": {"gpu": {"used": [400, 400], "ours": [0, 0], "total": 1000}},
    }


def test_a_device_that_came_later_has_gaps() -> None:
    history = DeviceHistory(Clock())
    history.take({}, {})
    history.take({"gpu": GPU}, {})
    assert history.series({"gpu": GPU})["devices"]["gpu"]["used"] == [None, 400]  # type: ignore[index]


def finished(model: str, **usage: float) -> RequestFinished:
    return RequestFinished(model, f"{model}#1", "/v1/x", 200, 2.0, "ok", usage)


def test_requests_are_kept_newest_first_and_bounded() -> None:
    history = RequestHistory(Clock())
    for _ in range(KEPT_REQUESTS):
        history.note(finished("a"))
    history.note(finished("b", prompt_tokens=3, completion_tokens=10))
    newest = history.of(None)[0]
    assert (newest.model, newest.tokens_in, newest.tokens_out, newest.speed) == ("b", 3, 10, 5.0)
    assert len(history.of("a", 1000)) == KEPT_REQUESTS - 1
    assert history.of("b")[0] == newest


def test_the_server_knows_its_speed_best() -> None:
    history = RequestHistory(Clock())
    history.note(finished("a", completion_tokens=10, predicted_per_second=99.0))
    assert history.of("a")[0].speed == 99.0
