"""The command line: `serve` runs the program, every other command talks to the running one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import click

from core.commands import COMMANDS, complain, show_json

HOME = Path(__file__).resolve().parent.parent


class DefaultGroup(click.Group):
    """A group whose `serve` may be left out: `main.py --port 9000`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = {*self.commands, "-h", "--help", "--version"}
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
    from core.desktop import open_page_and_wait
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
        if error.ours and sys.stderr is None:  # a double click, and not the first
            open_page_and_wait(error.ours)
            return 0
        complain(str(error))
        return 1
    folder = (logs or HOME / "logs").resolve()
    try:
        log_file = log.set_up(folder, program.log_level, console=False)
    except OSError as error:
        listener.close()
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
    """Print for the person at the console, if there is one (pythonw has none).

    A terminal that was closed, or a pipe that nobody reads any more, is no reason to fail: the
    program goes on without it.
    """
    if sys.stdout is None:
        return
    try:
        click.echo(text)
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):  # what is still in the buffer goes there
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@cli.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
def check(file: Path | None, as_json: bool) -> int:
    """Print every problem of a config file with its place in it."""
    from core.config.store import find_config, read_config
    from core.errors import ConfigError
    from core.provided import look, unprovided

    try:
        path = find_config(file, os.environ, HOME)
        loaded = read_config(path, os.environ)
    except ConfigError as error:
        raise click.ClickException(error.message) from error
    warnings = [*loaded.warnings]
    if loaded.config is not None:
        warnings += unprovided(loaded.config, look(loaded.config.program))
    if as_json:
        show_json(
            {
                "config": str(path),
                "problems": [str(p) for p in loaded.problems],
                "warnings": [str(p) for p in warnings],
            }
        )
    else:
        for problem in loaded.problems:
            click.echo(f"error    {problem}")
        for warning in warnings:
            click.echo(f"warning  {warning}")
        models = len(loaded.config.models) if loaded.config else 0
        verdict = "not valid" if loaded.problems else f"valid, {models} models"
        click.echo(f"{path}: {verdict}")
    return 1 if loaded.problems else 0


@cli.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", required=False, type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace NEW if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
def migrate(old: Path, new: Path | None, force: bool, as_json: bool) -> int:
    """Read a config of an older version and write it in today's form."""
    from core.config.migrate import migrate_file
    from core.errors import ConfigError

    try:
        written, done = migrate_file(old, new, force=force)
    except (ConfigError, OSError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        show_json({"written": str(written), "notes": list(done.notes)})
    else:
        for note in done.notes:
            click.echo(note)
        click.echo(f"written: {written}")
    return 0


for command in COMMANDS:
    cli.add_command(command)
