"""The URL table, what every request passes through, and the one place that renders errors."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from aiohttp import hdrs, web

from core.access import Access
from core.errors import BadRequest, BodyTooLarge, LLMManagerError, MethodNotAllowed, NotFound
from core.gateway import Gateway

log = logging.getLogger(__name__)

BODY_LIMIT = 64 * 1024 * 1024
"""Bytes; images and long contexts fit, a mistake does not fill the memory."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Expect = Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse | None]]


def build_app(access: Access, gateway: Gateway, routes: Iterable[web.RouteDef]) -> web.Application:
    """The application: the given routes, and the gateway for every other path."""
    app = web.Application(client_max_size=BODY_LIMIT, middlewares=[_guard(access)])
    app.add_routes([*routes, web.route("*", "/{path:.*}", gateway.handle)])
    expect = _expect_handler(access)
    for route in app.router.routes():
        route._expect_handler = expect  # before any byte of a body is asked for
    return app


def _guard(access: Access) -> Any:
    """Access rules before anything else; errors become answers here and nowhere else."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        response: web.StreamResponse
        try:
            access.check(request)
            if request.method == hdrs.METH_OPTIONS:
                response = _options(request)
            else:
                response = await handler(request)
                if response.prepared:
                    return response
        except LLMManagerError as error:
            response = render(error)
        except web.HTTPException as error:
            response = render(_translate(request, error)) if error.status >= 400 else error
        except Exception as error:  # a task root
            if request.transport is None or request.transport.is_closing():
                raise  # the client left; aiohttp closes quietly
            log.exception("%s %s failed", request.method, request.path)
            response = render(LLMManagerError(f"{type(error).__name__} inside LLM-Manager"))
        for name, value in access.cors_headers(request):
            response.headers[name] = value
        return response

    return guard


def _expect_handler(access: Access) -> Expect:
    """Apply the access rules and the size limit before a client is told to send its body."""

    async def expect(request: web.Request) -> web.StreamResponse | None:
        try:
            access.check(request)
        except LLMManagerError as error:
            return render(error)
        if request.headers.get(hdrs.EXPECT, "").lower() != "100-continue":
            return web.Response(status=417, text="only 100-continue can be expected")
        if (request.content_length or 0) > BODY_LIMIT:
            return None  # the handler refuses it; no body is asked for
        if request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return None

    return expect


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
        allow = ", ".join(sorted(error.allowed_methods))
        return MethodNotAllowed(f"{request.path} takes {allow}", allow=allow)
    if isinstance(error, web.HTTPNotFound):
        return NotFound(f"there is nothing at {request.path}")
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return BodyTooLarge("the body is too large")
    return BadRequest(error.reason)


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
