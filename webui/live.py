"""The one event stream of a tab: pieces of HTML that changed, the time line, the lines of a log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any

from core.log_file import follow_file, last_lines
from webui.board import Board
from webui.panel import Panel

GAP = 0.25
"""Seconds at least between two updates: many events make one."""
TICK = 1.0
"""Seconds after which moving parts (a load, a request) are looked at without an event."""
LOG_GAP = 0.1
LOG_BATCH = 300
"""Lines per batch at most: a flood becomes a flow, and says what it left out."""
LOG_HISTORY = 2000


@dataclass(frozen=True, slots=True)
class Ask:
    """What a tab has and wants: the version of its page, what it shows beside the models."""

    version: int
    panel: Panel


def message(event: str, data: object) -> str:
    """An event on one line of ASCII: no text in it can end it early."""
    return f"event: {event}\ndata: {json.dumps(data)}\n\n"


def update(board: Board, ask: Ask, boot: str) -> dict[str, Any]:
    """What changed since the version that the tab has; all of it for another program run."""
    board.refresh()
    html = board.changed_since(ask.version, ask.panel)
    now = round(board.picture.sources.clock(), 3)
    return {"boot": boot, "version": board.version, "now": now, "html": html}


async def updates(board: Board, ask: Ask, boot: str) -> AsyncGenerator[str, None]:
    """Updates as long as the tab looks; the first at once, so that it knows that it is live."""
    picture = board.picture
    samples = -1
    first = True
    while True:
        data = update(board, ask, boot)
        if data["html"] or first:
            yield message("update", data)
            ask = Ask(data["version"], ask.panel)
            first = False
        if picture.history.count != samples:
            samples = picture.history.count
            yield message("history", history(board))
        if board.version == data["version"]:  # another tab has not rendered more meanwhile
            await picture.change(TICK)
        await asyncio.sleep(GAP)


def history(board: Board) -> dict[str, object]:
    readings = board.picture.sources.readings() or {}
    return board.picture.history.series({n: r for n, r in readings.items() if r.online})


async def log_lines(board: Board, panel: Panel) -> AsyncGenerator[str, None]:
    """The last lines of the panel's log, then batches of new ones; never ends by itself."""
    yield message("log", {"reset": True, "lines": [], "skipped": 0})
    limit = LOG_HISTORY
    async for lines in _followed(board, panel):
        shown = lines[-limit:]
        skipped = len(lines) - len(shown)
        yield message("log", {"reset": False, "lines": shown, "skipped": skipped})
        limit = LOG_BATCH
        await asyncio.sleep(LOG_GAP)
    await asyncio.Event().wait()  # the log is closed; the rest of the stream goes on


def _followed(board: Board, panel: Panel) -> AsyncIterator[list[str]]:
    sources = board.picture.sources
    if panel.log == "model":
        return sources.output(panel.name).follow(LOG_HISTORY)
    return follow_file(sources.log_file, LOG_HISTORY)


def log_tail(board: Board, panel: Panel, count: int) -> dict[str, Any]:
    """The last lines for a tab without a stream."""
    sources = board.picture.sources
    if panel.log == "model":
        lines = sources.output(panel.name).tail(count)
    else:
        lines = last_lines(sources.log_file, count)
    return {"reset": True, "lines": lines, "skipped": 0}
