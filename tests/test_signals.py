"""Signals become a request to end, and only while somebody listens."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading

import pytest

from core import signals
from core.signals import CLOSED, NAMES, Signals
from tests.fakes.waiting import until


def here() -> list[signal.Signals]:
    return [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


@pytest.fixture(autouse=True)
def restored() -> object:
    before = {number: signal.getsignal(number) for number in here()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", here(), ids=lambda number: number.name)
async def test_every_signal_asks_in_the_loop(number: signal.Signals) -> None:
    asked: list[asyncio.AbstractEventLoop] = []
    signal.signal(number, signal.SIG_DFL)
    with Signals(lambda: asked.append(asyncio.get_running_loop())):
        for count in (1, 2):
            signal.raise_signal(number)
            await until(lambda count=count: len(asked) == count)  # type: ignore[misc]
    assert asked == [asyncio.get_running_loop()] * 2


async def test_nothing_is_left_behind() -> None:
    for number in here():
        signal.signal(number, signal.SIG_DFL)
    with Signals(lambda: None):
        assert all(signal.getsignal(number) is not signal.SIG_DFL for number in here())
    for number in here():
        after = signal.getsignal(number)
        assert after in (signal.SIG_DFL, signal.default_int_handler), number


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only: SIGHUP")
async def test_nohup_is_respected() -> None:
    """Who started us with nohup wants us to outlive the terminal."""
    asked: list[int] = []
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Signals(lambda: asked.append(1)):
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGTERM)
        await until(lambda: asked)
        await asyncio.sleep(0)
    assert asked == [1]
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.mark.parametrize("kind", CLOSED)
async def test_a_closed_console_asks_twice_and_is_never_done(
    kind: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows calls it in a thread, and ends the process as soon as that one returns."""
    asked: list[asyncio.AbstractEventLoop] = []
    monkeypatch.setattr(signals, "PATIENCE", 0.01)
    with Signals(lambda: asked.append(asyncio.get_running_loop())) as it:
        console = threading.Thread(target=it._console_event, args=(kind,), daemon=True)
        console.start()
        await until(lambda: len(asked) == 2)
        assert asked == [asyncio.get_running_loop()] * 2
        assert console.is_alive()


async def test_ctrl_c_is_left_to_the_signals() -> None:
    with Signals(lambda: None) as it:
        assert not it._console_event(0)
        assert not it._console_event(1)
