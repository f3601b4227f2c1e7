"""Disks, ports, servers and clients at their worst, one at a time."""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import json
import os
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.launchers.ports import free_port
from tests.e2e.conftest import Start
from tests.fakes.program import Program, model, pid_in
from tests.fakes.seed_plugins import MY_MODE
from tests.fakes.survivors import owned_by
from tests.fakes.waiting import until_sync
from tests.windows.here import under_wine

Record = Callable[[str, object], None]
CHAT = "/v1/chat/completions"

AT_ONCE = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
"""SO_LINGER: closing resets the connection."""

if sys.platform == "linux":
    import resource


def linux(what: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(sys.platform != "linux", reason=f"POSIX only: {what}")


def idle(running: Program) -> bool:
    """No lease, nobody in line, no request under way."""
    models = running.ask("GET", "/api/models")[1]["models"]
    left = sum(each["pending"] + each["waiting"] for each in models)
    return not left and not running.ask("GET", "/api/requests")[1]["requests"]


# ---- a full disk ---------------------------------------------------------------------------------


class FullDisk:
    """A folder on a disk of its own that is full from `fill` to `clear`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self, running: Program) -> None:
        with contextlib.suppress(OSError), self._filler.open("wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            (self.folder / "more").write_bytes(b"x" * 4096)

    def clear(self, running: Program) -> None:
        self._filler.unlink()


class FullFiles:
    """Where nobody may mount anything: no file of the program may grow any longer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, running: Program) -> None:
        self._limit(running, 100)

    def clear(self, running: Program) -> None:
        self._limit(running, -1)

    def _limit(self, running: Program, size: int) -> None:
        limits = (size, resource.RLIM_INFINITY)
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, limits)


Disk = FullDisk | FullFiles


