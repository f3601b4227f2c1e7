"""What a person may change from afar beside starting and stopping: pins, plugins read anew, and
that nobody shall come from afar any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web

from core.catalog import Catalog
from core.errors import ConfigError, LLMManagerError

SetOption = Callable[[str, str, object], None]
"""Write an option of a model (by primary name) and put it into force.

Raises ConfigError, OSError."""


class NotWritten(LLMManagerError):
    """The config file did not take the change; nothing changed."""

    status = 409
    code = "config_not_written"
    type = "invalid_request_error"


class ChangesApi:
    """`/api/models/{alias}/pin` and `unpin`, `/api/plugins/reload`, `/api/only-this-machine`."""

    def __init__(
        self,
        catalog: Catalog,
        set_option: SetOption,
        reload_plugins: Callable[[], None],
        plugins: Callable[[], dict[str, Any]],
        keep_to_this_machine: Callable[[], None],
    ) -> None:
        self._catalog = catalog
        self._set_option = set_option
        self._reload_plugins = reload_plugins
        self._plugins = plugins
        self._keep_to_this_machine = keep_to_this_machine

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/models/{alias:.+}/pin", self.pin),
            web.post("/api/models/{alias:.+}/unpin", self.unpin),
            web.post("/api/plugins/reload", self.reload),
            web.post("/api/only-this-machine", self.only_this_machine),
        ]

    async def pin(self, request: web.Request) -> web.Response:
        return self._pin(request, True)

    async def unpin(self, request: web.Request) -> web.Response:
        return self._pin(request, False)

    def _pin(self, request: web.Request, pinned: bool) -> web.Response:
        model = self._catalog.resolve(request.match_info["alias"])
        try:
            self._set_option(model.name, "pinned", pinned)
        except (ConfigError, OSError) as error:
            raise NotWritten(f"'{model.name}' stays as it was: {error}") from error
        return web.json_response({"model": model.name, "pinned": pinned})

    async def reload(self, request: web.Request) -> web.Response:
        self._reload_plugins()
        return web.json_response(self._plugins(), status=202)

    async def only_this_machine(self, request: web.Request) -> web.Response:
        """From the next start on. There is no way back by this API: it can only close the door."""
        try:
            self._keep_to_this_machine()
        except (ConfigError, OSError) as error:
            raise NotWritten(f"the address stays as it was: {error}") from error
        return web.json_response({"after_restart": True}, status=202)
