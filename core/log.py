"""Logging: one file per run, the newest nine kept, records that stay one line each."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import time
from pathlib import Path
from typing import Any

from core.output import escape_controls

KEPT_RUNS = 9
REQUESTS = "core.gateway"
"""The logger that writes one line per request."""
_NAME = re.compile(r"LLM-Manager_(\d{14,})\.log", re.ASCII)
FORMAT = "%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s"
DATES = "%Y-%m-%d %H:%M:%S"


class OneLine(logging.Formatter):
    """Neither a newline nor an escape code in a message can forge a record or drive a terminal.

    Only a traceback takes more lines; all of them are indented, so that none looks like a record.
    """

    def format(self, record: logging.LogRecord) -> str:
        record.exc_text = None  # what another formatter made of the traceback
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = _on_one_line(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:
        return _indented(super().formatStack(stack_info))


def _on_one_line(text: str) -> str:
    return escape_controls(text.replace("\n", "\\n").replace("\r", "\\r"))


def _indented(text: str) -> str:
    return "\n".join(f"    {_on_one_line(line)}" for line in text.split("\n"))


class RunFile(logging.FileHandler):
    """The log file of this run; a full disk costs lines, never the program.

    The lines of requests wait for the next other line, or for `write_out`: a system call for each
    of thousands of requests a second would cost as much as the rest of the line.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace", delay=False)
        self.lost = 0
        self._kept_back: list[str] = []
        self._second = 0
        self._prefix = ""

    def keep_back(self, text: str) -> None:
        """Take the line of a request, as a record of `REQUESTS` at INFO would look."""
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime(DATES, time.localtime(second))
        if not text.isprintable():
            text = _on_one_line(text)
        milliseconds = int((now - second) * 1000)
        line = f"{self._prefix}.{milliseconds:03d} INFO    {REQUESTS}: {text}\n"
        self._kept_back.append(line)

    def emit(self, record: logging.LogRecord) -> None:
        self.write_out()
        super().emit(record)

    def write_out(self) -> None:
        """Write what was kept back."""
        lines, self._kept_back = self._kept_back, []
        if lines and self.stream is not None:
            try:
                self.stream.write("".join(lines))
                self.flush()
            except (OSError, ValueError):
                self.lost += len(lines)

    def close(self) -> None:
        self.write_out()
        super().close()

    def handleError(self, record: logging.LogRecord) -> None:
        self.lost += 1


def set_up(folder: Path, level: str, *, console: bool) -> Path:
    """Log to a new file in `folder` (and to the console, if there is one); returns the file."""
    logging.raiseExceptions = False
    folder.mkdir(parents=True, exist_ok=True)
    path = _new_file(folder)
    root = logging.getLogger()
    root.setLevel(level)
    formatter = OneLine(FORMAT, DATES)
    handlers: list[logging.Handler] = [RunFile(path)]
    if console and sys.stderr is not None:
        handlers.append(logging.StreamHandler())
    for handler in handlers:
        handler.setFormatter(formatter)
        root.addHandler(handler)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    _prune(folder)
    return path


def log_request(instance: str, path: str, status: int, outcome: str, seconds: float) -> None:
    """Log the line of a request; straight into the file where nobody else listens.

    A record of `logging` costs 20 microseconds, a seventh of a whole request.
    """
    text = f"{instance} {path} {status} {outcome} in {seconds:.3f} s"
    handlers = _requests.root.handlers
    if not _requests.isEnabledFor(logging.INFO):
        return
    if len(handlers) == 1 and isinstance(handlers[0], RunFile) and not _requests.handlers:
        handlers[0].keep_back(text)
    else:
        _requests.info("%s", text)


_requests = logging.getLogger(REQUESTS)


def write_out() -> None:
    """Write the lines that were kept back; called once a second while the program runs."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, RunFile):
            handler.write_out()


def _new_file(folder: Path) -> Path:
    """A name that sorts after every earlier one, also when the clock was set back."""
    stamp = int(time.strftime("%Y%m%d%H%M%S"))
    if runs := _runs(folder):
        stamp = max(stamp, runs[-1][0] + 1)
    return folder / f"LLM-Manager_{stamp}.log"


def _prune(folder: Path) -> None:
    """Keep the newest nine; a file that another program holds open stays until the next run."""
    for _, path in _runs(folder)[:-KEPT_RUNS]:
        with contextlib.suppress(OSError):
            path.unlink()


def _runs(folder: Path) -> list[tuple[int, Path]]:
    """The log files of all runs with their stamps, oldest first; nothing else lies in our hands."""
    found = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match.group(1)), path) for match, path in found if match)
