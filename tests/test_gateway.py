"""The recipe of a model request, in front of a real socket that plays the server."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from core.domain import Model
from core.events import RequestFinished
from core.gateway import model_name, rename
from tests.fakes.site import Site
from tests.fakes.waiting import until
from tests.scheduling.worlds import model, variant

CHAT = "/v1/chat/completions"
FORM = "/v1/audio/transcriptions"
JSON_TYPE = "application/json"


class Upstream:
    """What a model's server gets, and what it says."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.release = asyncio.Event()
        self.release.set()
        self.answer: Callable[[web.Request], Awaitable[web.StreamResponse]] = self.plain

    async def plain(self, request: web.Request) -> web.Response:
        return web.json_response({"answer": 42})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.got.append((request.raw_path, dict(request.headers), await request.read()))
        await self.release.wait()
        return await self.answer(request)


@pytest.fixture
async def upstream() -> AsyncIterator[tuple[Upstream, int]]:
    server = Upstream()
    app = web.Application(client_max_size=0)
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield server, runner.addresses[0][1]
    await runner.cleanup()


@pytest.fixture
def server(upstream: tuple[Upstream, int]) -> Upstream:
    return upstream[0]


@pytest.fixture
def chat(upstream: tuple[Upstream, int]) -> Model:
    return model("chat", variant(gpu=10), port=upstream[1])


def body(name: str = "chat", **more: Any) -> bytes:
    return json.dumps({"model": name, **more}).encode()


# ---- the way there and back --------------------------------------------------------------------


async def test_bytes_go_through_untouched(server: Upstream, chat: Model) -> None:
    sent = b'{ "x": 1.50, "model" :"chat", "n": [1e3, "\\u00e9"] }\n'
    async with Site(chat) as site:
        async with site.session.post(f"{CHAT}?a=1", data=sent) as answer:
            assert await answer.json() == {"answer": 42}
    path, headers, got = server.got[0]
    assert (path, got) == (f"{CHAT}?a=1", sent)
    assert headers["Content-Length"] == str(len(sent))


async def test_another_name_for_the_server(server: Upstream, chat: Model) -> None:
    async with Site(replace(chat, upstream_model="real/name")) as site:
        await site.post(CHAT, data=b'{"x": 1.50, "model": "chat", "model ": [1e3]}')
    assert server.got[0][2] == b'{"x":1.50,"model":"real/name","model ":[1e3]}'


async def test_a_compressed_body_arrives_in_plain(server: Upstream, chat: Model) -> None:
    async with Site(chat) as site:
        packed = gzip.compress(body())
        assert (await site.post(CHAT, data=packed, headers={"Content-Encoding": "gzip"}))[0] == 200
    _, headers, got = server.got[0]
    assert got == body()
    assert "Content-Encoding" not in headers


@pytest.mark.parametrize("renamed", [None, "whisper-1"])
async def test_a_form_with_files(server: Upstream, chat: Model, renamed: str | None) -> None:
    sound = bytes(range(256)) * 100
    form = aiohttp.FormData()
    form.add_field("file", sound, filename="a.wav", content_type="audio/wav")
    form.add_field("model", "chat")
    form.add_field("language", "en")
    async with Site(replace(chat, upstream_model=renamed)) as site:
        assert (await site.post(FORM, data=form))[0] == 200
    _, headers, got = server.got[0]
    assert int(headers["Content-Length"]) == len(got)
    stand_in = headers["Content-Type"]
    assert model_name(stand_in, got) == (renamed or "chat")
    assert sound in got


async def test_a_page_that_may_ask_may_also_read(server: Upstream, chat: Model) -> None:
    async with Site(chat, origins=["https://ui.example"]) as site:
        for origin in ("https://ui.example", "http://localhost:3000"):
            headers = {"Origin": origin}
            async with site.session.post(CHAT, data=body(), headers=headers) as answer:
                assert answer.headers["Access-Control-Allow-Origin"] == origin


