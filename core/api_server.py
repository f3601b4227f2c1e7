"""The URL table, what every request passes through, and the one place that renders errors."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from core.access import Access
from core.errors import BadRequest, BodyTooLarge, LLMManagerError, MethodNotAllowed, NotFound
from core.gateway import Gateway, check_length

log = logging.getLogger(__name__)

BODY_LIMIT = 64 * 1024 * 1024
"""Bytes; images and long contexts fit, a mistake does not fill the memory."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Expect = Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse | None]]


def build_app(access: Access, gateway: Gateway, routes: Iterable[web.RouteDef]) -> web.Application:
    """The application: the given routes, and the gateway for every other path."""
    app = web.Application(client_max_size=BODY_LIMIT, middlewares=[_guard(access)])
    app.add_routes([*routes, web.route("*", "/{path:.*}", _elsewhere(gateway))])
    app.on_response_prepare.append(_cors(access))
    expect = _expect_handler(access)
    for route in app.router.routes():
        route._expect_handler = expect  # before any byte of a body is asked for
    logging.getLogger("aiohttp.server").addFilter(short_when_malformed)
    return app


def front_door(app: web.Application, access: Access, gateway: Gateway) -> Callable[[Any], Any]:
    """The way in: what is plainly model traffic needs no search of the URL table.

    It passes the same guard; the search and the layers behind it cost a tenth of a request.
    """
    guard = _guard(access)
    at_home = _match(app)
    by_the_table = app._handle

    def handle(request: web.Request) -> Any:
        path = request.raw_path
        if (
            path.startswith("/v1/")
            and gateway.serves(path)
            and request.method == hdrs.METH_POST
            and hdrs.EXPECT not in request.headers
        ):
            request._match_info = at_home
            return guard(request, gateway.handle)
        return by_the_table(request)

    return handle


def _match(app: web.Application) -> web.UrlMappingMatchInfo:
    """What the URL table would find for model traffic: signals and `request.app` look there."""
    anywhere = list(app.router.routes())[-1]
    match = web.UrlMappingMatchInfo({}, anywhere)
    match.add_app(app)
    match.freeze()
    return match


def _guard(access: Access) -> Any:
    """Access rules before anything else; errors become answers here and nowhere else."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            access.check(request)
            if request.method == hdrs.METH_OPTIONS:
                return _options(request)
            return await handler(request)
        except LLMManagerError as error:
            return render(error)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return render(_translate(request, error))
        except Exception as error:  # a task root
            if request.transport is None or request.transport.is_closing():
                raise  # the client left; aiohttp closes quietly
            log.exception("%s %s failed", request.method, request.path)
            return render(LLMManagerError(f"{type(error).__name__} inside LLM-Manager"))

    return guard


def _elsewhere(gateway: Gateway) -> Handler:
    """Model traffic, or a plain word on what there is at this path."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await gateway.handle(request)
        except NotFound:
            methods: set[str] = set()
            for resource in request.app.router.resources():
                match, known = await resource.resolve(request)
                methods |= known if match is None else set()
            if not methods:
                raise
            raise _wrong_method(request, methods) from None

    return handle


def _cors(access: Access) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Let an allowed page of another origin read the answer, whichever part of us made it."""

    async def add(request: web.Request, response: web.StreamResponse) -> None:
        for name, value in access.cors_headers(request):
            if name == hdrs.VARY and (others := response.headers.get(name)):
                value = f"{others}, {value}"
            response.headers[name] = value

    return add


def _expect_handler(access: Access) -> Expect:
    """Apply the access rules and the size limit before a client is told to send its body."""

    async def expect(request: web.Request) -> web.StreamResponse | None:
        try:
            access.check(request)
            check_length(request)
        except LLMManagerError as error:
            return render(error)
        if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
            if request.transport is not None:
                request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return None
        return render(BadRequest("only 100-continue can be expected", param="Expect"))

    return expect


def short_when_malformed(record: logging.LogRecord) -> bool:
    """One line for a request that is no proper HTTP: its bytes may hold a key."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError | web.RequestPayloadError):
        record.exc_info = None
        record.msg += ": not HTTP (%s)"
        record.args = (*(record.args or ()), type(error).__name__)
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


def render(error: LLMManagerError) -> web.Response:
    """An error in the OpenAI shape."""
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = error.allow
    return web.json_response(error.as_json(), status=error.status, headers=headers)


def _translate(request: web.Request, error: web.HTTPException) -> LLMManagerError:
    if isinstance(error, web.HTTPMethodNotAllowed):
        return _wrong_method(request, error.allowed_methods)
    if isinstance(error, web.HTTPNotFound):
        return NotFound(f"there is nothing at {request.path}")
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return BodyTooLarge("the body is too large")
    return BadRequest(error.reason)


def _wrong_method(request: web.Request, methods: Iterable[str]) -> MethodNotAllowed:
    allow = ", ".join(sorted(methods))
    return MethodNotAllowed(f"{request.path} takes {allow}", allow=allow)


def _options(request: web.Request) -> web.Response:
    """The answer to OPTIONS; whether a page may go on is said by the CORS headers alone."""
    allow = "GET, HEAD, OPTIONS, POST"
    headers = {"Allow": allow}
    if "Access-Control-Request-Method" in request.headers:
        headers["Access-Control-Allow-Methods"] = allow
        asked = request.headers.get("Access-Control-Request-Headers", "")
        headers["Access-Control-Allow-Headers"] = asked
        headers["Access-Control-Max-Age"] = "600"
    return web.Response(status=204, headers=headers)
