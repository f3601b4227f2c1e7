"""A small application around routes, with the program's own rendering of errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from core.api_server import render
from core.errors import LLMManagerError

Client = TestClient[web.Request, web.Application]


@web.middleware
async def _rendered(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        answer: web.StreamResponse = await handler(request)
    except LLMManagerError as error:
        return render(error)
    return answer


@asynccontextmanager
async def serving(routes: Iterable[web.RouteDef]) -> AsyncIterator[Client]:
    """A client of the routes."""
    app = web.Application(middlewares=[_rendered])
    app.add_routes(routes)
    async with TestClient(TestServer(app)) as client:
        yield client