# ---- refusals ----------------------------------------------------------------------------------


async def test_what_the_interface_says_of_the_path(server: Upstream, chat: Model) -> None:
    async with Site(chat) as site:
        site.plugins.chat.answer = (False, "the plugin's own message")
        status, told = await site.post(CHAT, data=body())
        assert status == 400
        assert told["error"]["code"] == "endpoint_not_supported"
        assert told["error"]["message"] == "the plugin's own message"
        assert site.house.launcher.processes == []


@pytest.mark.parametrize("answer", [None, True, (True,), "ab c"])
async def test_an_interface_that_answers_nonsense(
    server: Upstream, chat: Model, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with Site(chat) as site:
        site.plugins.chat.answer = answer
        status, told = await site.post(CHAT, data=body())
        assert (status, told["error"]["code"]) == (503, "model_failed")
        assert "interface plugin 'Chat'" in told["error"]["message"]
        assert site.house.launcher.processes == []


async def test_an_interface_that_breaks(
    server: Upstream, chat: Model, caplog: pytest.LogCaptureFixture
) -> None:
    async with Site(chat) as site:
        site.plugins.chat.error = ValueError("broken")
        status, told = await site.post(CHAT, data=body())
        assert (status, told["error"]["code"]) == (503, "model_failed")
        assert "broken" in told["error"]["message"]
    assert "Traceback" in caplog.text


async def test_an_interface_that_went(server: Upstream, chat: Model) -> None:
    async with Site(chat) as site:
        site.plugins.interfaces.clear()
        status, told = await site.post(CHAT, data=body())
        assert (status, told["error"]["code"]) == (503, "model_failed")
        assert "'Chat'" in told["error"]["message"]


async def test_a_new_endpoint_is_served_once_the_plugins_were_read_again(
    server: Upstream, chat: Model
) -> None:
    async with Site(chat) as site:
        assert (await site.post("/v1/new", data=body()))[0] == 404
        site.plugins.paths.append("/v1/new")
        site.gateway.plugins_changed()
        assert (await site.post("/v1/new", data=body()))[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("POST", "/chat/completions", "/chat/completions: did you mean /v1/chat/completions?"),
        ("POST", "/v1/v1/chat/completions", "completions: did you mean /v1/chat/completions?"),
        ("POST", "/v1/chat/completions/", "completions/: did you mean /v1/chat/completions?"),
        ("GET", "/models", "/models: did you mean /v1/models?"),
        ("GET", "/v1/models/", "/v1/models/: did you mean /v1/models?"),
        ("POST", "/v1/nothing", "there is nothing at /v1/nothing"),
        ("POST", "/api/chat", "there is nothing at /api/chat"),
    ],
)
async def test_a_wrong_base_url_is_recognised(method: str, path: str, words: str) -> None:
    async with Site(model("a", variant(gpu=10)), gpu=100) as site:
        status, answer = await site.ask(method, path)
    assert (status, answer["error"]["code"]) == (404, "not_found")
    assert answer["error"]["message"].endswith(words)


@pytest.mark.parametrize("target", ["/v1/chat%2fcompletions", "/v1/x/../chat/completions"])
async def test_an_ambiguous_path_starts_nothing(server: Upstream, chat: Model, target: str) -> None:
    async with Site(chat) as site:
        data = body()
        head = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
        assert b" 400 " in await site.raw(head.encode() + data)
        assert site.house.launcher.processes == []


async def test_a_server_that_breaks_the_answer(server: Upstream, chat: Model) -> None:
    async def hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with Site(chat) as site:
        server.answer = hang_up
        status, told = await site.post(CHAT, data=body())
        assert (status, told["error"]["code"]) == (502, "upstream_error")
        instance = site.house.controller.fleet.of("chat")
        assert instance is None or not instance.leases


# ---- what is told of it ------------------------------------------------------------------------


