"""The program's web side over a `House`: real sockets in front, fake processes behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from core.access import Access
from core.admin_api import AdminApi, Facts, Sources
from core.api_server import build_app, front_door, render
from core.catalog import Catalog
from core.client_connection import accept
from core.domain import Model
from core.fast_path import FastPath
from core.gateway import Gateway
from core.listening import listen
from core.output import ModelOutput
from core.upstream import UpstreamPool
from tests.fakes.parts import House


class FakeChat:
    """An interface plugin, as far as a request goes."""

    def __init__(self) -> None:
        self.answer: Any = (True, "")
        self.error: Exception | None = None

    def validate_request(self, path: str, model_alias: str) -> tuple[bool, str]:
        if self.error is not None:
            raise self.error
        return self.answer  # type: ignore[no-any-return]


class FakePlugins:
    def __init__(self) -> None:
        self.chat = FakeChat()
        self.interfaces: dict[str, Any] = {"chat": self.chat}
        self.paths = ["/v1/chat/completions", "/v1/audio/transcriptions"]

    def endpoints(self) -> Mapping[str, frozenset[str]]:
        return dict.fromkeys(self.paths, frozenset({"chat"}))


class FakeStore:
    path = Path("/nonexistent/config.json")
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ("$.x: odd",)


class Server(House):
    """A house whose instances are reached through real connections."""

    def _connect(self, host: str, port: int) -> Any:
        return UpstreamPool(asyncio.get_running_loop(), host, port)


class Site:
    """`async with Site(models) as site`: `site.url`, `site.get(path)`, `site.house`, ..."""

    def __init__(
        self,
        *models: Model,
        hosts: Iterable[str] = (),
        origins: Iterable[str] = (),
        folder: Path = Path("/nonexistent"),
        more: Iterable[web.RouteDef] = (),
        **totals: int,
    ) -> None:
        self.house = Server(*models, **totals)
        self.access = Access(hosts, origins)
        self.catalog = Catalog(self.house.config)
        self.plugins = FakePlugins()
        self.closing = asyncio.Event()
        self.gateway = Gateway(
            self.catalog, self.house.controller, self.plugins, self.access, self.house.bus.publish
        )
        self.outputs: dict[str, ModelOutput] = {}
        self._folder = folder
        self.facts = Facts(
            version="2.0.0",
            address="http://127.0.0.1:8080",
            started_at=time.time(),
            log_file=folder / "x.log",
            reachable_from_network=False,
        )
        self.sources = Sources(
            facts=self.facts,
            store=FakeStore(),
            catalog=self.catalog,
            controller=self.house.controller,
            bus=self.house.bus,
            readings=lambda: self.house.devices.readings,
            plugins=lambda: {"interfaces": {}, "devices": {}},
            output=self.output,
            closing=self.closing,
        )
        self.app = build_app(self.access, self.gateway, [*AdminApi(self.sources).routes(), *more])

    def output(self, model: str) -> ModelOutput:
        if model not in self.outputs:
            self.outputs[model] = ModelOutput(model, self._folder)
            self.outputs[model]._write = lambda lines: None  # type: ignore[method-assign]
        return self.outputs[model]

    async def __aenter__(self) -> Site:
        self._stack = contextlib.AsyncExitStack()
        await self._stack.enter_async_context(self.house)
        runner = web.AppRunner(self.app, handler_cancellation=True, shutdown_timeout=1.0)
        await runner.setup()
        assert runner.server is not None
        runner.server.request_handler = front_door(self.app, self.access, self.gateway)
        self._stack.push_async_callback(runner.cleanup)
        self._stack.callback(self.closing.set)
        listener = listen("127.0.0.1", 0)
        tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        self.fast_path = FastPath(self.gateway, self.access, self.house.controller, tasks)
        self.server = runner.server
        for door in await accept(runner.server, listener.sockets, self.fast_path, render):
            self._stack.callback(door.close)
        self.port = listener.port
        self.url = f"http://127.0.0.1:{self.port}"
        self.session = await self._stack.enter_async_context(aiohttp.ClientSession(self.url))
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._stack.aclose()

    # ---- short words for tests -----------------------------------------------------------------

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        """Status and JSON of the answer."""
        async with self.session.request(method, path, **more) as answer:
            return answer.status, await answer.json()

    async def get(self, path: str, **more: Any) -> tuple[int, Any]:
        return await self.ask("GET", path, **more)

    async def post(self, path: str, **more: Any) -> tuple[int, Any]:
        return await self.ask("POST", path, **more)

    async def raw(self, data: bytes, *, then: bytes = b"") -> bytes:
        """One whole answer to these bytes; `then` is sent after the first head that comes."""
        async with asyncio.timeout(60), connected(self.port) as (reader, writer):
            writer.write(data)
            answer = await reader.readuntil(b"\r\n\r\n")
            if then:
                writer.write(then)
                answer = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"\ncontent-length: (\d+)", answer.lower())
            return answer + await reader.readexactly(int(length.group(1)) if length else 0)


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def error_code(answer: bytes) -> tuple[int, str]:
    """Status and code of a raw error answer; AssertionError unless it has the OpenAI shape."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/json" in head, answer
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return int(head.split()[1]), error["code"]
