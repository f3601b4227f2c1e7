"""The recipe of a model request: read the name, resolve, check, lease, forward."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Protocol

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
from core.events import Event
from core.flights import Flights, InFlight
from core.form import field_span, is_form
from core.model_controller import ModelController
from core.patience import read_in_time
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
        self.flights = Flights(publish)
        self._catalog = catalog
        self._controller = controller
        self._plugins = plugins
        self._endpoints = plugins.endpoints()
        self._access = access

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
            raise self._nothing_at(path)
        if request.method != "POST":
            raise MethodNotAllowed(f"{path} takes POST")
        body = await read_body(request)
        content_type = request.headers.get("Content-Type", "")
        model = self.model_for(path, content_type, body)
        if model.upstream_model is not None:
            body = rename(content_type, body, model.upstream_model)
        try:
            return await self._deliver(request, body, model)
        except ServerUnreachable:
            return await self._deliver(request, body, model)  # by a fresh instance

    def model_for(self, path: str, content_type: str, body: bytes) -> Model:
        """The model that the body names, if it serves this path. Raises LLMManagerError."""
        model = self._catalog.resolve(model_name(content_type, body))
        self._check_interface(model, path[1:])
        return model

    def _nothing_at(self, path: str) -> NotFound:
        """With the path that a client with a wrong base URL means."""
        plain = path.rstrip("/")
        for meant in (plain, f"/v1{plain}", plain.removeprefix("/v1")):
            if meant != path and (meant in self._endpoints or meant == "/v1/models"):
                return NotFound(f"there is nothing at {path}: did you mean {meant}?")
        return NotFound(f"there is nothing at {path}")

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
        task = asyncio.current_task()
        assert task is not None
        number = self.flights.begin(flight, task.cancel)
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
            self.flights.end(number, instance)


async def read_body(request: web.Request) -> bytes:
    """The whole body, decompressed. Raises BodyTooLarge, BadRequest, RequestTooSlow."""
    check_length(request)
    try:
        if request.content.is_eof():  # it came with the head, as nearly always
            body = request.content.read_nowait()
            if len(body) > request.client_max_size:
                raise _too_large(request)
            return body
        return await read_in_time(request)
    except web.RequestPayloadError as error:
        raise BadRequest(f"the body cannot be read: {error}") from error
    except web.HTTPRequestEntityTooLarge as error:
        raise _too_large(request) from error


def check_length(request: web.Request) -> None:
    """Refuse a body that announces itself as too large before any of it is read."""
    if (request.content_length or 0) > request.client_max_size:
        raise _too_large(request)


def _too_large(request: web.Request) -> BodyTooLarge:
    return BodyTooLarge(f"the body is larger than {request.client_max_size >> 20} MiB")


def model_name(content_type: str, body: bytes) -> str:
    """The model that a body names, in JSON or in a form. Raises InvalidJSON, MissingModel."""
    form = is_form(content_type)
    try:
        if form:
            span = field_span(content_type, body, "model")
            name: object = body[slice(*span)].decode() if span else None
        else:
            name = _decode_name(body).model
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        kind = "a form" if form else "a JSON object"
        raise InvalidJSON(f"the body is not {kind}: {error}") from error
    if not isinstance(name, str) or not name:
        raise MissingModel('the body names no "model"', param="model")
    return name


def rename(content_type: str, body: bytes, name: str) -> bytes:
    """The same object or form with another model name; all the rest keeps its very bytes."""
    if is_form(content_type):
        span = field_span(content_type, body, "model")
        assert span is not None, "the model was found by this name"
        return body[: span[0]] + name.encode() + body[span[1] :]
    fields = _decode_fields(body)
    fields["model"] = msgspec.Raw(msgspec.json.encode(name))
    return msgspec.json.encode(fields)
