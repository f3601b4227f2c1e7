"""Only what changed is rendered and sent, in either language."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from core.domain import DeviceReading
from core.events import ConfigChanged, DevicesChanged, RequestFinished
from core.scheduling.world import Demand, Release, Start
from core.states import State
from tests.webui.worlds import Flight, Store, World, devices, model, status
from webui.board import ROWS_PER_TURN, Board
from webui.pages import Pages
from webui.panel import PAGES, TABS, Panel
from webui.picture import Picture
from webui.views import key_of

NONE = Panel()
GPU = DeviceReading("gpu", True, 1000, 600, 400)


@pytest.fixture(scope="module")
def pages() -> Pages:
    return asyncio.run(Pages.load())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, [status("a"), status("b")], devices(GPU))


@pytest.fixture
def board(world: World, pages: Pages) -> Board:
    board = Board(Picture(world.sources()), pages, "en")
    board.refresh()
    return board


def ids(board: Board, version: int, panel: Panel = NONE) -> set[str]:
    board.refresh()
    return set(board.changed_since(version, panel))


def test_a_tab_that_knows_nothing_gets_everything(board: Board) -> None:
    assert ids(board, 0) == {"summary", "banners", "flights", "devices", "models"}


def test_nothing_changed_means_nothing_is_sent(board: Board, world: World) -> None:
    version = board.version
    world.happen()
    assert ids(board, version) == set()
    assert board.version == version


def test_only_the_row_that_changed_is_sent(board: Board, world: World) -> None:
    version = board.version
    world.statuses[1] = status("b", pinned=True)
    world.happen("b")
    assert ids(board, version) == {f"m-{key_of('b')}"}


def test_without_an_event_the_program_is_not_even_asked(board: Board, world: World) -> None:
    asked = world.asked
    for _ in range(10):
        board.refresh()
    assert world.asked == asked


def test_of_many_models_only_those_that_can_have_changed_are_asked(
    world: World, pages: Pages
) -> None:
    world.statuses[:] = [status(f"m{n}") for n in range(1000)]
    world.statuses[7] = status("m7", state=State.READY, variant="A", pending=1)
    world.flights[1] = Flight("m7")
    board = Board(Picture(world.sources()), pages, "en")
    board.refresh()
    asked, version = world.asked, board.version
    world.looked.clear()
    world.statuses[3] = status("m3", starts=2, pinned=True)
    world.happen("m3")
    world.statuses[7] = status("m7", state=State.READY, variant="A", pending=2)
    fresh = ids(board, version)
    assert fresh == {f"m-{key_of('m3')}", f"m-{key_of('m7')}"}
    assert sorted(world.looked) == ["m3", "m7"]
    assert world.asked == asked


def test_a_request_that_waits_is_seen_without_an_event(board: Board, world: World) -> None:
    version = board.version
    world.statuses[0] = status("a", state=State.STARTING, waiting=1, stage="memory")
    assert ids(board, version) == {f"m-{key_of('a')}", "summary"}
    version = board.version
    world.statuses[0] = status("a")
    assert ids(board, version) == {f"m-{key_of('a')}", "summary"}


async def test_many_rows_are_drawn_in_many_turns_of_the_loop(world: World, pages: Pages) -> None:
    world.statuses[:] = [status(f"m{n}") for n in range(ROWS_PER_TURN * 10)]
    board = Board(Picture(world.sources()), pages, "en")
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        other = tasks.create_task(others())
        await board.prepare()
        other.cancel()
    assert turns >= 10
    drawn = board.version
    board.refresh()
    assert board.version - drawn < 10  # the frame, and none of the rows again
    assert board.html("models").count("<li ") == ROWS_PER_TURN * 10


def test_what_moves_is_looked_at_without_events(board: Board, world: World) -> None:
    version = board.version
    world.flights[1] = Flight("a")
    assert "flights" in ids(board, version)
    version = board.version
    world.flights[1].reads = 7
    assert ids(board, version) == {"flights"}
    world.flights.clear()
    assert "flights" in ids(board, version)
    world.statuses[0] = status("a", state=State.STARTING, variant="A", last_line="one")
    world.happen("a")
    board.refresh()
    version = board.version
    world.statuses[0] = status("a", state=State.STARTING, variant="A", last_line="two")
    assert ids(board, version) == {f"m-{key_of('a')}"}


def test_a_new_model_sends_the_list_once(board: Board, world: World) -> None:
    version = board.version
    world.statuses.append(status("c"))
    world.happen("c")
    board.refresh()
    fresh = board.changed_since(version, NONE)
    assert set(fresh) == {"models", "summary"}
    assert all(f"m-{key_of(name)}" in fresh["models"] for name in "abc")


def test_devices_come_and_go(board: Board, world: World) -> None:
    version = board.version
    world.readings = None
    world.bus.publish(DevicesChanged())
    board.refresh()
    assert "first time" in board.changed_since(version, NONE)["devices"]
    world.readings = {}
    world.bus.publish(DevicesChanged())
    board.refresh()
    assert "There are no devices" in board.html("devices")


def test_finished_requests_reach_their_panel(board: Board, world: World) -> None:
    panel = Panel("model", "a", "requests")
    ids(board, 0, panel)
    version = board.version
    world.bus.publish(RequestFinished("a", "a#1", "/v1/x", 200, 1.0, "ok", {}))
    assert "panel-body" in ids(board, version, panel)


def test_the_panel_foresees_what_a_start_would_unload(board: Board, world: World) -> None:
    demand = Demand(0, "a", 0.0)
    world.foreseen = [Release("b#3", "a needs its memory")]
    html = board.panel_html(Panel("model", "a", "settings"))["panel-body"]
    assert "Starting it unloads: <b>b</b>" in html
    world.foreseen = [Start(demand, model("a").variants[0])]
    html = board.panel_html(Panel("model", "a", "settings"))["panel-body"]
    assert "disturbs no other model" in html


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_panel_renders(pages: Pages, world: World, language: str) -> None:
    world.problems = ("$.a: wrong",)
    board = Board(Picture(world.sources()), pages, language)
    board.refresh()
    for kind in PAGES:
        assert kind == "log" or board.panel_html(Panel(kind))["panel-body"]
    for tab in TABS:
        assert board.panel_html(Panel("model", "a", tab))["panel-head"]
    assert "no such model" in board.panel_html(Panel("model", "x", "log"))["panel-head"] or (
        language == "zh"
    )


def test_many_panels_do_not_fill_the_memory(board: Board) -> None:
    for number in range(500):
        board.panel_html(Panel("model", f"x{number}", "log"))
    assert len(board._panels) < 100


@pytest.mark.parametrize(
    ("host", "button", "closing"),
    [("127.0.0.1", False, True), ("192.168.1.5", True, False), ("0.0.0.0", True, False)],
)
def test_a_changed_address_waits_for_a_restart(
    world: World, pages: Pages, host: str, button: bool, closing: bool
) -> None:
    sources = world.sources()
    store = cast(Store, sources.store)
    begun = store.current.program
    store.current = replace(store.current, program=replace(begun, host="0.0.0.0"))
    board = Board(Picture(sources), pages, "en")
    board.refresh()
    assert "This machine only" in board.html("banners")
    store.current = replace(store.current, program=replace(begun, host=host))
    world.bus.publish(ConfigChanged())
    board.refresh()
    banners = board.html("banners")
    assert ("This machine only" in banners) is button
    assert ("only this machine can reach" in banners) is closing
    assert ("<code>host</code>" in banners) is (host != "0.0.0.0")
