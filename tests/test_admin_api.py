"""The control API over a house of fakes: lists, actions, logs, event streams."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from core.admin_api import AdminApi
from core.config.diff import diff
from core.events import DevicesChanged
from tests.fakes.parts import config_of
from tests.fakes.site import Site, connected
from tests.fakes.waiting import until
from tests.scheduling.worlds import model, variant

A = model("a", variant(gpu=10))
B = model("b", variant(gpu=4), auto_start=True)
ODD = replace(
    model("Qwen/Qwen3-8B", variant(gpu=1)), aliases=("Qwen/Qwen3-8B", "模型 100%", "x/logs", "..")
)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with Site(A, B, ODD) as site:
        yield site


# ---- lists -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/health", "/v1/health", "/api/health"])
async def test_health(site: Site, path: str) -> None:
    assert await site.get(path) == (200, {"status": "ok", "version": "2.0.0"})


async def test_info(site: Site) -> None:
    status, info = await site.get("/api/info")
    assert status == 200
    assert info["name"] == "LLM-Manager"
    assert info["models"] == 3
    assert info["dashboard"] == "http://127.0.0.1:8080/"
    assert info["config_warnings"] == ["$.x: odd"]
    assert info["uptime_seconds"] >= 0


async def test_models(site: Site) -> None:
    await site.house.ready("a")
    status, told = await site.get("/api/models")
    assert status == 200
    assert [m["name"] for m in told["models"]] == ["a", "b", "Qwen/Qwen3-8B"]
    first = told["models"][0]
    assert (first["state"], first["variant"], first["memory_mb"]) == ("ready", "v", {"gpu": 10})
    assert (first["pending"], first["waiting"], first["failure"]) == (0, 0, None)
    assert first["pid"] == site.house.process.pid
    assert (await site.get("/api/models/a/info"))[1]["name"] == "a"


async def test_openai_models(site: Site) -> None:
    status, told = await site.get("/v1/models")
    assert (status, told["object"]) == (200, "list")
    assert [m["id"] for m in told["data"]] == ["a", "b", "Qwen/Qwen3-8B"]
    odd = told["data"][2]
    assert odd["object"] == "model"
    assert odd["aliases"] == list(ODD.aliases)
    assert (odd["mode"], odd["state"]) == ("Chat", "stopped")
    for name in ("Qwen/Qwen3-8B", "Qwen%2FQwen3-8B", "%E6%A8%A1%E5%9E%8B%20100%25"):
        assert await _raw_get(site, f"/v1/models/{name}") == (200, odd)


async def test_devices(site: Site) -> None:
    await site.house.ready("a")
    for path in ("/api/devices", "/api/devices/info"):
        status, told = await site.get(path)
        assert status == 200
        assert told == {
            "devices": [
                {
                    "name": "gpu",
                    "online": True,
                    "total_mb": 16,
                    "available_mb": 6,
                    "used_mb": 10,
                    "reserved_mb": 10,
                    "error": None,
                    "metrics": {},
                }
            ]
        }


async def test_devices_before_the_first_reading() -> None:
    async with Site(A) as site:
        api = AdminApi(replace(site.sources, readings=lambda: None))
        answer = await api.devices(None)  # type: ignore[arg-type]
        assert answer.text == '{"devices": []}'


async def test_plugins(site: Site) -> None:
    assert await site.get("/api/plugins") == (200, {"interfaces": {}, "devices": {}})


async def test_a_preview_starts_nothing(site: Site) -> None:
    await site.house.ready("a")
    status, told = await site.get("/api/models/b/preview")
    assert status == 200
    assert told == {"model": "b", "variant": "v", "unloads": [], "waits": None, "refused": None}
    await asyncio.sleep(0)
    assert len(site.house.launcher.processes) == 1


# ---- actions -----------------------------------------------------------------------------------


async def test_start_at_once(site: Site) -> None:
    status, told = await site.post("/api/models/a/start")
    assert (status, told["name"]) == (202, "a")
    assert told["waiting"] == 1 or told["state"] in ("starting", "ready")
    await site.house.reaches("a", "ready")


async def test_start_and_wait(site: Site) -> None:
    status, told = await site.post("/api/models/a/start?wait=1")
    assert (status, told["state"]) == (200, "ready")
    assert await site.post("/api/models/a/start?wait=1") == (
        200,
        (await site.get("/api/models/a/info"))[1]
        | {"state_seconds": pytest.approx(0, abs=60)}
        | {"idle_seconds": pytest.approx(0, abs=60)},
    )


async def test_a_start_that_fails_says_why(site: Site) -> None:
    site.house.launcher.error = FileNotFoundError("x.sh does not exist")
    status, told = await site.post("/api/models/a/start?wait=1")
    assert (status, told["error"]["code"]) == (503, "model_failed")
    assert "x.sh does not exist" in told["error"]["message"]
    assert (await site.get("/api/models/a/info"))[1]["failure"]["reason"] == "x.sh does not exist"


async def test_stop(site: Site) -> None:
    await site.house.ready("a")
    status, told = await site.post("/api/models/a/stop")
    assert (status, told["state"] in ("draining", "stopping", "stopped")) == (202, True)
    await site.house.reaches("a", "stopped")
    assert (await site.post("/api/models/a/stop?wait=1"))[1]["state"] == "stopped"


async def test_stop_and_wait(site: Site) -> None:
    await site.house.ready("a")
    status, told = await site.post("/api/models/a/stop?wait=1")
    assert (status, told["state"], told["pid"]) == (200, "stopped", None)
    assert site.house.launcher.alive == []


@pytest.mark.parametrize(
    "alias",
    ["Qwen/Qwen3-8B", "Qwen%2FQwen3-8B", "qwen%2fqwen3-8b", "%E6%A8%A1%E5%9E%8B%20100%25",
     "x/logs", "x%2Flogs", "%2e%2e", ".."],
)  # fmt: skip
async def test_any_alias_in_a_path(site: Site, alias: str) -> None:
    for method, verb in (("POST", "start?wait=1"), ("GET", "info"), ("GET", "logs")):
        status, told = await _raw_get(site, f"/api/models/{alias}/{verb}", method)
        assert status == 200, told
        assert told.get("name", told.get("model")) == "Qwen/Qwen3-8B"
    assert (await _raw_get(site, f"/api/models/{alias}/stop?wait=1", "POST"))[0] == 200


async def _raw_get(site: Site, target: str, method: str = "GET") -> tuple[int, Any]:
    """With the target as it is written, which aiohttp's client would tidy up."""
    answer = await site.raw(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


async def test_restart_of_the_auto_start_models(site: Site) -> None:
    await site.house.ready("a", "b")
    assert await site.post("/api/models/restart-autostart") == (202, {"models": ["b"]})
    await until(lambda: len(site.house.launcher.processes) == 3)
    await site.house.reaches("b", "ready")
    assert site.house.process.instance_id == "b#3"


@pytest.mark.parametrize(("query", "status"), [("?wait=1", 200), ("", 202)])
async def test_stop_all(site: Site, query: str, status: int) -> None:
    assert await site.post(f"/api/models/stop-all{query}") == (status, {"models": []})
    await site.house.ready("a", "b")
    assert await site.post(f"/api/models/stop-all{query}") == (status, {"models": ["a", "b"]})
    if not query:
        await until(lambda: not site.house.launcher.alive)
    assert site.house.launcher.alive == []


async def test_a_model_that_is_removed_while_one_waits(site: Site) -> None:
    house = site.house
    house.interface.healthy = False
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(site.post("/api/models/a/start?wait=1"))
        await until(lambda: house.launcher.processes)
        new = config_of(B, ODD)
        change = diff(house.controller.config, new)
        assert change is not None
        site.catalog.replace(new)
        house.controller.apply(new, change)
        house.process.exit(0)
        status, told = await asking
    assert (status, told["error"]["code"]) in ((503, "model_stopped"), (404, "model_not_found"))


# ---- logs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "lines"),
    [("", 200), ("?lines=3", 3), ("?lines=0", 0), ("?lines=-5", 0), ("?lines=x", 200),
     ("?lines=99999", 300)],
)  # fmt: skip
async def test_logs(site: Site, query: str, lines: int) -> None:
    site.output("a").add([f"line {n}" for n in range(300)])
    status, told = await site.get(f"/api/models/a/logs{query}")
    assert (status, told["model"]) == (200, "a")
    assert told["lines"] == [f"line {n}" for n in range(300)][300 - lines :]


