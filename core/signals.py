"""Ctrl+C, SIGTERM and closing the console become a polite request to end."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from types import FrameType, TracebackType

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")


class Signals:
    """While entered, every signal that asks for the end calls `ask` in the loop's thread.

    An ignored SIGHUP stays ignored: whoever started us with nohup wants us to outlive the terminal.
    """

    def __init__(self, ask: Callable[[], None]) -> None:
        self._ask = ask
        self._loop = asyncio.get_running_loop()
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Signals:
        for name in NAMES:
            number = getattr(signal, name, None)
            if number is None or (name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN):
                continue
            if sys.platform == "win32":
                self._before[number] = signal.signal(number, self._from_handler)
            else:
                self._loop.add_signal_handler(number, self._ask)
                self._before[number] = None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, before in self._before.items():
            if sys.platform == "win32":
                signal.signal(number, before)  # type: ignore[arg-type]
            else:
                self._loop.remove_signal_handler(number)

    def _from_handler(self, number: int, frame: FrameType | None) -> None:
        self._loop.call_soon_threadsafe(self._ask)
