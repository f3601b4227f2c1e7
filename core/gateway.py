"""The recipe of a model request: read the name, resolve, check, lease, forward."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import aiohttp
import msgspec
from aiohttp import web

from core.access import Access, check_target
from core.catalog import Catalog
from core.domain import Model
from core.errors import (
    BodyTooLarge,
    EndpointNotSupported,
    InvalidJSON,
    MethodNotAllowed,
    MissingModel,
    ModelFailed,
    NotFound,
)
from core.events import Event, RequestFinished
from core.model_controller import ModelController
from core.proxy import Forwarded, InFlight, forward
from core.upstream import UpstreamPool

log = logging.getLogger(__name__)


class Interface(Protocol):
    """The part of an interface plugin that a request needs."""

    def validate_request(self, path: str, model_alias: str, /) -> tuple[bool, str]: ...


class Endpoints(Protocol):
    """What the interface plugins serve now."""

    @property
    def interfaces(self) -> Mapping[str, Interface]: ...
    def endpoints(self) -> Mapping[str, frozenset[str]]: ...


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
        plugins: Endpoints,
        access: Access,
        publish: Callable[[Event], None],
    ) -> None:
        self.in_flight: dict[int, InFlight] = {}
        """Requests that hold a lease now, by number."""
        self._catalog = catalog
        self._controller = controller
        self._plugins = plugins
        self._access = access
        self._publish = publish
        self._numbers = itertools.count(1)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one model request. Raises LLMManagerError before the first byte of an answer."""
        check_target(request)
        path = request.path[1:]
        if path not in self._plugins.endpoints():
            raise NotFound(f"there is nothing at {request.method} /{path}")
        if request.method != "POST":
            raise MethodNotAllowed(f"/{path} takes POST")
        body = await read_body(request)
        model = self._catalog.resolve(await model_name(request, body))
        self._check_interface(model, path)
        if model.upstream_model is not None:
            body = rename(body, model.upstream_model)
        async with self._controller.lease(model) as instance:
            assert isinstance(instance.connections, UpstreamPool)
            return await self._forward(request, body, model, instance.id, instance.connections)

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
            raise EndpointNotSupported(message, param="model")

    async def _forward(
        self, request: web.Request, body: bytes, model: Model, instance: str, pool: UpstreamPool
    ) -> web.StreamResponse:
        flight = InFlight(model.name, request.path, request.remote or "", time.monotonic())
        number = next(self._numbers)
        self.in_flight[number] = flight
        cors = self._access.cors_headers(request) if "Origin" in request.headers else ()
        extra = tuple((name.encode(), value.encode()) for name, value in cors)
        answer: Forwarded | None = None
        try:
            answer = await forward(request, body, pool, flight=flight, extra_headers=extra)
            return answer
        finally:
            del self.in_flight[number]
            self._finished(flight, instance, answer)

    def _finished(self, flight: InFlight, instance: str, answer: Forwarded | None) -> None:
        seconds = time.monotonic() - flight.started
        status = answer.status if answer else flight.status
        outcome = answer.outcome if answer else "client_closed"
        log.info("%s %s %s %s in %.3f s", instance, flight.path, status, outcome, seconds)
        usage = answer.usage if answer else {}
        self._publish(
            RequestFinished(flight.model, instance, flight.path, status, seconds, outcome, usage)
        )


async def read_body(request: web.Request) -> bytes:
    """The whole body. Raises BodyTooLarge."""
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        limit = request.client_max_size // (1 << 20)
        raise BodyTooLarge(f"the body is larger than {limit} MiB") from error


async def model_name(request: web.Request, body: bytes) -> str:
    """The model that the request names, in JSON or in a form. Raises InvalidJSON, MissingModel."""
    if request.content_type == "multipart/form-data":
        name: object = await _form_field(request, body)
    else:
        try:
            name = _decode_name(body).model
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidJSON(f"the body is not a JSON object: {error}") from error
    if not isinstance(name, str) or not name:
        raise MissingModel('the body names no "model"', param="model")
    return name


async def _form_field(request: web.Request, body: bytes) -> str | None:
    """The `model` field of a form with files (audio transcription)."""
    stream = aiohttp.StreamReader(_NoFlow(), limit=2**16)  # type: ignore[arg-type]
    stream.feed_data(body)
    stream.feed_eof()
    try:
        async for part in aiohttp.MultipartReader(request.headers, stream):
            if isinstance(part, aiohttp.BodyPartReader) and part.name == "model":
                return await part.text()
    except ValueError as error:
        raise InvalidJSON(f"the form cannot be read: {error}") from error
    return None


class _NoFlow:
    """A protocol that never pauses: the bytes are all here already."""

    _reading_paused = False

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


def rename(body: bytes, name: str) -> bytes:
    """The same JSON object with another model name; every other value keeps its very bytes."""
    fields = _decode_fields(body)
    fields["model"] = msgspec.Raw(msgspec.json.encode(name))
    return msgspec.json.encode(fields)
