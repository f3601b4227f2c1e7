"""The command line: `serve` runs the program, every other command talks to the running one."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

HOME = Path(__file__).resolve().parent.parent


class DefaultGroup(click.Group):
    """A group whose `serve` may be left out: `main.py --port 9000`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = {*self.commands, "--help", "--version"}
        if not args or (args[0] not in known and args[0].startswith("-")):
            args = ["serve", *args]
        return super().parse_args(ctx, args)


def main() -> int:
    """Run one command; the exit code is 0 only on success."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        result = cli.main(prog_name="main.py", standalone_mode=False)
        return int(result or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130


@click.group(cls=DefaultGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option("2.0.0", prog_name="LLM-Manager")
def cli() -> None:
    """One OpenAI-compatible address for all the local models of this machine."""


@cli.command()
@click.option("--config", type=click.Path(path_type=Path), help="The config file.")
@click.option("--host", help="Address to listen on, instead of the config's.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 = any free one.")
@click.option("--headless", is_flag=True, help="No tray icon.")
@click.option("--logs", type=click.Path(path_type=Path), help="Folder of the log files.")
def serve(
    config: Path | None, host: str | None, port: int | None, headless: bool, logs: Path | None
) -> int:
    """Run the program (the default command)."""
    from core import log
    from core.app import App, Options
    from core.errors import ConfigError
    from core.listening import AddressTaken, listen
    from core.loop import loop_factory

    try:
        store = open_store(config)
    except ConfigError as error:
        for line in (error.message, *(f"  {problem}" for problem in error.problems)):
            complain(line)
        return 1
    program = store.current.program
    host, port = host or program.host, program.port if port is None else port
    try:
        listener = listen(host, port)
    except AddressTaken as error:
        complain(str(error))
        return 1
    folder = (logs or HOME / "logs").resolve()
    try:
        log_file = log.set_up(folder, program.log_level, console=False)
    except OSError as error:
        complain(f"the log folder cannot be used: {error}")
        return 1
    options = Options(store, host, listener.port, folder, log_file, headless, say)

    async def run() -> None:
        await App(options, listener).run()

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(run())
    return 0


def open_store(config: Path | None) -> Any:
    """The config store of this start. Raises ConfigError with every problem."""
    from core.config.store import ConfigStore, find_config

    return ConfigStore(find_config(config, os.environ, HOME), os.environ)


def say(text: str) -> None:
    """Print for the person at the console, if there is one (pythonw has none)."""
    if sys.stdout is not None:
        click.echo(text)
        sys.stdout.flush()


def complain(text: str) -> None:
    if sys.stderr is not None:
        click.echo(text, err=True)


Command = Callable[..., Any]