@pytest.fixture(params=["a disk of its own", "a limit"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    mounts = request.param == "a disk of its own" and os.geteuid() == 0
    if mounts and subprocess.run(mount, capture_output=True).returncode == 0:
        try:
            yield FullDisk(folder)
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
    else:
        yield FullFiles(folder)


@linux("mounts, RLIMIT_FSIZE")
@pytest.mark.timeout(180)
def test_a_full_disk_costs_log_lines_and_nothing_else(
    start: Start, tmp_path: Path, disk: Disk
) -> None:
    running = start({"a": model(tmp_path, "a", "flood=50")}, logs=disk.folder / "logs")
    output = disk.folder / "logs" / "models" / "a.log"
    running.chat("a")
    until_sync(lambda: "flood" in output.read_text())
    disk.fill(running)
    statuses = [running.chat("a", stream=n % 2 == 0)[0] for n in range(200)]
    assert statuses == [200] * 200
    running.ask("POST", "/api/models/a/stop?wait=1")
    assert running.chat("a")[0] == 200, "it starts on a full disk"
    tail = running.ask("GET", "/api/models/a/logs?lines=5")[1]["lines"]
    assert tail, "the live view needs no disk"
    written = output.stat().st_size
    disk.clear(running)
    until_sync(lambda: output.stat().st_size > written)
    # Not asked for: the log line that tells of lost lines may itself have met the full disk.
    assert running.chat("a")[0] == 200


# ---- floods and storms ---------------------------------------------------------------------------


def rss_mb(running: Program) -> float:
    pages = int(Path(f"/proc/{running.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@linux("/proc")
@pytest.mark.timeout(240)
def test_a_flood_of_output_disturbs_nobody(
    start: Start, tmp_path: Path, record_property: Record
) -> None:
    names = ("a", "b")
    running = start({name: model(tmp_path, name, "flood=10000") for name in names})
    assert [running.chat(name, stream=True)[0] for name in names] == [200, 200]
    before = rss_mb(running)

    def stream(number: int) -> bool:
        body = {"model": names[number % 2], "messages": [], "stream": True}
        with running.stream(CHAT, {**body, "max_tokens": 40, "fake_delay": 0.05}) as response:
            return response.status == 200 and b"[DONE]" in response.read()

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        assert all(pool.map(stream, range(40)))
    grown = rss_mb(running) - before
    lines = sum(flood_lines(running, name) for name in names)
    record_property("MB grown", round(grown, 1))
    print(f"40 streams, {lines} lines in the log files, {grown:.1f} MB more")
    assert grown < 64
    assert idle(running)
    assert "missing from disk" not in running.log()


def flood_lines(running: Program, name: str) -> int:
    """How many numbered lines of the model are in its files; none may be missing between them."""
    newest = running.logs / "models" / f"{name}.log"
    files = [*sorted(newest.parent.glob(f"{name}.log.*"), reverse=True), newest]
    text = b"".join(file.read_bytes() for file in files)
    numbers = [int(found) for found in re.findall(rb"^flood (\d+) y{90}$", text, re.MULTILINE)]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    return len(numbers)


class Streams:
    """Many clients that have each got the beginning of an endless answer."""

    def __init__(self, running: Program, count: int, *, model: str = "a", **more: Any) -> None:
        body = {"model": model, "messages": [], "stream": True, "max_tokens": 2000, **more}
        text = json.dumps({"fake_delay": 0.5, **body})
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(text)}\r\n\r\n"
        self.sockets = []
        for _ in range(count):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(60)
            sock.connect(("127.0.0.1", running.port))
            sock.sendall((head + text).encode())
            self.sockets.append(sock)

    def first_bytes(self) -> list[bytes]:
        """The first bytes that each of them got."""
        return [sock.recv(15) for sock in self.sockets]

    def leave(self, *, reset: bool = False) -> None:
        for sock in self.sockets:
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            sock.close()
        self.sockets.clear()

    def __enter__(self) -> Streams:
        return self

    def __exit__(self, *error: object) -> None:
        self.leave()


@contextlib.contextmanager
def few_files() -> Iterator[None]:
    """What is started meanwhile may have 1024 files open, as on most Linux systems."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@linux("RLIMIT_NOFILE")
@pytest.mark.timeout(240)
def test_five_hundred_streams_at_once_and_a_model_that_starts_meanwhile(
    start: Start, tmp_path: Path, record_property: Record
) -> None:
    with few_files():
        running = start({"a": model(tmp_path, "a"), "b": model(tmp_path, "b")})
    running.chat("a")
    began = time.monotonic()
    with Streams(running, 520) as streams:  # with those to the server, more than 1024 descriptors
        assert set(streams.first_bytes()) == {b"HTTP/1.1 200 OK"}
        seconds = time.monotonic() - began
        assert running.model("a")["pending"] == 520
        assert running.chat("b")[0] == 200
    until_sync(lambda: idle(running))
    record_property("seconds until all had their first bytes", round(seconds, 2))
    print(f"520 first bytes after {seconds:.2f} s")


@linux("/proc")
@pytest.mark.timeout(180)
def test_clients_that_do_not_read_cost_little_memory(
    start: Start, tmp_path: Path, record_property: Record
) -> None:
    running = start({"a": model(tmp_path, "a")})
    running.chat("a")
    before = rss_mb(running)
    with Streams(running, 10, max_tokens=50_000, fake_delay=0) as streams:
        until_sync(lambda: all(each["bytes"] for each in flights(running)))
        seen: list[list[int]] = []

        def held_back() -> bool:
            seen.append([each["bytes"] for each in flights(running)])
            time.sleep(0.3)
            return len(seen) > 1 and seen[-1] == seen[-2] and len(seen[-1]) == 10

        until_sync(held_back, seconds=60)
        assert max(seen[-1]) < 6_000_000, "an answer has 8 MB, and its server had to wait"
        grown = rss_mb(running) - before
        assert running.chat("a")[0] == 200, "others are served"
        assert running.model("a")["pending"] == len(streams.sockets)
    until_sync(lambda: idle(running))
    record_property("MB grown", round(grown, 1))
    print(f"10 clients that do not read: {grown:.1f} MB, {max(seen[-1])} bytes on their way each")
    assert grown < 40


def flights(running: Program) -> list[Any]:
    return list(running.ask("GET", "/api/requests")[1]["requests"])


@pytest.mark.timeout(180)
def test_storms_of_resets(start: Start, tmp_path: Path) -> None:
    running = start({"a": model(tmp_path, "a"), "cold": model(tmp_path, "cold", "slow_load=1")})
    running.chat("a")
    for _ in range(3):
        with Streams(running, 100) as streams, Streams(running, 100, model="cold") as waiting:
            streams.first_bytes()
            waiting.leave(reset=True)
            streams.leave(reset=True)
            for _ in range(200):  # these reset before they have asked for anything
                with socket.create_connection(("127.0.0.1", running.port)) as sock:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        assert running.chat("a")[0] == 200
    until_sync(lambda: idle(running))
    assert running.chat("cold")[0] == 200
    assert running.model("cold")["starts"] == 1
    assert "Traceback" not in running.log()


# ---- servers that hang, and strangers ------------------------------------------------------------


@pytest.mark.timeout(180)
def test_a_server_that_hangs_is_ended_by_a_stop(
    start: Start, tmp_path: Path, record_property: Record
) -> None:
    running = start({"a": model(tmp_path, "a", stop_timeout=1)})
    server = psutil.Process(pid_in(running.chat("a")[1]))
    server.suspend()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(running.chat, "a")
        until_sync(lambda: running.model("a")["pending"] == 1)
        began = time.monotonic()
        status, answer = running.ask("POST", "/api/models/a/stop?wait=1")
        seconds = time.monotonic() - began
        assert (status, answer["state"]) == (200, "stopped")
        status, answer = hanging.result()
    assert (status, answer["error"]["code"]) == (502, "upstream_error")
    assert not server.is_running()
    assert not owned_by(running.process.pid)
    record_property("seconds", round(seconds, 2))
    print(f"stopped after {seconds:.2f} s: a second for the answer, another for the server")
    assert running.chat("a")[0] == 200


class Stranger:
    """A listener that belongs to another program (this one) and counts who comes."""

    def __init__(self, port: int = 0) -> None:
        self.socket = socket.create_server(("127.0.0.1", port), backlog=200)
        self.socket.setblocking(False)
        self.port = int(self.socket.getsockname()[1])

    def got(self) -> list[bytes]:
        """What each of its visitors has sent so far."""
        seen = []
        with contextlib.suppress(BlockingIOError):
            while True:
                visitor, _ = self.socket.accept()
                visitor.setblocking(False)
                try:
                    seen.append(visitor.recv(65536))
                except BlockingIOError:
                    seen.append(b"")
                visitor.close()
        return seen

    def __enter__(self) -> Stranger:
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()


def test_a_stranger_on_the_port_is_named_and_gets_nothing(start: Start, tmp_path: Path) -> None:
    with Stranger(free_port(())) as stranger:
        running = start({"a": model(tmp_path, "a", port=stranger.port)})
        status, answer = running.chat("a")
        assert (status, answer["error"]["code"]) == (503, "model_failed")
        assert f"port {stranger.port} is taken by" in answer["error"]["message"]
        # wine cannot tell whose socket it is
        assert under_wine() or f"(pid {os.getpid()})" in answer["error"]["message"]
        assert stranger.got() == []
    assert running.chat("a")[0] == 200, "once the port is free"


@pytest.mark.skipif(under_wine(), reason="wine cannot tell whose socket it is")
def test_a_stranger_that_comes_before_the_server_gets_nothing(start: Start, tmp_path: Path) -> None:
    port = free_port(())
    entry = model(tmp_path, "a", "late_bind=600", port=port)
    running = start({"a": entry})
    running.ask("POST", "/api/models/a/start")
    until_sync(lambda: running.model("a")["pid"])
    with Stranger(port) as stranger, concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(running.chat, "a")
        until_sync(lambda: f"port {port} is answered by" in running.model("a")["stage"])
        assert f"(pid {os.getpid()})" in running.model("a")["stage"]
        assert running.model("a")["state"] == "starting"
        until_sync(lambda: running.model("a")["waiting"] == 2)  # the start is one of them
        running.ask("POST", "/api/models/a/stop?wait=1")
        status, answer = waiting.result()
        assert (status, answer["error"]["code"]) == (503, "model_stopped")
        visits = stranger.got()
    assert visits, "somebody knocked"
    assert set(visits) == {b""}, "and said nothing"


def test_a_redirect_is_not_followed(start: Start, tmp_path: Path) -> None:
    interfaces = tmp_path / "interfaces"
    interfaces.mkdir()
    (interfaces / "my_mode.py").write_text(MY_MODE, encoding="utf-8")  # it asks for nothing
    with Stranger() as stranger:
        target = f"http://127.0.0.1:{stranger.port}/stolen"
        entry = model(tmp_path, "a", f"redirect={target}", mode="MyMode")
        running = start({"a": entry}, interface_plugin_dir=str(interfaces))
        status, headers, _ = running.raw("POST", "/v1/mymode/completions", {"model": "a"})
        assert (status, headers["Location"]) == (307, target), "the client may decide"
        assert stranger.got() == []


def test_twenty_clients_of_a_model_without_a_script(start: Start, tmp_path: Path) -> None:
    entry = model(tmp_path, "a")
    script = entry["V"]["bat_path"]
    (tmp_path / script).unlink()
    running = start({"a": entry})
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: running.chat("a"), range(20)))
    for status, answer in answers:
        assert (status, answer["error"]["code"]) == (503, "model_failed")
        assert script in answer["error"]["message"]
    seen = running.model("a")
    assert seen["starts"] <= 1
    assert seen["memory_mb"] == {}
    assert script in seen["startable"]
