"""One running LLM-Manager, as any HTTP client sees it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

HOME = Path(__file__).resolve().parent.parent


class NotRunning(click.ClickException):
    """Nobody answers at the address."""


class Refused(click.ClickException):
    """The program answered with an error."""


class Client:
    """One running LLM-Manager."""

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url if "//" in url else f"http://{url}")
            self._host, self._port = parts.hostname or "", parts.port or 80
        except ValueError as error:
            raise click.BadParameter(f"{url}: {error}", param_hint="--url") from error
        if parts.scheme != "http" or not self._host:
            raise click.BadParameter(f"{url} is not like http://127.0.0.1:8080", param_hint="--url")
        self.url = f"http://{parts.netloc}"

    def get(self, path: str) -> Any:
        return self._ask("GET", path, timeout=60.0)

    def post(self, path: str, *, wait: bool = False) -> Any:
        """Ask for an action; `wait` until it is done, however long that takes."""
        if wait:
            return self._ask("POST", f"{path}?wait=1", timeout=None)
        return self._ask("POST", path, timeout=60.0)

    def lines(self, path: str) -> Iterator[str]:
        """The lines of a server-sent event stream."""
        connection, response = self._send("GET", path, timeout=None)
        with contextlib.closing(connection), self._lost():
            while raw := response.readline():
                yield raw.decode("utf-8", "replace").rstrip("\r\n")

    def _ask(self, method: str, path: str, timeout: float | None) -> Any:
        connection, response = self._send(method, path, timeout)
        with contextlib.closing(connection), self._lost():
            try:
                return json.loads(response.read())
            except ValueError as error:
                raise Refused(f"what answers at {self.url} is not LLM-Manager") from error

    @contextlib.contextmanager
    def _lost(self) -> Iterator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            raise NotRunning(f"the connection to {self.url} was lost: {error!r}") from error

    def _send(
        self, method: str, path: str, timeout: float | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        try:
            connection.request(method, path)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise NotRunning(
                f"LLM-Manager is not running at {self.url} ({error}). Start it, or name its "
                "address with --url."
            ) from error
        if response.status >= 400:
            with contextlib.closing(connection):
                raise Refused(_message(response.read()))
        return connection, response


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode("utf-8", "replace")[:500] or "the program answered with an error"


def default_url() -> str:
    """The address of the program that this folder's config describes."""
    from core.config.store import find_config, read_config
    from core.errors import ConfigError

    port = os.environ.get("LLM_MANAGER_PORT") or "8080"
    try:
        loaded = read_config(find_config(None, os.environ, HOME), os.environ)
    except ConfigError:
        loaded = None
    if loaded and loaded.config:
        program = loaded.config.program
        port = str(program.port)
        if program.host not in ("0.0.0.0", "::", "localhost"):
            host = f"[{program.host}]" if ":" in program.host else program.host
            return f"http://{host}:{port}"
    return f"http://127.0.0.1:{port}"
