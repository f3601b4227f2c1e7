"""Signals become a request to end, and only while somebody listens."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from core.signals import NAMES, Signals
from tests.fakes.waiting import until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals to oneself are POSIX")


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
            os.kill(os.getpid(), number)
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


async def test_nohup_is_respected() -> None:
    """Who started us with nohup wants us to outlive the terminal."""
    asked: list[int] = []
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Signals(lambda: asked.append(1)):
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: asked)
        await asyncio.sleep(0)
    assert asked == [1]
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
