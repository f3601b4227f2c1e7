"""The dashboard's addresses: pages, their event stream, and the files that they load."""

from __future__ import annotations

import asyncio
import json
import secrets

from aiohttp import web

from core.server_events import send_events
from webui.assets import Assets
from webui.board import Board
from webui.live import Ask, history, log_lines, log_tail, update, updates
from webui.pages import Pages
from webui.panel import PAGES, TABS, Panel
from webui.picture import Picture
from webui.preferences import Preferences, preferences
from webui.sources import Sources
from webui.views import kinds_of

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Vary": "HX-Request, Cookie, Accept-Language",
}
SCRIPT_TEXTS = (
    "live", "lost", "paused", "copied", "not_reached", "start_unloads", "start_anyway", "skipped",
    "new_lines", "matches", "lines", "first_token", "total_time", "tokens", "speed", "dimensions",
    "in_use", "ours", "unit_s", "unit_min", "stop_all_ask", "stop_all",
    "only_here", "only_here_ask",
)  # fmt: skip
"""Keys of the texts that scripts use."""
POLLED_LINES = 500


class Dashboard:
    """`routes()` for the program's application. No GET changes anything."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._picture = Picture(sources)
        self._boot = secrets.token_hex(6)
        self._assets: Assets | None = None
        self._pages: Pages | None = None
        self._boards: dict[str, Board] = {}
        self._loading = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.page),
            web.get("/models/{name:[^/]+}", self.page),
            web.get("/models/{name:[^/]+}/{tab:log|requests|try}", self.page),
            *(web.get(f"/{kind}", self.page) for kind in PAGES),
            web.get("/live", self.live),
            web.get("/sentence", self.sentence),
            web.get("/static/{version}/{file:.+}", self.static),
        ]

    # ---- pages ---------------------------------------------------------------------------------

    async def page(self, request: web.Request) -> web.Response:
        """The whole page, or only its panel where the page asks for another one."""
        wanted = preferences(request)
        board = await self._board(wanted.language)
        board.refresh()
        panel = self._panel(request)
        status = 404 if panel.kind == "missing" else 200
        only_panel = "HX-Request" in request.headers and (
            "HX-History-Restore-Request" not in request.headers
        )
        html = self._panel_html(board, panel) if only_panel else self._whole(board, panel, wanted)
        return web.Response(
            text=html, content_type="text/html", charset="utf-8", status=status, headers=HEADERS
        )

    def _panel(self, request: web.Request) -> Panel:
        name = request.match_info.get("name")
        if name is None:
            kind = request.path.strip("/")
            return Panel(kind if kind in PAGES else "none")
        if name not in self._sources.store.current.models:
            return Panel("missing", name)
        return Panel("model", name, request.match_info.get("tab", "settings"))

    def _panel_html(self, board: Board, panel: Panel) -> str:
        model = self._sources.store.current.models.get(panel.name)
        kinds = kinds_of(model.interface, self._sources.endpoints()) if model else ()
        return board.pages.render(
            "panel.html",
            board.language,
            panel=panel,
            parts=board.panel_html(panel),
            view=self._picture.model(panel.name),
            kinds=kinds,
            tabs=TABS,
            address=self._sources.address,
            reload=panel.kind == "plugins",
        )

    def _whole(self, board: Board, panel: Panel, wanted: Preferences) -> str:
        texts = board.pages.texts(board.language)
        picture = self._picture
        demo = next((v for v in picture.models if v.icon == "💬" and v.action == "start"), None)
        return board.pages.render(
            "page.html",
            board.language,
            prefs=wanted,
            static=f"/static/{self._files().version}",
            boot=self._boot,
            version=board.version,
            now=round(self._sources.clock(), 3),
            board=board,
            panel=panel,
            panel_html=self._panel_html(board, panel),
            welcome=demo if picture.first_run else None,
            config=self._sources.store.path,
            address=self._sources.address,
            texts=json.dumps({key: texts[key] for key in SCRIPT_TEXTS}),
        )

    async def _board(self, language: str) -> Board:
        async with self._loading:
            if self._pages is None:
                self._pages = await Pages.load()
        if language not in self._boards:
            self._boards[language] = Board(self._picture, self._pages, language)
        board = self._boards[language]
        await board.prepare()
        return board

    # ---- what a page asks for ------------------------------------------------------------------

    async def live(self, request: web.Request) -> web.StreamResponse:
        """The stream of one tab; with `once`, what the stream would say now, as JSON."""
        query = request.query
        board = await self._board(preferences(request).language)
        same_run = query.get("boot") == self._boot and query.get("language") == board.language
        known = query.get("version", "")
        version = int(known) if same_run and known.isdecimal() and len(known) < 16 else 0
        panel = self._asked_panel(query.get("panel", ""), query.get("name", ""), query.get("tab"))
        ask = Ask(version, panel)
        if "once" in query:
            data = {"update": update(board, ask, self._boot), "history": history(board)}
            if panel.log:
                data["log"] = log_tail(board, panel, POLLED_LINES)
            return web.json_response(data, headers={"Cache-Control": "no-store"})
        streams = [updates(board, ask, self._boot)]
        if panel.log:
            streams.append(log_lines(board, panel))
        return await send_events(request, self._sources.closing, *streams)

    async def sentence(self, request: web.Request) -> web.Response:
        """An error of the API in the page's language: the API itself speaks English."""
        board = await self._board(preferences(request).language)
        said = board.pages.texts(board.language).sentence(request.query.get("text", ""))
        return web.json_response({"text": said}, headers={"Cache-Control": "no-store"})

    def _asked_panel(self, kind: str, name: str, tab: str | None) -> Panel:
        """Only what exists can be asked for: names are looked up, nothing is made of them."""
        if kind == "model" and name in self._sources.store.current.models:
            return Panel("model", name, tab if tab in TABS else "settings")
        return Panel(kind if kind in PAGES else "none")

    async def static(self, request: web.Request) -> web.Response:
        files = self._files()
        asset = files.files.get(request.match_info["file"])
        if asset is None:
            raise web.HTTPNotFound
        lasting = request.match_info["version"] == files.version
        headers = {
            "Content-Type": asset.kind,
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "public, max-age=31536000, immutable" if lasting else "no-cache",
            "Vary": "Accept-Encoding",
        }
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            return web.Response(body=asset.packed, headers={**headers, "Content-Encoding": "gzip"})
        return web.Response(body=asset.data, headers=headers)

    def _files(self) -> Assets:
        if self._assets is None:
            self._assets = Assets()
        return self._assets