async def test_a_request_in_flight_and_its_end(
    server: Upstream, chat: Model, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "core.gateway")
    finished: list[RequestFinished] = []
    async with Site(chat) as site:
        site.house.bus.listen(
            lambda e: finished.append(e) if isinstance(e, RequestFinished) else None
        )
        server.release.clear()
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(site.post(CHAT, data=body()))
            await until(lambda: server.got)
            (flight,) = site.gateway.flights.in_flight.values()
            assert (flight.model, flight.path, flight.client) == ("chat", CHAT, "127.0.0.1")
            server.release.set()
        assert asking.result()[0] == 200
        assert site.gateway.flights.in_flight == {}
        assert site.house.controller.fleet.of("chat").leases == 0  # type: ignore[union-attr]
    (event,) = finished
    assert (event.model, event.instance, event.path) == ("chat", "chat#1", CHAT)
    assert (event.status, event.outcome) == (200, "ok")
    assert event.seconds >= 0
    assert any("chat#1 /v1/chat/completions 200 ok" in message for message in caplog.messages)


async def test_a_client_that_leaves_costs_nothing(server: Upstream, chat: Model) -> None:
    finished: list[Any] = []
    async with Site(chat) as site:
        site.house.bus.listen(finished.append)
        server.release.clear()
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(site.post(CHAT, data=body()))
            await until(lambda: server.got)
            asking.cancel()
        instance = site.house.controller.fleet.of("chat")
        assert instance is not None
        await until(lambda: not instance.leases and not site.gateway.flights.in_flight)
        ends = [e for e in finished if isinstance(e, RequestFinished)]
        assert [(e.status, e.outcome) for e in ends] == [(0, "client_closed")]
        server.release.set()


async def test_a_request_can_be_broken_off(server: Upstream, chat: Model) -> None:
    async with Site(chat) as site:
        assert site.gateway.flights.cancel(1) is False
        server.release.clear()
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(_outcome(site))
            await until(lambda: site.gateway.flights.in_flight)
            (number,) = site.gateway.flights.in_flight
            assert site.gateway.flights.cancel(number) is True
        assert isinstance(asking.result(), aiohttp.ClientError)
        assert site.gateway.flights.cancel(number) is False
        assert site.house.controller.fleet.of("chat").leases == 0  # type: ignore[union-attr]
        server.release.set()
        assert (await site.post(CHAT, data=body()))[0] == 200


async def _outcome(site: Site) -> Any:
    try:
        return await site.post(CHAT, data=body())
    except aiohttp.ClientError as error:
        return error


# ---- names in bodies ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "multipart/form-data"])
@pytest.mark.parametrize("form", [b"", b"--x--", b"{}", b"--x\r\n\r\n\r\n--x--"])
async def test_a_bad_form_is_the_client_s_fault(chat: Model, form: bytes, kind: str) -> None:
    async with Site(chat) as site:
        async with site.session.post(FORM, data=form, headers={"Content-Type": kind}) as answer:
            assert answer.status == 400
            assert (await answer.json())["error"]["code"] in ("invalid_json", "missing_model")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(), JSON, max_size=5), st.text(min_size=1))
def test_renaming_changes_nothing_else(fields: dict[str, Any], name: str) -> None:
    before = json.dumps({**fields, "model": "old"}).encode()
    assert json.loads(rename(JSON_TYPE, before, name)) == {**fields, "model": name}


def test_renaming_keeps_every_number_s_very_bytes() -> None:
    raw = b'{"big": 123456789012345678901234567890, "model": 1, "exact": 0.10000000000000000001}'
    assert rename(JSON_TYPE, raw, "n") == (
        b'{"big":123456789012345678901234567890,"model":"n","exact":0.10000000000000000001}'
    )


def test_a_body_that_is_no_object_is_not_renamed() -> None:
    with pytest.raises(msgspec.DecodeError):
        rename(JSON_TYPE, b"[]", "n")
