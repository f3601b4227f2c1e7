"""The commands that talk to the running program over HTTP, as any other client would."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from core.client import Client, Refused, default_url
from core.desktop import show_message

if TYPE_CHECKING:
    from rich.console import Console

POLL = 0.2


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
    """The terminal; in a pipe or a file a row is a line, however long."""
    from rich.console import Console

    width = None if sys.stdout is not None and sys.stdout.isatty() else 10_000
    return Console(highlight=False, soft_wrap=True, width=width)


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


def complain(text: str) -> None:
    """Tell the person what is wrong: at the console, or in a window where there is none."""
    if sys.stderr is not None:
        click.echo(text, err=True)
    else:
        show_message(text)


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
    if no_wait:
        status = client.post(f"{path}/start")
    else:
        try:
            status = _load(client, path, quiet=as_json)
        except Refused as error:
            if not as_json:
                raise
            complain(error.message)
            status = client.get(f"{path}/info")
    if as_json:
        show_json(status)
    elif status["state"] == "ready":
        click.echo(f"{status['name']} is ready on port {status['port']} ({status['variant']})")
    else:
        click.echo(f"{status['name']} is {status['state']}")
    return 0 if no_wait or status["state"] == "ready" else 1


@click.argument("model")
@click.option("--no-wait", is_flag=True, help="Return at once.")
def stop(client: Client, as_json: bool, model: str, no_wait: bool) -> None:
    """Unload a model; running answers get its stop_timeout to finish."""
    status = client.post(f"/api/models/{quote(model, safe='')}/stop", wait=not no_wait)
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


def _load(client: Client, path: str, *, quiet: bool) -> Any:
    """Load it, and meanwhile show stage, seconds and last log line. Raises Refused with the why."""
    began = time.monotonic()
    loaded = _in_background(lambda: client.post(f"{path}/start", wait=True))
    shown = ""
    with console().status("", spinner="line") if _live(quiet) else contextlib.nullcontext() as live:
        while not wait([loaded], timeout=POLL).done:
            status = client.get(f"{path}/info")
            text = f"{status['name']}: {status['stage'] or status['state']}"
            seconds = time.monotonic() - began
            if live is not None:
                live.update(_plain(f"{text}, {seconds:.0f} s  {status['last_line'][-100:]}"))
            elif text != shown and not quiet:
                click.echo(f"{text} ({seconds:.0f} s)", err=True)
                shown = text
    return loaded.result()


def _in_background(call: Callable[[], Any]) -> Future[Any]:
    """The result to come of a call in a thread that does not keep the command from ending."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # raised again where the result is asked for
            future.set_exception(error)

    threading.Thread(target=run, name="call", daemon=True).start()
    return future


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
