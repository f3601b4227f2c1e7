"""Waiting for a fact instead of sleeping."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

DEADLINE = 60.0 if sys.platform == "win32" else 15.0
"""Generous: only a broken program needs it, a loaded machine must not. Under wine a process starts
several times as slowly."""


async def until(fact: Callable[[], T], *, seconds: float = DEADLINE) -> T:
    """The first true value of `fact()`; AssertionError if there is none in time."""
    end = time.monotonic() + seconds
    while not (value := fact()):
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.005)
    return value


def until_sync(fact: Callable[[], T], *, seconds: float = DEADLINE) -> T:
    """The same where no loop runs."""
    end = time.monotonic() + seconds
    while not (value := fact()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)
    return value
