"""The line: requests that wait for a lease on a Model."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from dataclasses import dataclass

from core.domain import Model
from core.errors import LLMManagerError, QueueFull
from core.instance import Instance
from core.scheduling.world import Demand


@dataclass(slots=True)
class Place:
    """One place in the line; `granted` resolves to an instance on which a lease is counted."""

    demand: Demand
    priority: int
    granted: asyncio.Future[Instance]
    why: str = ""
    """Why it still waits, for the person who looks."""


class Line:
    """All places, oldest first within a priority."""

    def __init__(self) -> None:
        self._places: dict[int, Place] = {}
        self._waiting: Counter[str] = Counter()
        self._numbers = itertools.count(1)

    def join(self, model: Model, now: float) -> Place:
        """Take the last place of the model's priority. Raises QueueFull."""
        if model.queue_limit and self._waiting[model.name] >= model.queue_limit:
            raise QueueFull(
                f"{model.queue_limit} requests already wait for '{model.name}'", retry_after=5.0
            )
        demand = Demand(next(self._numbers), model.name, now)
        place = Place(demand, model.priority, asyncio.get_running_loop().create_future())
        self._places[demand.id] = place
        self._waiting[model.name] += 1
        return place

    def leave(self, place: Place) -> None:
        """Give up the place; a second time does nothing."""
        if self._places.pop(place.demand.id, None) is not None:
            self._waiting[place.demand.model] -= 1
            if not self._waiting[place.demand.model]:
                del self._waiting[place.demand.model]

    def waiting(self, model: str) -> int:
        return self._waiting[model] if model in self._waiting else 0

    def models(self) -> list[str]:
        """Those that somebody waits for."""
        return list(self._waiting)

    def demands(self) -> tuple[Demand, ...]:
        """Those still unanswered, in the order in which they are served."""
        places = [p for p in self._places.values() if not p.granted.done()]
        places.sort(key=lambda place: (-place.priority, place.demand.id))
        return tuple(place.demand for place in places)

    def place(self, demand: Demand) -> Place | None:
        """The unanswered place of a demand; None once it was answered or left."""
        place = self._places.get(demand.id)
        return None if place is None or place.granted.done() else place

    def refuse(self, model: str | None, error: LLMManagerError) -> None:
        """Answer everybody who waits for the model (None: for any) with the error."""
        for place in self._places.values():
            if place.granted.done() or (model is not None and place.demand.model != model):
                continue
            place.granted.set_exception(error)

    def why(self, model: str) -> str:
        """What the first demand of the model waits for."""
        for place in self._places.values():
            if place.demand.model == model and place.why:
                return place.why
        return ""

    def __len__(self) -> int:
        return len(self._places)
