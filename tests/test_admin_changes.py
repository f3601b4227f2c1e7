"""Pins and plugin reloads over HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.admin_changes import ChangesApi
from core.catalog import Catalog
from core.domain import Config, Model, Program, Variant
from core.errors import ConfigError
from tests.fakes.http import serving

VARIANT = Variant("A", ("cpu",), {}, Path("a.sh"))
MODEL = Model("m", "key", ("m", "alias"), "Chat", (VARIANT,))
PROGRAM = Program("127.0.0.1", 1, None, True, Path(), Path(), Path(), "INFO")
CATALOG = Catalog(Config(Path("c.json"), PROGRAM, {"m": MODEL}))


class Changes:
    """Notes what was asked for."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[object] = []

    def set_option(self, model: str, option: str, value: object) -> None:
        if self.error:
            raise self.error
        self.asked.append((model, option, value))

    def api(self) -> ChangesApi:
        return ChangesApi(
            CATALOG,
            self.set_option,
            lambda: self.asked.append("reload"),
            lambda: {"x": 1},
            self.close,
        )

    def close(self) -> None:
        if self.error:
            raise self.error
        self.asked.append("close")


async def test_pins_are_set_by_primary_name() -> None:
    changes = Changes()
    async with serving(changes.api().routes()) as client:
        assert (await client.get("/api/models/alias/pin")).status == 405
        assert (await client.post("/api/models/alias/pin")).status == 200
        answer = await client.post("/api/models/m/unpin")
        assert await answer.json() == {"model": "m", "pinned": False}
        assert (await client.post("/api/models/nobody/pin")).status == 404
    assert changes.asked == [("m", "pinned", True), ("m", "pinned", False)]


@pytest.mark.parametrize("error", [ConfigError("it has problems"), PermissionError("read-only")])
async def test_a_file_that_takes_no_change_is_a_clear_refusal(error: Exception) -> None:
    async with serving(Changes(error).api().routes()) as client:
        answer = await client.post("/api/models/m/pin")
        assert answer.status == 409
        told = (await answer.json())["error"]
        assert told["code"] == "config_not_written"
        assert str(error) in told["message"]


async def test_plugins_are_read_anew() -> None:
    changes = Changes()
    async with serving(changes.api().routes()) as client:
        answer = await client.post("/api/plugins/reload")
        assert (answer.status, await answer.json()) == (202, {"x": 1})
    assert changes.asked == ["reload"]


async def test_the_door_to_the_network_is_closed_by_a_post_alone() -> None:
    changes = Changes()
    async with serving(changes.api().routes()) as client:
        assert (await client.get("/api/only-this-machine")).status == 405
        assert changes.asked == []
        answer = await client.post("/api/only-this-machine")
        assert (answer.status, await answer.json()) == (202, {"after_restart": True})
    assert changes.asked == ["close"]


async def test_a_door_that_cannot_be_closed_says_why() -> None:
    async with serving(Changes(ConfigError("X decides")).api().routes()) as client:
        answer = await client.post("/api/only-this-machine")
        assert answer.status == 409
        assert "stays as it was: X decides" in (await answer.json())["error"]["message"]
