"""The event loop of this platform."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop where it exists, else asyncio's own."""
    if sys.platform == "win32":
        return asyncio.ProactorEventLoop
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop
