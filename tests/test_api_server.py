"""What every request passes through, on real sockets."""

from __future__ import annotations

import gzip
import json
import logging
import re
import time
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from core import errors
from core.api_server import BODY_LIMIT, front_door, render
from core.app import App, Options
from core.config.store import ConfigStore
from core.errors import LLMManagerError, MethodNotAllowed, QueueFull
from core.listening import Listener
from tests.fakes.site import Site, connected, error_code
from tests.scheduling.worlds import model, variant

A = model("a", variant(gpu=10))
CHAT = "/v1/chat/completions"


async def broken(request: web.Request) -> web.Response:
    raise ZeroDivisionError("a secret detail")


async def not_modified(request: web.Request) -> web.Response:
    raise web.HTTPNotModified()


async def teapot(request: web.Request) -> web.Response:
    raise web.HTTPRequestEntityTooLarge(1)


async def varied(request: web.Request) -> web.Response:
    return web.Response(text="x", headers={"Vary": "Cookie"})


ODD = [
    web.get("/broken", broken),
    web.get("/same", not_modified),
    web.get("/large", teapot),
    web.get("/varied", varied),
]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with Site(A, origins=["https://ui.example"], more=ODD) as site:
        yield site


# ---- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, LLMManagerError)],
)
def test_every_error_is_rendered_alike(kind: type[LLMManagerError]) -> None:
    answer = render(kind("what happened"))
    assert (answer.status, answer.content_type) == (kind.status, "application/json")
    assert answer.text is not None
    assert json.loads(answer.text)["error"]["code"] == kind.code
    assert "Retry-After" not in answer.headers


@pytest.mark.parametrize(("wait", "told"), [(0.0, "1"), (0.2, "1"), (2.4, "2"), (60.0, "60")])
def test_when_to_try_again(wait: float, told: str) -> None:
    assert render(QueueFull("full", retry_after=wait)).headers["Retry-After"] == told


def test_a_wrong_method_names_the_right_ones() -> None:
    assert render(MethodNotAllowed("no", allow="GET, HEAD")).headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/v1/nowhere", 404, "not_found"),
        ("POST", "/v1/nowhere", 404, "not_found"),
        ("GET", "/api/models/nobody/info", 404, "model_not_found"),
        ("POST", "/api/models/nobody/start", 404, "model_not_found"),
        ("GET", "/v1/models/nobody", 404, "model_not_found"),
        ("GET", CHAT, 405, "method_not_allowed"),
        ("DELETE", CHAT, 405, "method_not_allowed"),
        ("POST", "/api/info", 405, "method_not_allowed"),
        ("PUT", "/api/models", 405, "method_not_allowed"),
        ("GET", "/api/models/a/start", 405, "method_not_allowed"),
        ("DELETE", "/api/models/a/info", 405, "method_not_allowed"),
        ("GET", "/v1/%2e%2e/api", 400, "bad_request"),
        ("GET", "/large", 413, "body_too_large"),
        ("GET", "/broken", 500, "internal_error"),
    ],
)
async def test_errors(site: Site, method: str, path: str, status: int, code: str) -> None:
    sent = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert error_code(await site.raw(sent.encode())) == (status, code)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", CHAT, "POST"),
        ("POST", "/api/info", "GET, HEAD"),
        ("GET", "/api/models/a/stop", "POST"),
    ],
)
async def test_allow(site: Site, method: str, path: str, allow: str) -> None:
    async with site.session.request(method, path) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, allow)


async def test_a_fault_of_our_own_is_logged_and_not_told(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    status, told = await site.get("/broken")
    assert status == 500
    assert told["error"]["message"] == "ZeroDivisionError inside LLM-Manager"
    assert "GET /broken failed" in caplog.messages
    assert "a secret detail" in caplog.text


async def test_what_is_no_error_passes(site: Site) -> None:
    async with site.session.get("/same") as answer:
        assert answer.status == 304


async def test_head(site: Site) -> None:
    for path, status in (("/health", 200), ("/nowhere", 404), ("/api/models/a/start", 405)):
        async with site.session.head(path) as answer:
            assert (answer.status, await answer.read()) == (status, b"")


# ---- OPTIONS and CORS --------------------------------------------------------------------------


async def test_options(site: Site) -> None:
    for path in ("/api/info", CHAT, "/nowhere"):
        async with site.session.options(path) as answer:
            assert answer.status == 204
            assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, POST"
            assert not any(name.startswith("Access-Control") for name in answer.headers)


PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, content-type",
}


@pytest.mark.parametrize(
    ("path", "origin", "allowed"),
    [
        (CHAT, "https://ui.example", True),
        (CHAT, "http://localhost:3000", True),
        ("/api/models/a/start", "https://ui.example", True),
        ("/api/models/a/start", "http://localhost:3000", False),
        (CHAT, "https://evil.example", False),
        (CHAT, "null", False),
    ],
)
async def test_a_preflight(site: Site, path: str, origin: str, allowed: bool) -> None:
    async with site.session.options(path, headers={**PREFLIGHT, "Origin": origin}) as answer:
        assert answer.status == 204
        headers = answer.headers
    assert headers.get("Access-Control-Allow-Origin") == (origin if allowed else None)
    assert headers["Access-Control-Allow-Headers"] == "authorization, content-type"
    assert "POST" in headers["Access-Control-Allow-Methods"]
    assert "Origin" in headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in headers
    assert "Access-Control-Allow-Private-Network" not in headers


@pytest.mark.parametrize("path", ["/api/models", "/nowhere", "/api/events", "/varied", "/broken"])
async def test_a_declared_page_can_read_every_answer(site: Site, path: str) -> None:
    async with site.session.get(path, headers={"Origin": "https://ui.example"}) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == "https://ui.example"
        assert "Origin" in answer.headers["Vary"]
    async with site.session.get(path, headers={"Origin": "https://evil.example"}) as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_what_else_an_answer_varies_with_stays(site: Site) -> None:
    async with site.session.get("/varied", headers={"Origin": "https://ui.example"}) as answer:
        assert answer.headers["Vary"] == "Cookie, Origin"
    async with site.session.get("/varied") as answer:
        assert answer.headers["Vary"] == "Cookie"


# ---- Expect ------------------------------------------------------------------------------------


def expecting(expect: str = "100-continue", **headers: str) -> bytes:
    fields = {"Host": "localhost", "Expect": expect, "Connection": "close", **headers}
    lines = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in fields.items())
    return f"POST {CHAT} HTTP/1.1\r\n{lines}\r\n".encode()


async def test_a_body_is_asked_for(site: Site) -> None:
    body = b'{"model": "nobody"}'
    answer = await site.raw(expecting(Content_Length=str(len(body))), then=body)
    assert error_code(answer) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Host": "evil.example"}, 403, "host_not_allowed"),
        ({"Origin": "https://evil.example"}, 403, "origin_not_allowed"),
        ({"Content_Length": str(BODY_LIMIT + 1)}, 413, "body_too_large"),
        ({"expect": "the-impossible"}, 400, "bad_request"),
    ],
)
async def test_a_body_is_not_asked_for(
    site: Site, headers: dict[str, str], status: int, code: str
) -> None:
    answer = await site.raw(expecting(**{"Content_Length": "19", **headers}))
    assert b"100 Continue" not in answer
    assert error_code(answer) == (status, code)


# ---- bodies ------------------------------------------------------------------------------------


async def send(site: Site, body: bytes, **headers: str) -> tuple[int, str]:
    given = {k.replace("_", "-"): v for k, v in headers.items()}
    async with site.session.post(CHAT, data=body, headers=given) as answer:
        return answer.status, (await answer.json())["error"]["code"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"[]", "invalid_json"),
        (b'"model"', "invalid_json"),
        (b'{"model": "a"} x', "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        (b'{"model": "\xff"}', "invalid_json"),
        (b"model=a", "invalid_json"),
        (b"{}", "missing_model"),
        (b'{"model": null}', "missing_model"),
        (b'{"model": ""}', "missing_model"),
        (b'{"model": 1}', "missing_model"),
        (b'{"model": ["a"]}', "missing_model"),
        (b'{"Model": "a"}', "missing_model"),
        (b'{"model": "nobody"}', "model_not_found"),
        (b'{"model": "a\\u0000"}', "model_not_found"),
    ],
)
async def test_bodies(site: Site, body: bytes, code: str) -> None:
    status = 404 if code == "model_not_found" else 400
    assert await send(site, body) == (status, code)


@pytest.mark.parametrize("body", [b'{"model":' * 100_000, b'{"x":' + b"[" * 100_000, b"[" * 10**6])
async def test_a_deep_body_is_refused_quickly(site: Site, body: bytes) -> None:
    began = time.perf_counter()
    assert await send(site, body) == (400, "invalid_json")
    assert time.perf_counter() - began < 5  # it takes milliseconds; a loaded machine may be slow


@pytest.mark.parametrize("kind", ["gzip", "deflate"])
async def test_a_compressed_body(site: Site, kind: str) -> None:
    compress = gzip.compress if kind == "gzip" else zlib.compress
    body = compress(b'{"model": "nobody"}')
    assert await send(site, body, Content_Encoding=kind) == (404, "model_not_found")


@pytest.mark.parametrize("kind", ["gzip", "deflate"])
async def test_a_badly_compressed_body(
    site: Site, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert await send(site, b"this is not compressed", Content_Encoding=kind) == (
        400,
        "bad_request",
    )
    assert "Traceback" not in caplog.text


async def test_a_bomb_is_refused_before_it_fills_the_memory(site: Site) -> None:
    squeeze = zlib.compressobj(wbits=31)
    first, again = (
        squeeze.compress(bytes(1 << 20)) + squeeze.flush(zlib.Z_FULL_FLUSH) for _ in range(2)
    )
    bomb = first + again * 300  # megabytes, each of which takes a kilobyte
    tracemalloc.start()
    try:
        assert await send(site, bomb, Content_Encoding="gzip") == (413, "body_too_large")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * BODY_LIMIT


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit(site: Site, chunked: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(BODY_LIMIT // (1 << 20) + 1):
            yield bytes(1 << 20)

    if chunked:
        async with site.session.post(CHAT, data=pieces()) as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (
                413,
                "body_too_large",
            )
    else:  # not a byte of it is sent
        head = (
            f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {BODY_LIMIT + 1}\r\n\r\n"
        )
        assert error_code(await site.raw(head.encode())) == (413, "body_too_large")


# ---- requests that are none --------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer canary\x01\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer canary\r\nbad header canary\r\n\r\n",
        b"GET /canary HTTP/9.9\r\nHost: a\r\n\r\n",
        b"FOO /canary HTTP/1.1\r\nHost: a\r\nOrigin: http://evil.example\r\n\r\n",
        b"\x16\x03\x01\x02canary",
    ],
)
async def test_what_is_not_http_costs_one_line_without_its_bytes(
    site: Site, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    answer = await site.raw(data)
    assert answer.split()[1] in (b"400", b"403", b"404", b"405")
    assert "canary" not in caplog.text
    assert "Traceback" not in caplog.text
    assert len(caplog.records) <= 1


async def test_keys_are_not_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    headers = {"Authorization": "Bearer canary", "X-Api-Key": "canary", "Cookie": "k=canary"}
    body = {"model": "a", "api_key": "canary"}
    site.plugins.chat.error = ValueError("broken plugin")
    for path in (CHAT, "/nowhere", "/api/models/a/stop", "/broken"):
        async with site.session.post(f"{path}?key=canary", json=body, headers=headers):
            pass
        async with site.session.get(f"{path}?key=canary", headers=headers):
            pass
    assert caplog.records
    assert "canary" not in caplog.text


# ---- every route of the whole program ----------------------------------------------------------


@pytest.fixture
def whole(tmp_path: Path) -> tuple[App, web.Application, list[str]]:
    """The program's own application; its handlers only note that they were reached."""
    config = tmp_path / "config.json"
    folder = Path(__file__).parent.parent / "plugins" / "interfaces"
    config.write_text(json.dumps({"program": {"interface_plugin_dir": str(folder)}}))
    log_file = tmp_path / "x.log"
    options = Options(
        ConfigStore(config, {}), "127.0.0.1", 0, tmp_path, log_file, True, lambda text: None
    )
    reached: list[str] = []
    program = App(options, Listener((), "127.0.0.1", 8080))
    program.plugins.load_all_plugins()
    program.gateway.plugins_changed()
    assert program.gateway.serves(CHAT)

    async def note(request: web.Request) -> web.Response:
        reached.append(f"{request.method} {request.path}")
        return web.Response(text="reached")

    program.gateway.handle = note  # type: ignore[method-assign]
    app = program._web_app()
    for route in app.router.routes():
        route._handler = note
    return program, app, reached


SAMPLES = {"number": "1", "tab": "log", "path": CHAT[1:]}


def targets(app: web.Application) -> list[tuple[str, str]]:
    """Method and a path of every route."""
    found = []
    for route in app.router.routes():
        assert route.resource is not None
        path = re.sub(
            r"\{(\w+)\}", lambda m: SAMPLES.get(m.group(1), "x"), route.resource.canonical
        )
        methods = ["GET", "POST", "PUT", "DELETE"] if route.method == "*" else [route.method]
        found += [(method, path) for method in methods]
    return found


async def test_no_route_is_reached_by_a_stranger(
    whole: tuple[App, web.Application, list[str]],
) -> None:
    program, app, reached = whole
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    assert runner.server is not None
    runner.server.request_handler = front_door(app, program.access, program.gateway)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]

    async def raw(method: str, path: str, **fields: str) -> bytes:
        """The first line of the answer."""
        headers = {"Host": "localhost", **fields}
        head = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in headers.items())
        async with connected(port) as (reader, writer):
            writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode())
            return await reader.readline()

    try:
        routes = targets(app)
        assert len(routes) > 40
        for method, path in routes:
            assert b" 200 " in await raw(method, path), (method, path)
            assert reached.pop() == f"{method} {path}"
            body = {"Content_Length": "9", "Expect": "100-continue"}
            for more in ({}, body):
                answer = await raw(method, path, Host="evil.example", **more)
                assert answer.startswith(b"HTTP/1.1 403 "), (method, path)
                answer = await raw(method, f"http://evil.example{path}", **more)
                assert answer.startswith(b"HTTP/1.1 403 "), ("absolute", method, path)
                if method in ("GET", "HEAD"):
                    continue
                for origin in ("http://evil.example", "null"):
                    answer = await raw(
                        method, path, Origin=origin, Content_Type="text/plain", **more
                    )
                    assert answer.startswith(b"HTTP/1.1 403 "), (method, path)
        assert reached == []
    finally:
        await runner.cleanup()
