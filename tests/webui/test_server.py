"""Every page over HTTP: it renders, it is safe, and it changes nothing."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from core.domain import DeviceReading, Failure
from core.events import RequestFinished
from core.states import State
from tests.webui.worlds import Flight, World, devices, plugin_status, status
from webui.server import Dashboard

NASTY = (
    "<img src=x onerror=alert(1)>",
    '"onmouseover="alert(1)',
    "javascript:alert(1)",
    "</script><script>alert(1)</script>",
    "{{ 7*7 }}",
    "a/b?c#d &amp; e",
)
Client = TestClient[web.Request, web.Application]


class Parser(HTMLParser):
    """What a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.append(name)
            if name in ("href", "src", "action"):
                self.links.append(value or "")


@pytest.fixture
def world(tmp_path: Path) -> World:
    gpu = DeviceReading("gpu", True, 1000, 600, 400)
    return World(tmp_path, [status("a"), status("e", mode="Embedding")], devices(gpu))


@pytest.fixture
async def open_client(world: World) -> AsyncIterator[Callable[[], Awaitable[Client]]]:
    clients: list[Client] = []

    async def opened() -> Client:
        app = web.Application()
        app.add_routes(Dashboard(world.sources(closing=asyncio.Event())).routes())
        clients.append(TestClient(TestServer(app)))
        await clients[-1].start_server()
        return clients[-1]

    yield opened
    for client in clients:
        await client.close()


@pytest.fixture
async def client(open_client: Callable[[], Awaitable[Client]]) -> Client:
    return await open_client()


def pages(name: str) -> list[str]:
    path = f"/models/{quote(name, safe='')}"
    own = [path, f"{path}/log", f"{path}/try", f"{path}/requests"]
    return ["/", "/log", "/requests", "/plugins", "/config", *own]


@pytest.mark.parametrize("language", ["zh-CN", "en"])
async def test_every_page_renders_with_its_guards(client: Client, language: str) -> None:
    for path in [*pages("a"), *pages("e")]:
        answer = await client.get(path, headers={"Accept-Language": language})
        assert answer.status == 200, path
        html = await answer.text()
        assert f'<html lang="{language}"' in html
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_panel_alone_where_the_page_asks_for_it(client: Client) -> None:
    panel = await (await client.get("/models/a", headers={"HX-Request": "true"})).text()
    assert "<html" not in panel
    assert 'id="panel"' in panel
    history = {"HX-Request": "true", "HX-History-Restore-Request": "true"}
    assert "<html" in await (await client.get("/models/a", headers=history)).text()
    closed = await (await client.get("/", headers={"HX-Request": "true"})).text()
    assert 'id="panel"' not in closed


async def test_an_unknown_model_is_a_page_that_says_so(client: Client) -> None:
    answer = await client.get("/models/nobody/log")
    assert answer.status == 404
    assert "nobody" in await answer.text()


@pytest.mark.parametrize("nasty", NASTY)
async def test_no_text_becomes_markup(
    world: World, open_client: Callable[[], Awaitable[Client]], nasty: str
) -> None:
    def everything(name: str) -> None:
        failure = Failure(name, exit_code=1, log_tail=(name,))
        failed = status(name, state=State.FAILED, failure=failure, mode=name)
        loading = status("l", state=State.STARTING, variant=name, stage=name, last_line=name)
        world.statuses[:] = [
            replace(failed, aliases=(name, name + "2")),
            replace(loading, memory_mb={"gpu": 5}),
            status("u", startable=name),
            status("own" + name, state=State.READY, variant="A", memory_mb={"gpu": 100}),
        ]
        gone = DeviceReading(name, False, error=name)
        world.readings = {**devices(DeviceReading("gpu", True, 1000, 600, 400)), name: gone}
        world.flights = {1: Flight(name, path=name, client=name)}
        world.plugins = plugin_status(name)
        world.problems = (name,)

    everything("plain")
    harmless = await open_client()
    expected = {}
    for path in pages("plain"):
        world.bus.publish(RequestFinished("plain", "i", "plain", 200, 1.0, "ok"))
        expected[path] = await structure(harmless, path)
    everything(nasty)
    client = await open_client()
    for plain, path in zip(pages("plain"), pages(nasty), strict=True):
        world.bus.publish(RequestFinished(nasty, "i", nasty, 200, 1.0, "ok"))
        tags, attributes, links = await structure(client, path)
        assert (tags, attributes) == expected[plain][:2], path
        assert all(link.startswith("/") or link.startswith("#") for link in links), path


async def structure(client: Client, path: str) -> tuple[list[str], list[str], list[str]]:
    parser = Parser()
    parser.feed(await (await client.get(URL(path, encoded=True))).text())
    return parser.tags, parser.attributes, parser.links


async def test_cookies_choose_language_and_appearance(client: Client) -> None:
    cookies = "llm-manager-language=zh; llm-manager-theme=dark"
    html = await (await client.get("/", headers={"Cookie": cookies})).text()
    assert '<html lang="zh-CN" data-theme="dark"' in html
    forged = 'llm-manager-language=xx; llm-manager-theme="><script>'
    html = await (await client.get("/", headers={"Cookie": forged})).text()
    assert '<html lang="en" data-theme="auto"' in html


async def test_first_run_and_empty_states(
    world: World, open_client: Callable[[], Awaitable[Client]]
) -> None:
    world.statuses[:] = [status("demo-chat", starts=0)]
    html = await (await (await open_client()).get("/")).text()
    assert 'id="welcome"' in html
    world.statuses[:] = [status("demo-chat", starts=1)]
    assert 'id="welcome"' not in await (await (await open_client()).get("/")).text()
    world.statuses.clear()
    world.readings = {}
    html = await (await (await open_client()).get("/")).text()
    assert "No models are configured yet" in html
    assert "There are no devices" in html


