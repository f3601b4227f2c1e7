"""What LLM-Manager costs while nobody asks anything, and until it listens."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bench.contenders import LLMManager
from bench.machine import Cores, cpu_seconds, memory_mb, wait_for_port
from bench.scenarios import Sample

SETTLE = 5.0
"""Seconds after the start that belong to the start."""


def start_times(folder: Path, cores: Cores, stub: Path, models: int, times: int) -> list[Sample]:
    """Start it again and again: seconds until it listens, and the CPU time of its process then."""
    samples: list[Sample] = []
    for number in range(times + 1):
        program = LLMManager(folder / f"start-{number}", cores, stub, models)
        begin = time.monotonic()
        program.process = program.spawn(program.command())
        try:
            wait_for_port(program.port, 60.0, pause=0.002)
            seconds = time.monotonic() - begin
            samples.append({"seconds": seconds, "cpu": cpu_seconds([program.process.pid])})
        finally:
            program.stop()
    return samples[1:]  # the first one compiles


def idle(program: LLMManager, seconds: float, *, dashboard: bool) -> Sample:
    """Per cent of one core that all its processes need, and their memory."""
    with _dashboard(program.port) if dashboard else contextlib.nullcontext():
        time.sleep(SETTLE)
        pids = program.pids()
        before, begin = cpu_seconds(pids), time.monotonic()
        time.sleep(seconds)
        used, took = cpu_seconds(program.pids()) - before, time.monotonic() - begin
    assert program.process is not None
    return {
        "percent": 100 * used / took,
        "memory": memory_mb(pids),
        "memory_main": memory_mb([program.process.pid]),
    }


@contextlib.contextmanager
def _dashboard(port: int) -> Iterator[None]:
    """A browser tab: the page, and its event stream read for as long as the block runs."""
    page = http.client.HTTPConnection("127.0.0.1", port)
    page.request("GET", "/")
    assert page.getresponse().status == 200
    page.close()
    stream = http.client.HTTPConnection("127.0.0.1", port)
    stream.request("GET", "/live")
    answer = stream.getresponse()
    assert answer.status == 200

    def read() -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError, http.client.HTTPException):
            while answer.read1(65536):
                pass

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if stream.sock is not None:
                stream.sock.shutdown(2)
        reader.join(10)
        stream.close()
