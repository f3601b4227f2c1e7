"""The commands that talk to the running program over HTTP, as any other client would."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import click

if TYPE_CHECKING:
    from rich.console import Console

HOME = Path(__file__).resolve().parent.parent
POLL = 0.2


class NotRunning(click.ClickException):
    """Nobody answers at the address."""


class Refused(click.ClickException):
    """The program answered with an error."""


class Client:
    """One running LLM-Manager."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        self.url = f"http://{parts.netloc}"
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or 80

    def get(self, path: str) -> Any:
        return self._ask("GET", path)

    def post(self, path: str) -> Any:
        return self._ask("POST", path)

    def lines(self, path: str) -> Iterator[str]:
        """The lines of a server-sent event stream."""
        connection, response = self._send("GET", path, timeout=None)
        with contextlib.closing(connection):
            while raw := response.readline():
                yield raw.decode("utf-8", "replace").rstrip("\r\n")

    def _ask(self, method: str, path: str) -> Any:
        connection, response = self._send(method, path, timeout=60.0)
        with contextlib.closing(connection):
            return json.loads(response.read())

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


def client_command(function: Callable[..., Any]) -> click.Command:
    """A command with `--url` and `--json`; its first parameters are the client and the flag."""

    @click.pass_context
    def run(context: click.Context, /, url: str | None, as_json: bool, **more: Any) -> Any:
        return context.invoke(function, Client(url or default_url()), as_json, **more)

    run.__doc__ = function.__doc__
    name = function.__name__.rstrip("_").replace("_", "-")
    command = click.command(name)(run)
    command.params[:0] = [
        click.Option(["--url"], help="Address of the running program."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print JSON for a program."),
        *reversed(getattr(function, "__click_params__", [])),
    ]
    return command


def console() -> Console:
    from rich.console import Console

    wide = None if sys.stdout is not None and sys.stdout.isatty() else 200
    return Console(highlight=False, soft_wrap=True, width=wide)


def table(columns: list[str], rows: list[list[str]]) -> None:
    """Print rows with aligned columns; wide enough terminals get one line per row."""
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(column, overflow="fold", no_wrap=column == columns[0])
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    console().print(grid)


def show_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def info(client: Client, as_json: bool) -> None:
    """Show the running program: address, config, log file."""
    answer = client.get("/api/info")
    if as_json:
        show_json(answer)
        return
    rows = [[key.replace("_", " "), _words(value)] for key, value in answer.items()]
    table(["", ""], rows)


def ps(client: Client, as_json: bool) -> None:
    """List the models and what each is doing."""
    answer = client.get("/api/models")
    if as_json:
        show_json(answer)
        return
    table(
        ["MODEL", "MODE", "STATE", "SECONDS", "VARIANT", "PORT", "REQUESTS", "MEMORY"],
        [_model_row(model) for model in answer["models"]],
    )
    for model in answer["models"]:
        if note := _trouble(model):
            click.echo(f"{model['name']}: {note}")


def devices(client: Client, as_json: bool) -> None:
    """List the devices and their memory."""
    answer = client.get("/api/devices")
    if as_json:
        show_json(answer)
        return
    rows = []
    for device in answer["devices"]:
        state = "online" if device["online"] else f"offline: {device['error'] or 'no reason given'}"
        numbers = [str(device[k]) for k in ("total_mb", "available_mb", "used_mb", "reserved_mb")]
        rows.append([device["name"], state, *numbers])
    table(["DEVICE", "STATE", "TOTAL MB", "FREE MB", "USED MB", "RESERVED MB"], rows)


@click.argument("model")
@click.option("--no-wait", is_flag=True, help="Return at once.")
def start(client: Client, as_json: bool, model: str, no_wait: bool) -> int:
    """Load a model and wait until it answers."""
    path = f"/api/models/{quote(model, safe='')}"
    status = client.post(f"{path}/start")
    if not no_wait:
        status = _wait_for_load(client, path, status, quiet=as_json)
    if as_json:
        show_json(status)
    elif status["state"] == "ready":
        click.echo(f"{status['name']} is ready on port {status['port']} ({status['variant']})")
    return 0 if no_wait or status["state"] == "ready" else 1


@click.argument("model")
@click.option("--no-wait", is_flag=True, help="Return at once.")
def stop(client: Client, as_json: bool, model: str, no_wait: bool) -> None:
    """Unload a model; running answers get its stop_timeout to finish."""
    path = f"/api/models/{quote(model, safe='')}"
    status = client.post(f"{path}/stop")
    while not no_wait and status["state"] not in ("stopped", "failed"):
        time.sleep(POLL)
        status = client.get(f"{path}/info")
    if as_json:
        show_json(status)
    else:
        click.echo(f"{status['name']} is {status['state']}")


@click.argument("model")
@click.option("-f", "--follow", is_flag=True, help="Go on as lines come; Ctrl+C ends it.")
@click.option("-n", "--lines", default=200, show_default=True, help="How many earlier lines.")
def logs(client: Client, as_json: bool, model: str, follow: bool, lines: int) -> None:
    """Print what a model's server has printed."""
    path = f"/api/models/{quote(model, safe='')}/logs"
    if not follow:
        answer = client.get(f"{path}?lines={lines}")
        if as_json:
            show_json(answer)
        else:
            for line in answer["lines"]:
                click.echo(line)
        return
    for event in client.lines(f"{path}/stream?lines={lines}"):
        if event.startswith("data: "):
            data = event.removeprefix("data: ")
            click.echo(data if as_json else json.loads(data)["line"])


def _wait_for_load(client: Client, path: str, status: Any, *, quiet: bool) -> Any:
    """Show state, seconds and the last log line until it is ready or has failed."""
    began = time.monotonic()
    first_start = status["starts"]
    with console().status("", spinner="line") if _live(quiet) else contextlib.nullcontext() as live:
        shown = ""
        while not _settled(status, first_start):
            text = f"{status['name']}: {status['stage'] or status['state']}"
            if live is not None:
                line = f"{text}, {time.monotonic() - began:.0f} s  {status['last_line'][-100:]}"
                live.update(_plain(line))
            elif text != shown and not quiet:
                click.echo(f"{text} ({time.monotonic() - began:.0f} s)", err=True)
                shown = text
            time.sleep(POLL)
            status = client.get(f"{path}/info")
    if status["state"] != "ready" and not quiet:
        click.echo(
            f"{status['name']} did not start: {_trouble(status) or status['state']}", err=True
        )
        for line in (status["failure"] or {}).get("log_tail", []):
            click.echo(f"  {line}", err=True)
    return status


def _settled(status: Any, first_start: int) -> bool:
    """Ready, or at rest again with nobody waiting for it."""
    if status["state"] == "ready":
        return True
    return status["state"] in ("stopped", "failed") and not status["waiting"]


def _live(quiet: bool) -> bool:
    return not quiet and sys.stdout is not None and sys.stdout.isatty()


def _plain(text: str) -> Any:
    from rich.text import Text

    return Text(text, overflow="ellipsis", no_wrap=True)


def _model_row(model: Any) -> list[str]:
    memory = ", ".join(f"{device} {mb} MB" for device, mb in model["memory_mb"].items())
    requests = str(model["pending"])
    if model["waiting"]:
        requests += f" (+{model['waiting']} waiting)"
    resting = model["state"] == "stopped"
    return [
        model["name"],
        model["mode"],
        model["state"],
        "" if resting else f"{model['state_seconds']:.0f}",
        model["variant"] or "",
        str(model["port"] or ""),
        requests,
        memory,
    ]


def _trouble(model: Any) -> str:
    """Why it failed, or cannot be started."""
    if model["failure"]:
        reason = model["failure"]["reason"]
        wait = model["failure"]["retry_in"]
        return f"{reason}; next try in {wait:.0f} s" if wait else str(reason)
    return str(model["startable"] or "")


def _words(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


COMMANDS = tuple(client_command(f) for f in (info, ps, start, stop, logs, devices))