async def test_static_files_are_looked_up_by_name(client: Client) -> None:
    page = await (await client.get("/")).text()
    version = page.split("/static/")[1].split("/")[0]
    known = await client.get(f"/static/{version}/app.js")
    assert known.headers["Content-Type"].startswith("text/javascript")
    assert "immutable" in known.headers["Cache-Control"]
    assert known.headers["Content-Encoding"] == "gzip"
    old = await client.get("/static/old/app.css")
    assert old.headers["Cache-Control"] == "no-cache"
    for bad in ("../server.py", "%2e%2e/server.py", "..%2fserver.py", "app.js%00", "vendor", "x"):
        url = URL(f"/static/{version}/{bad}", encoded=True)
        assert (await client.get(url)).status == 404, bad


async def test_the_stream_sends_changes_and_the_log(client: Client, world: World) -> None:
    world.output("a").add(["a line"])
    query = {"panel": "model", "name": "a", "tab": "log"}
    async with client.get("/live", params=query) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        seen: set[str] = set()
        async with asyncio.timeout(10):
            async for line in answer.content:
                if line.startswith(b"event: "):
                    seen.add(line.decode()[7:].strip())
                if b"a line" in line and seen == {"update", "history", "log"}:
                    return
    raise AssertionError(seen)


async def test_a_flood_leaves_the_loop_its_turns(client: Client, world: World) -> None:
    """Three tabs watch a log that grows as fast as it is taken, by far more than 10,000 lines a
    second. How long a turn of the loop works is told in this thread's own time: what else runs
    on the machine does not count."""
    output, stream = world.output("a"), asyncio.StreamReader()
    query = {"panel": "model", "name": "a", "tab": "log"}
    chunk = b"".join(
        b"\x1b[32mline\x1b[0m %06d of many, as servers print them\n" % n for n in range(1000)
    )
    shown: list[set[str]] = [set(), set(), set()]
    turns: list[float] = []
    everybody_listens = asyncio.Event()

    async def watch(seen: set[str]) -> None:
        async with client.get("/live", params=query) as answer:
            async for line in answer.content:
                if b"last words" in line:
                    return
                if line.startswith(b"data: ") and b"of many" in line:
                    seen.add(line.decode()[:200])
                    if all(shown):
                        everybody_listens.set()

    async def flood() -> None:
        stream.feed_data(chunk)
        await everybody_listens.wait()
        for _ in range(60):
            stream.feed_data(chunk)
            while stream._buffer:  # type: ignore[attr-defined]
                await asyncio.sleep(0)
        stream.feed_data(b"last words\n")
        stream.feed_eof()

    async def measure() -> None:
        while True:
            began = time.thread_time()
            await asyncio.sleep(0)
            turns.append(time.thread_time() - began)

    async with asyncio.TaskGroup() as tasks:
        measuring = tasks.create_task(measure())
        tasks.create_task(flood())
        watching = [tasks.create_task(watch(seen)) for seen in shown]
        await output.read_from(stream)
        await asyncio.wait(watching)
        measuring.cancel()
    assert output.tail(1) == ["last words"]
    assert max(turns) < 0.05


async def test_polling_gives_the_same_as_json(client: Client, world: World) -> None:
    world.output("a").add(["a line"])
    query = {"once": "1", "panel": "model", "name": "a", "tab": "log"}
    data = await (await client.get("/live", params=query)).json()
    assert data["log"]["lines"] == ["a line"]
    known = {key: str(data["update"][key]) for key in ("boot", "version")}
    again = await client.get("/live", params={**query, **known, "language": "en"})
    assert (await again.json())["update"]["html"] == {}
    other = await client.get("/live", params={**query, **known, "boot": "x", "language": "en"})
    assert (await other.json())["update"]["html"] != {}


@pytest.mark.parametrize("version", ["-1", "x", "9" * 40, "١", "1e5"])
async def test_nonsense_in_the_query_is_an_unknown_version(client: Client, version: str) -> None:
    answer = await client.get("/live", params={"once": "1", "version": version, "panel": "../x"})
    assert "models" in (await answer.json())["update"]["html"]


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("zh", "配置中已没有这个模型"),
        ("en", "it is no longer configured"),
        ("de", "it is no longer configured"),
    ],
)
async def test_errors_of_the_api_in_the_language_of_the_page(
    client: Client, language: str, said: str
) -> None:
    query = {"text": "it is no longer configured"}
    answer = await client.get("/sentence", params=query, headers={"Accept-Language": language})
    assert await answer.json() == {"text": said}


async def test_only_get_is_served(client: Client) -> None:
    for path in [*pages("a"), "/live", "/sentence"]:
        assert (await client.post(path)).status == 405, path


async def test_the_end_of_the_program_ends_the_streams(world: World) -> None:
    closing = asyncio.Event()
    app = web.Application()
    app.add_routes(Dashboard(world.sources(closing=closing)).routes())
    async with TestClient(TestServer(app)) as client:
        answers = [await client.get("/live") for _ in range(6)]
        closing.set()
        async with asyncio.timeout(10):
            for answer in answers:
                await answer.read()


async def test_script_texts_are_json_in_an_attribute(client: Client) -> None:
    html = await (await client.get("/")).text()

    class Body(HTMLParser):
        texts = ""

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag == "body":
                self.texts = dict(attrs)["data-texts"] or ""

    body = Body()
    body.feed(html)
    assert json.loads(body.texts)["live"] == "Live"
