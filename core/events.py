"""Typed events and the bus that carries them from the controller to whoever watches."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from core.states import State


@dataclass(frozen=True, slots=True)
class InstanceChanged:
    """An instance entered a state, or its stage moved on within one."""

    model: str
    instance: str
    state: State
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RequestFinished:
    """A request left the program, whichever way."""

    model: str
    instance: str
    path: str
    status: int
    """0: the client left before the answer began."""
    seconds: float
    outcome: str
    """`ok`, `client_closed`, `upstream_broken`."""
    usage: dict[str, float] = field(default_factory=dict)
    """Token counts and llama.cpp's timings, where the server told them."""


@dataclass(frozen=True, slots=True)
class DevicesChanged:
    """New readings are in."""


@dataclass(frozen=True, slots=True)
class ConfigChanged:
    """A new config is in force, or a broken file was refused (`problems`)."""

    changed: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PluginReloaded:
    """The plugin folders were read again."""

    loaded: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


Event = InstanceChanged | RequestFinished | DevicesChanged | ConfigChanged | PluginReloaded


class Subscription:
    """A bounded queue of events: a slow reader loses the oldest ones, never holds up the writer."""

    def __init__(self, limit: int) -> None:
        self._events: deque[Event] = deque(maxlen=limit)
        self._arrived = asyncio.Event()
        self._closed = False

    def put(self, event: Event) -> None:
        self._events.append(event)
        self._arrived.set()

    def close(self) -> None:
        """End the iteration of the reader."""
        self._closed = True
        self._arrived.set()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            while self._events:
                yield self._events.popleft()
            if self._closed:
                return
            self._arrived.clear()
            await self._arrived.wait()


class Bus:
    """One publisher's side, any number of subscribers; lives in the loop's thread."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self._first: list[Callable[[Event], None]] = []
        self._closed = False

    def listen(self, function: Callable[[Event], None]) -> None:
        """Call `function` at once with every event, before any subscriber learns of it."""
        self._first.append(function)

    def publish(self, event: Event) -> None:
        for function in self._first:
            function(event)
        for subscription in self._subscriptions:
            subscription.put(event)

    @contextmanager
    def subscribe(self, limit: int = 256) -> Iterator[Subscription]:
        subscription = Subscription(limit)
        if self._closed:
            subscription.close()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def close(self) -> None:
        """End every reader, also those to come: an open event stream must not delay quitting."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.close()
