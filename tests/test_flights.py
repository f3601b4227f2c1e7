"""The books of the requests under way."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from core.events import RequestFinished
from core.flights import Flights, InFlight


def flight(**more: Any) -> InFlight:
    return InFlight("m", "/v1/x", "127.0.0.1", 0.0, **more)


def test_one_line_and_one_event_for_each_that_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "core.gateway")
    told: list[Any] = []
    flights = Flights(told.append)
    one, other = flight(status=200, outcome="ok", usage={"total_tokens": 3}), flight()
    number = flights.begin(one, bool)
    assert flights.begin(other, bool) != number
    assert list(flights.in_flight.values()) == [one, other]
    flights.end(number, "m#1")
    (event,) = told
    assert isinstance(event, RequestFinished)
    assert (event.model, event.instance, event.path) == ("m", "m#1", "/v1/x")
    assert (event.status, event.outcome, event.usage) == (200, "ok", {"total_tokens": 3})
    assert event.seconds > 0
    assert [m for m in caplog.messages if m.startswith("m#1 /v1/x 200 ok in ")]
    assert list(flights.in_flight.values()) == [other]


def test_one_that_goes_another_way_is_not_told_of() -> None:
    told: list[Any] = []
    flights = Flights(told.append)
    number = flights.begin(one := flight(), bool)
    assert flights.forget(number) is one
    assert (told, flights.in_flight) == ([], {})
    assert not flights.cancel(number)


def test_each_is_broken_off_in_its_own_way_until_it_is_over() -> None:
    flights = Flights(lambda event: None)
    broken: list[str] = []
    number = flights.begin(flight(), lambda: broken.append("one"))
    flights.begin(flight(), lambda: broken.append("other"))
    assert flights.cancel(number)
    assert broken == ["one"]
    flights.end(number, "m#1")
    assert not flights.cancel(number)
    assert not flights.cancel(99)
    assert broken == ["one"]
