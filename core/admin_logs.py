"""Logs to read from afar: the program's own, and a model's output as a file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from core.catalog import Catalog
from core.errors import NotFound
from core.log_file import follow_file, last_lines
from core.output import ModelOutput
from core.server_events import send_events


class LogsApi:
    """`/api/logs`, `/api/logs/stream` and the two downloads."""

    def __init__(
        self,
        log_file: Path,
        catalog: Catalog,
        output: Callable[[str], ModelOutput],
        closing: asyncio.Event,
    ) -> None:
        self._log_file = log_file
        self._catalog = catalog
        self._output = output
        self._closing = closing

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/logs", self.logs),
            web.get("/api/logs/stream", self.stream),
            web.get("/api/logs/download", self.download),
            web.get("/api/models/{alias:.+}/logs/download", self.download_of_model),
        ]

    async def logs(self, request: web.Request) -> web.Response:
        lines = last_lines(self._log_file, wanted_lines(request, 200))
        return web.json_response({"file": str(self._log_file), "lines": lines})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        history = wanted_lines(request, 100)

        async def events() -> AsyncGenerator[str, None]:
            async for lines in follow_file(self._log_file, history):
                yield "".join(f"data: {json.dumps({'line': line})}\n\n" for line in lines)

        return await send_events(request, self._closing, events())

    async def download(self, request: web.Request) -> web.StreamResponse:
        return as_file(self._log_file)

    async def download_of_model(self, request: web.Request) -> web.StreamResponse:
        model = self._catalog.resolve(request.match_info["alias"])
        return as_file(self._output(model.name).path)


def wanted_lines(request: web.Request, default: int) -> int:
    """The `lines` of the query; nonsense is the default."""
    try:
        return max(0, int(request.query.get("lines", default)))
    except ValueError:
        return default


def as_file(path: Path) -> web.StreamResponse:
    """The file to be saved, never shown: its text is not ours. Raises NotFound."""
    if not path.is_file() or path.is_symlink():
        raise NotFound(f"there is no file {path.name} yet")
    return web.FileResponse(
        path,
        headers={
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(path.name)}",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        },
    )