class Events:
    """The events of an open stream, one by one."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def next(self) -> tuple[str, Any]:
        kind, data = "", []
        async for raw in self.answer.content:
            name, _, value = raw.decode().rstrip("\n").partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                data.append(value)
            elif not name and data:
                return kind, json.loads("\n".join(data))
        raise EOFError

    async def until(self, kind: str, **wanted: Any) -> Any:
        """The data of the next event of this kind with these values."""
        while True:
            found, data = await self.next()
            if found == kind and wanted.items() <= data.items():
                return data


@contextlib.asynccontextmanager
async def stream(site: Site, path: str) -> AsyncIterator[Events]:
    async with asyncio.timeout(60), site.session.get(path) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert answer.headers["Cache-Control"] == "no-store"
        yield Events(answer)


async def test_a_log_as_it_comes(site: Site) -> None:
    output = site.output("a")
    output.add(["one", "two"])
    async with stream(site, "/api/models/a/logs/stream?lines=1") as events:
        assert await events.next() == ("", {"line": "two"})
        evil = "x\u2028data: y\u2029\x85"
        output.add([evil, "three"])
        assert await events.next() == ("", {"line": evil})
        assert await events.next() == ("", {"line": "three"})


async def test_an_output_that_is_closed_ends_the_stream(site: Site) -> None:
    output = site.output("a")
    output.add(["one"])
    async with stream(site, "/api/models/a/logs/stream") as events:
        await events.next()
        output.close()
        with pytest.raises(EOFError):
            await events.next()


# ---- the event stream --------------------------------------------------------------------------


async def test_events_begin_with_a_picture_and_go_on_with_every_change(site: Site) -> None:
    async with stream(site, "/api/events") as events:
        kind, picture = await events.next()
        assert kind == "snapshot"
        assert [m["state"] for m in picture["models"]] == ["stopped"] * 3
        await site.post("/api/models/a/start")
        ready = await events.until("InstanceChanged", model="a", state="ready")
        assert (ready["instance"], ready["status"]["state"]) == ("a#1", "ready")
        site.house.bus.publish(DevicesChanged())
        assert await events.until("DevicesChanged") == {}


async def test_nothing_is_lost_between_the_picture_and_the_changes(site: Site) -> None:
    """An event that comes while the snapshot is being written must not fall into a gap."""
    api = AdminApi(site.sources)
    sent: list[str] = []

    async def collect(request: Any, closing: asyncio.Event, *sources: Any) -> Any:
        async for text in sources[0]:
            if not sent:
                site.house.bus.publish(DevicesChanged())
            sent.append(text)
            if len(sent) == 2:
                return None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.admin_api.send_events", collect)
        async with asyncio.timeout(60):
            await api.events(None)  # type: ignore[arg-type]
    assert [text.splitlines()[0] for text in sent] == ["event: snapshot", "event: DevicesChanged"]


async def test_an_event_of_a_model_that_is_gone(site: Site) -> None:
    async with stream(site, "/api/events") as events:
        await events.next()
        await site.house.ready("a")
        site.house.controller.config = config_of(B)
        site.house.process.exit(0)
        gone = await events.until("InstanceChanged", state="failed")
        assert "status" not in gone


@pytest.mark.parametrize("path", ["/api/events", "/api/models/a/logs/stream"])
async def test_head_does_not_stay(site: Site, path: str) -> None:
    async with asyncio.timeout(60), site.session.head(path) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert await answer.read() == b""


PATHS = ["/api/events", "/api/models/a/logs/stream"]


@pytest.mark.parametrize("path", PATHS)
async def test_the_end_of_the_program_ends_the_stream(site: Site, path: str) -> None:
    site.output("a").add(["one"])
    async with stream(site, path) as events:
        await events.next()
        site.closing.set()
        assert b"event: error" not in await events.answer.read()
    async with asyncio.timeout(60), site.session.get(path) as late:
        await late.read()


@pytest.mark.parametrize("path", PATHS)
async def test_a_client_that_leaves_leaves_nothing_behind(
    site: Site, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    output = site.output("a")
    output.add(["one"])
    before = len(asyncio.all_tasks())
    for number in range(5):
        async with connected(site.port) as (reader, writer):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            await reader.readuntil(b"data:")
            if number % 2:
                writer.transport.abort()
            output.add(["more"])
            site.house.bus.publish(DevicesChanged())
    await until(lambda: len(asyncio.all_tasks()) <= before)
    assert not site.house.bus._subscriptions
    assert caplog.text == ""


@pytest.mark.parametrize("path", PATHS)
async def test_a_client_that_does_not_read_holds_up_nobody(site: Site, path: str) -> None:
    output = site.output("a")
    output.add(["one"])
    async with connected(site.port) as (reader, writer):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await reader.readuntil(b"data:")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(200):
            output.add(["x" * 8000] * 20)
            site.house.bus.publish(DevicesChanged())
            await asyncio.sleep(0)
        async with asyncio.timeout(60):
            assert (await site.get("/health"))[0] == 200
            site.closing.set()
        # Leaving the block must not wait either: the site is torn down with the stream half sent.
