"""The event stream of a tab: what it says, when, and how much of a flood."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from core.domain import DeviceReading
from core.events import DevicesChanged
from core.states import State
from tests.webui.worlds import World, devices, status
from webui import live
from webui.board import Board
from webui.live import Ask, log_lines, message, updates
from webui.pages import Pages
from webui.panel import Panel
from webui.picture import Picture
from webui.views import key_of

GAP = 0.05

NASTY = "a\nevent: forged\r\ndata: x\u2028<img src=x>"


@pytest.fixture
def world(tmp_path: Path) -> World:
    reading = DeviceReading("gpu", True, 1000, 600, 400)
    return World(tmp_path, [status("a")], devices(reading))


@pytest.fixture
async def board(world: World, monkeypatch: pytest.MonkeyPatch) -> Board:
    monkeypatch.setattr(live, "GAP", GAP)
    return Board(Picture(world.sources(real_time=True)), await Pages.load(), "en")


def parse(text: str) -> tuple[str, Any]:
    head, data, empty, end = text.split("\n")
    assert (empty, end) == ("", "")
    return head.removeprefix("event: "), json.loads(data.removeprefix("data: "))


async def next_of(stream: AsyncIterator[str], kind: str) -> Any:
    while True:
        event, data = parse(await anext(stream))
        if event == kind:
            return data


def test_no_text_can_end_an_event_early() -> None:
    text = message("log", {"lines": [NASTY]})
    assert text.isascii()
    assert parse(text) == ("log", {"lines": [NASTY]})


async def test_a_tab_learns_of_changes(board: Board, world: World) -> None:
    async with aclosing(updates(board, Ask(0, Panel()), "boot")) as stream:
        first = await next_of(stream, "update")
        assert first["boot"] == "boot"
        assert "models" in first["html"]
        world.statuses[0] = status("a", state=State.READY, variant="A")
        world.happen("a")
        second = await next_of(stream, "update")
        assert set(second["html"]) == {f"m-{key_of('a')}", "summary"}
        assert second["version"] > first["version"]


async def test_a_tab_that_is_up_to_date_is_told_so_at_once(board: Board) -> None:
    board.refresh()
    async with aclosing(updates(board, Ask(board.version, Panel()), "b")) as stream:
        assert (await next_of(stream, "update"))["html"] == {}


async def test_many_events_make_few_updates(board: Board, world: World) -> None:
    got = []

    async def read() -> None:
        async with aclosing(updates(board, Ask(0, Panel()), "b")) as stream:
            async for text in stream:
                got.append(parse(text)[0])

    began = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(read())
        for number in range(1000):
            world.statuses[0] = status("a", state=State.READY, variant="A", pending=number)
            world.happen("a")
            await asyncio.sleep(0)
        last = f"{999} <"
        while last not in board.html("models").replace("</b>", " <"):
            await asyncio.sleep(0.01)
        reader.cancel()
    tick = time.get_clock_info("monotonic").resolution  # Windows may wake up that much too early
    assert got.count("update") <= (time.monotonic() - began) / (GAP - tick) + 3


async def test_the_time_line_comes_with_new_samples(board: Board, world: World) -> None:
    async with aclosing(updates(board, Ask(0, Panel()), "b")) as stream:
        assert (await next_of(stream, "history"))["t"] == []
        world.bus.publish(DevicesChanged())
        history = await next_of(stream, "history")
        assert history["devices"]["gpu"]["used"][0] == 400


async def test_a_log_begins_with_its_last_lines(board: Board, world: World) -> None:
    world.output("a").add([f"line {n}" for n in range(10)])
    async with aclosing(log_lines(board, Panel("model", "a", "log"))) as stream:
        assert parse(await anext(stream))[1]["reset"] is True
        assert parse(await anext(stream))[1]["lines"][-1] == "line 9"
        world.output("a").add([NASTY])
        assert parse(await anext(stream))[1] == {"reset": False, "lines": [NASTY], "skipped": 0}


async def test_a_flood_is_thinned_out_and_says_so(board: Board, world: World) -> None:
    async with aclosing(log_lines(board, Panel("model", "a", "log"))) as stream:
        world.output("a").add(["begin"])
        await anext(stream)
        await anext(stream)
        world.output("a").add([str(n) for n in range(4000)])
        data = parse(await anext(stream))[1]
    assert len(data["lines"]) == live.LOG_BATCH
    assert data["lines"][-1] == "3999"
    assert data["skipped"] == 4000 - live.LOG_BATCH


async def test_the_programs_own_log(board: Board, world: World) -> None:
    file = board.picture.sources.log_file
    file.write_text("one\ntwo\n", "utf-8")
    async with aclosing(log_lines(board, Panel("log"))) as stream:
        await anext(stream)
        assert parse(await anext(stream))[1]["lines"] == ["one", "two"]
        with file.open("a") as log:
            log.write("three\n")
        assert parse(await anext(stream))[1]["lines"] == ["three"]
