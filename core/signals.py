"""Ctrl+C, SIGTERM and closing the console become a polite request to end."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType

from core.bridge import Bridge

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
CLOSED = (2, 5, 6)
"""Windows: the console was closed, the user logs off, the computer shuts down."""
PATIENCE = 2.5
"""Seconds for a gentle end once the console is closed; Windows ends us after about five."""


class Signals:
    """While entered, every signal that asks for the end calls `ask` in the loop's thread.

    An ignored SIGHUP stays ignored: whoever started us with nohup wants us to outlive the terminal.
    """

    def __init__(self, ask: Callable[[], None]) -> None:
        self._ask = ask
        self._loop = asyncio.get_running_loop()
        self._before: dict[signal.Signals, object] = {}
        self._console_handler: object = None

    def __enter__(self) -> Signals:
        if sys.platform == "win32":
            self._console_handler = _handle_console(self._console_event)
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
        if sys.platform == "win32" and self._console_handler is not None:
            _forget_console(self._console_handler)
        for number, before in self._before.items():
            if sys.platform == "win32":
                signal.signal(number, before)  # type: ignore[arg-type]
            else:
                self._loop.remove_signal_handler(number)

    def _from_handler(self, number: int, frame: FrameType | None) -> None:
        self._loop.call_soon_threadsafe(self._ask)

    def _console_event(self, kind: int) -> bool:
        """Called by Windows in a thread of its own; whoever returns from a close is ended at once.

        So it never returns, and the end of the program ends its thread.
        """
        if kind not in CLOSED:
            return False  # Ctrl+C and Ctrl+Break are signals
        bridge, never = Bridge(self._loop), threading.Event()
        bridge.call(self._ask)
        never.wait(PATIENCE)
        bridge.call(self._ask)
        never.wait()
        return True


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    _Handler = ctypes.WINFUNCTYPE(wintypes.BOOL, wintypes.DWORD)

    def _handle_console(handle: Callable[[int], bool]) -> object:
        """Call `handle` first at every event of the console; what it returns is to be kept."""
        handler = _Handler(handle)
        ctypes.windll.kernel32.SetConsoleCtrlHandler(handler, True)
        return handler

    def _forget_console(handler: object) -> None:
        ctypes.windll.kernel32.SetConsoleCtrlHandler(handler, False)
