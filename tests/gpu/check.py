"""What only a real NVIDIA GPU can show: `python -m tests.gpu.check` on a machine that has one.

Two models that each need most of the GPU take turns; the GPU's own word (NVML) is asked before,
while and after. Ends with exit code 1 if anything is not as promised.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pynvml

from tests.fakes.program import HOME, Program, program, write_config
from tests.fakes.waiting import until_sync

SLACK_MB = 1024
"""A CUDA context and the driver's own use."""


def free_mb() -> int:
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    return int(pynvml.nvmlDeviceGetMemoryInfo(handle).free) >> 20


def entry(folder: Path, name: str, device: str, megabytes: int) -> dict[str, Any]:
    script = folder / f"{name}.sh"
    server = HOME / "tests" / "gpu" / "server.py"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{server}"\n', encoding="utf-8")
    variant = {
        "required_devices": [device],
        "bat_path": script.name,
        "memory_mb": {device: megabytes},
    }
    return {
        "aliases": [name],
        "mode": "Chat",
        "env": {"GPU_MB": str(megabytes - 600)},
        "V": variant,
    }


@contextmanager
def running(device: str, megabytes: int) -> Iterator[Program]:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        models = {name: entry(folder, name, device, megabytes) for name in ("a", "b")}
        plugins = str(HOME / "plugins" / "devices")
        config = write_config(folder, models, device_plugin_dir=plugins)
        with program(config, folder / "logs") as one:
            yield one


def say(what: str, good: bool) -> bool:
    print(f"{'ok  ' if good else 'FAIL'} {what}", flush=True)
    return good


def take_turns(one: Program, device: str, empty: int, megabytes: int) -> Iterator[bool]:
    for turn, name in enumerate("abab"):
        began = time.monotonic()
        status, answer = one.chat(name)
        seconds = time.monotonic() - began
        told = f"turn {turn}: {name} answers {status} after {seconds:.2f} s, {free_mb()} MB free"
        yield say(told, status == 200 and free_mb() < empty - megabytes + 2 * SLACK_MB)
        if status != 200:
            print(answer)
    seen = {d["name"]: d for d in one.ask("GET", "/api/devices")[1]["devices"]}[device]
    print(seen)
    yield say("the device tells use, temperature and power", len(seen["metrics"]) == 3)
    one.ask("POST", "/api/models/stop-all?wait=1")
    yield say(f"after stop-all {free_mb()} of {empty} MB are free", free_mb() > empty - SLACK_MB)


def kill_minus_nine(one: Program, empty: int) -> bool:
    one.chat("a")
    os.kill(one.process.pid, signal.SIGKILL)
    began = time.monotonic()
    until_sync(lambda: free_mb() > empty - SLACK_MB)
    return say(f"kill -9: memory is back after {time.monotonic() - began:.2f} s", True)


def main() -> int:
    pynvml.nvmlInit()
    empty = free_mb()
    with tempfile.TemporaryDirectory() as made:
        plugins = str(HOME / "plugins" / "devices")
        config = write_config(Path(made), {}, device_plugin_dir=plugins)
        with program(config, Path(made) / "logs") as one:
            devices = until_sync(lambda: one.ask("GET", "/api/devices")[1]["devices"])
            print([(d["name"], d["online"], d["total_mb"], d["error"]) for d in devices])
            device = next(d["name"] for d in devices if d["online"] and d["name"] != "cpu")
    megabytes = int(empty * 0.7)
    with running(device, megabytes) as one:
        good = list(take_turns(one, device, empty, megabytes))
        good.append(kill_minus_nine(one, empty))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
