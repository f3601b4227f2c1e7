"""The recipe of a model request: read the name, resolve, check, lease, forward."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
from aiohttp import web

from core.access import Access, check_target
from core.catalog import Catalog
from core.domain import Model
from core.errors import (
    BadRequest,
    BodyTooLarge,
    EndpointNotSupported,
    InvalidJSON,
    MethodNotAllowed,
    MissingModel,
    ModelFailed,
    NotFound,
    ServerUnreachable,
    UpstreamError,
)
from core.events import Event, RequestFinished
from core.exchange import InFlight
from core.form import FORM, field_span
from core.log import log_request
from core.model_controller import ModelController
from core.proxy import DROPPED, forward
from core.upstream import UpstreamPool

log = logging.getLogger(__name__)


class Interface(Protocol):
    """The part of an interface plugin that a request needs."""

    def validate_request(self, path: str, model_alias: str, /) -> tuple[bool, str]: ...


class Plugins(Protocol):
    """The interface plugins as they are now, by lower-case name."""

    @property
    def interfaces(self) -> Mapping[str, Interface]: ...
    def endpoints(self) -> Mapping[str, frozenset[str]]: ...


_DECODED = DROPPED | {b"content-encoding"}
"""aiohttp has decompressed the body: model servers cannot be expected to."""
PIECE = 1024 * 1024
"""Bytes of a body that are unpacked before somebody asks how many there are."""


class _Named(msgspec.Struct):
    model: object = None


_decode_name = msgspec.json.Decoder(_Named).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Gateway:
    """Every request for a model goes through `handle`."""

    def __init__(
        self,
        catalog: Catalog,
        controller: ModelController,
        plugins: Plugins,
        access: Access,
        publish: Callable[[Event], None],
    ) -> None:
        self.in_flight: dict[int, InFlight] = {}
        """Requests that hold a lease now, by number."""
        self._tasks: dict[int, asyncio.Task[Any] | None] = {}
        self._catalog = catalog
        self._controller = controller
        self._plugins = plugins
        self._endpoints = plugins.endpoints()
        self._access = access
        self._publish = publish
        self._numbers = itertools.count(1)

    def cancel(self, number: int) -> bool:
        """Break a request in flight off, as if its client had left; False if it is over."""
        task = self._tasks.get(number)
        return task is not None and task.cancel()

    def plugins_changed(self) -> None:
        """Serve what the interface plugins name now."""
        self._endpoints = self._plugins.endpoints()

    def serves(self, path: str) -> bool:
        """Whether an interface plugin names this path."""
        return path in self._endpoints

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one model request. Raises LLMManagerError before the first byte of an answer."""
        check_target(request)
        path = request.path
        if path not in self._endpoints:
            raise NotFound(f"there is nothing at {path}")
        if request.method != "POST":
            raise MethodNotAllowed(f"{path} takes POST")
        body = await read_body(request)
        model = self._catalog.resolve(model_name(request, body))
        self._check_interface(model, path[1:])
        if model.upstream_model is not None:
            body = rename(request, body, model.upstream_model)
        try:
            return await self._deliver(request, body, model)
        except ServerUnreachable:
            return await self._deliver(request, body, model)  # by a fresh instance

    async def _deliver(self, request: web.Request, body: bytes, model: Model) -> web.StreamResponse:
        async with self._controller.lease(model) as instance:
            assert isinstance(instance.connections, UpstreamPool)
            try:
                return await self._forward(request, body, model, instance.id, instance.connections)
            except UpstreamError:
                instance.doubt()
                raise

    def _check_interface(self, model: Model, path: str) -> None:
        interface = self._plugins.interfaces.get(model.interface.lower())
        if interface is None:
            raise ModelFailed(f"no interface plugin provides the mode '{model.interface}'")
        try:
            served, message = interface.validate_request(path, model.name)
        except Exception as error:
            log.exception("interface plugin '%s' failed", model.interface)
            raise ModelFailed(f"interface plugin '{model.interface}': {error!r}") from error
        if not served:
            raise EndpointNotSupported(str(message), param="model")

    async def _forward(
        self, request: web.Request, body: bytes, model: Model, instance: str, pool: UpstreamPool
    ) -> web.StreamResponse:
        flight = InFlight(model.name, request.path, request.remote or "", time.monotonic())
        number = next(self._numbers)
        self.in_flight[number] = flight
        self._tasks[number] = asyncio.current_task()
        headers = request.headers
        cors = self._access.cors_headers(request) if "Origin" in headers else ()
        try:
            return await forward(
                request,
                body,
                pool,
                flight,
                extra_headers=tuple((name.encode(), value.encode()) for name, value in cors),
                dropped=_DECODED if "Content-Encoding" in headers else DROPPED,
            )
        finally:
            del self.in_flight[number], self._tasks[number]
            self._finished(flight, instance)

    def _finished(self, flight: InFlight, instance: str) -> None:
        seconds = time.monotonic() - flight.started
        log_request(instance, flight.path, flight.status, flight.outcome, seconds)
        self._publish(
            RequestFinished(
                flight.model,
                instance,
                flight.path,
                flight.status,
                seconds,
                flight.outcome,
                flight.usage,
            )
        )


async def read_body(request: web.Request) -> bytes:
    """The whole body, decompressed. Raises BodyTooLarge, BadRequest."""
    check_length(request)
    try:
        if request.content.is_eof():  # it came with the head, as nearly always
            body = request.content.read_nowait()
            if len(body) > request.client_max_size:
                raise _too_large(request)
            return body
        # Not `request.read()`: that lets each piece grow to the limit before it is looked at.
        request.content.set_read_chunk_size(PIECE)
        pieces = bytearray()
        async for piece in request.content.iter_any():
            pieces += piece
            if len(pieces) > request.client_max_size:
                raise _too_large(request)
        return bytes(pieces)
    except web.RequestPayloadError as error:
        raise BadRequest(f"the body cannot be read: {error}") from error


def check_length(request: web.Request) -> None:
    """Refuse a body that announces itself as too large before any of it is read."""
    if (request.content_length or 0) > request.client_max_size:
        raise _too_large(request)


def _too_large(request: web.Request) -> BodyTooLarge:
    return BodyTooLarge(f"the body is larger than {request.client_max_size >> 20} MiB")


def model_name(request: web.Request, body: bytes) -> str:
    """The model that the request names, in JSON or in a form. Raises InvalidJSON, MissingModel."""
    try:
        if request.content_type == FORM:
            span = field_span(request.headers["Content-Type"], body, "model")
            name: object = body[slice(*span)].decode() if span else None
        else:
            name = _decode_name(body).model
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        kind = "a form" if request.content_type == FORM else "a JSON object"
        raise InvalidJSON(f"the body is not {kind}: {error}") from error
    if not isinstance(name, str) or not name:
        raise MissingModel('the body names no "model"', param="model")
    return name


def rename(request: web.Request, body: bytes, name: str) -> bytes:
    """The same object or form with another model name; all the rest keeps its very bytes."""
    if request.content_type == FORM:
        span = field_span(request.headers["Content-Type"], body, "model")
        assert span is not None, "the model was found by this name"
        return body[: span[0]] + name.encode() + body[span[1] :]
    fields = _decode_fields(body)
    fields["model"] = msgspec.Raw(msgspec.json.encode(name))
    return msgspec.json.encode(fields)
