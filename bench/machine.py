"""What processes cost, as the Linux kernel tells it, and which core each of them gets."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Cores:
    """The cores of the three parts; with two cores the stub and the clients share one."""

    proxy: int
    stub: int
    load: int

    @classmethod
    def of_this_machine(cls) -> Cores:
        mine = sorted(os.sched_getaffinity(0))
        return cls(mine[0], mine[min(1, len(mine) - 1)], mine[-1])


def on_core(core: int, *command: str | Path) -> list[str]:
    """The command, tied to one core."""
    return ["taskset", "--cpu-list", str(core), *map(str, command)]


def family(pid: int) -> set[int]:
    """The process and all its descendants."""
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(pid).children(recursive=True)
        return {pid, *(child.pid for child in children)}
    return set()


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time of all threads of these processes so far, in nanosecond steps."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                total += int(task.read_text().split()[0])
    return total / 1e9


def memory_mb(pids: Iterable[int]) -> float:
    """Resident memory of these processes in all; what they share counts once (PSS)."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


@contextlib.contextmanager
def peak_memory(pids: set[int]) -> Iterator[list[float]]:
    """The highest `memory_mb` while the block runs, in the list that it yields."""
    peak = [memory_mb(pids)]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            peak[0] = max(peak[0], memory_mb(pids))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def wait_for_port(port: int, seconds: float, pause: float = 0.02) -> None:
    """Return when somebody listens there. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(pause)
    raise TimeoutError(f"nobody listens on port {port} after {seconds} s")
