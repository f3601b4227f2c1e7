"""Which processes of a world are still there, by the environment they were given."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from core.launchers import leftovers
from core.launchers.leftovers import MARK
from tests.fakes.waiting import DEADLINE, until_sync


def carrying(text: str) -> dict[int, str]:
    """The living processes in whose environment this text stands: pid to command line. Linux."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if text.encode() in Path(f"/proc/{name}/environ").read_bytes():
                command = Path(f"/proc/{name}/cmdline").read_bytes()
                found[int(name)] = command.replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue  # it ended meanwhile
    return found


def owned_by(manager: int) -> dict[int, str]:
    """The living processes of all trees that this manager started, guardians among them."""
    if sys.platform != "linux":
        found = leftovers.marked()
        return {each.pid: each.mark for each in found if each.mark.startswith(f"{manager}.")}
    return carrying(f"{MARK}={manager}.")


def seconds_until_none(text: str) -> float:
    """Wait until nobody carries the text, by two looks in a row: one can miss a fork."""
    began = time.monotonic()
    last = began

    def none() -> bool:
        nonlocal last
        last = time.monotonic()
        return not carrying(text) and not carrying(text)

    try:
        until_sync(none, seconds=DEADLINE)
    except AssertionError:
        raise AssertionError(f"still there: {carrying(text)}") from None
    return last - began
