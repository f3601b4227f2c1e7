"""The short way of a model request whose answer can begin at once: no task, no request object.

It takes only what is plain in every respect: a JSON body that has arrived whole, for a model that
is ready. Everything else goes the usual way through the gateway, and so does a request that the
server never got.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Protocol

from aiohttp import HttpVersion11, hdrs
from aiohttp.http_parser import RawRequestMessage

from core.access import Access, is_plain_target
from core.errors import LLMManagerError, ServerUnreachable, UpstreamError
from core.exchange import Client, Exchange
from core.flights import InFlight
from core.form import is_form
from core.gateway import Gateway, rename
from core.instance import Instance
from core.model_controller import ModelController
from core.proxy import request_head
from core.upstream import UpstreamPool

log = logging.getLogger(__name__)


class Line(Protocol):
    """The connection to the client."""

    client: Client
    remote: str

    def answered(self, *, keep_alive: bool) -> None:
        """The answer is out, whole or broken off."""

    def refused(self, error: LLMManagerError) -> None:
        """This error is the answer."""

    def start_over(self, message: RawRequestMessage, body: bytes) -> None:
        """The server never got the request: it goes the usual way."""

    def when_caught_up(self, exchange: Exchange) -> None:
        """Resume the exchange once the client has taken what is there."""

    def break_off(self) -> None:
        """Close at once."""


class FastPath:
    """Looks at each request before anything is made for it."""

    def __init__(
        self,
        gateway: Gateway,
        access: Access,
        controller: ModelController,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._gateway = gateway
        self._access = access
        self._controller = controller
        self.flights = gateway.flights
        self.tasks = tasks
        """Where connections to servers are made."""

    def takes(self, message: RawRequestMessage) -> bool:
        """Whether the head asks for model traffic and for nothing besides."""
        headers = message.headers
        return (
            message.method == hdrs.METH_POST
            and self._gateway.serves(message.path)
            and is_plain_target(message.path)
            and message.version == HttpVersion11
            and not message.should_close
            and not message.upgrade
            and self._access.surely_allows(headers)
            and hdrs.EXPECT not in headers
            and hdrs.CONTENT_ENCODING not in headers
            and not is_form(headers.get(hdrs.CONTENT_TYPE, ""))
        )

    def begin(self, line: Line, message: RawRequestMessage, body: bytes) -> FastRequest | None:
        """Send the request to the model's server; None: it has to go the usual way."""
        content_type = message.headers.get(hdrs.CONTENT_TYPE, "")
        try:
            model = self._gateway.model_for(message.path, content_type, body)
        except LLMManagerError:
            return None  # it is told there, in the one place that renders errors
        instance = self._controller.grant_now(model)
        if instance is None:
            return None
        request = None
        try:
            sent = body
            if model.upstream_model is not None:
                sent = rename(content_type, body, model.upstream_model)
            request = FastRequest(self, line, message, body, instance)
            request.send(sent)
        finally:
            if request is None:
                self._controller.give_back(instance)
        return request

    def over(self, instance: Instance, *, doubtful: bool) -> None:
        """Take the lease back."""
        if doubtful:
            instance.doubt()
        self._controller.give_back(instance)


class FastRequest:
    """One request on the short way; holds a lease until it is over."""

    __slots__ = (
        "_body",
        "_connecting",
        "_exchange",
        "_instance",
        "_line",
        "_live",
        "_message",
        "_number",
        "_path",
        "_pool",
    )

    def __init__(
        self,
        path: FastPath,
        line: Line,
        message: RawRequestMessage,
        body: bytes,
        instance: Instance,
    ) -> None:
        assert isinstance(instance.connections, UpstreamPool)
        self._path = path
        self._line = line
        self._message = message
        self._body = body
        self._instance = instance
        self._pool = instance.connections
        self._live = InFlight(instance.model.name, message.path, line.remote, time.monotonic())
        self._exchange = Exchange(line.client, self._pool, self._live)
        self._connecting: asyncio.Task[None] | None = None
        self._number = path.flights.begin(self._live, self._break_off)

    def send(self, body: bytes) -> None:
        """Send it with this body, on a kept connection if there is one."""
        message = self._message
        head = request_head(
            message.method,
            message.path,
            message.raw_headers,
            len(body),
            self._pool.request_line_end,
        )
        upstream = self._pool.take()
        if upstream is not None:
            self._exchange.begin(upstream, head, body, self._turn, repeatable=True)
        else:
            connecting = self._connect(head, body)
            self._connecting = self._path.tasks.create_task(connecting, name="connect")

    async def _connect(self, head: bytes, body: bytes) -> None:
        try:
            upstream = await self._pool.connect()
        except ServerUnreachable:
            self._connecting = None
            self._start_over()
        except Exception as error:  # a task root
            log.exception("no connection for %s", self._message.path)
            self._connecting = None
            self._end(UpstreamError(f"{type(error).__name__} inside LLM-Manager"))
        else:
            self._connecting = None
            self._exchange.begin(upstream, head, body, self._turn, repeatable=False)

    def leave(self) -> None:
        """The client is gone."""
        if self._connecting is not None:
            self._connecting.cancel()
            self._end(None)
        else:
            self._exchange.leave()

    def _break_off(self) -> None:
        self.leave()
        self._line.break_off()

    def _turn(self) -> None:
        """The exchange is over, or waits for the client."""
        exchange = self._exchange
        if not exchange.over:
            self._line.when_caught_up(exchange)
        elif exchange.stale:
            self._pool.drop_idle()  # they are as old: the usual way makes a new one
            self._start_over()
        elif exchange.failure:
            reason = f"The server of {self._live.model} gave no answer: {exchange.failure}."
            self._end(UpstreamError(reason))
        else:
            self._end(None)

    def _start_over(self) -> None:
        self._path.flights.forget(self._number)
        self._path.over(self._instance, doubtful=False)
        self._line.start_over(self._message, self._body)

    def _end(self, error: UpstreamError | None) -> None:
        try:
            self._exchange.settle()
        finally:
            self._path.flights.end(self._number, self._instance.id)
            self._path.over(self._instance, doubtful=error is not None)
        if error is not None:
            self._line.refused(error)
        else:
            self._line.answered(keep_alive=self._exchange.keep_alive)
