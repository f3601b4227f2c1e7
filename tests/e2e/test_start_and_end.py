"""Starting twice, taken ports, bad configs; ending with answers on their way."""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from core.launchers.ports import free_port
from tests.e2e.conftest import Start
from tests.fakes.program import HOME, model, write_config
from tests.fakes.waiting import DEADLINE, until_sync
from tests.windows.here import under_wine


def serve(*args: str) -> subprocess.CompletedProcess[str]:
    """`main.py serve` that is expected to refuse."""
    command = [sys.executable, str(HOME / "main.py"), "serve", "--headless", *args]
    return subprocess.run(command, cwd=HOME, capture_output=True, text=True, timeout=DEADLINE)


def test_a_second_start_says_that_it_runs_already(start: Start, tmp_path: Path) -> None:
    running = start({"a": model(tmp_path, "a")})
    config, logs = str(running.config), str(tmp_path / "other")
    second = serve("--config", config, "--logs", logs, "--port", str(running.port))
    assert second.returncode != 0
    assert f"already running at {running.url} (pid {running.process.pid})" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_taken_port_names_its_holder(tmp_path: Path) -> None:
    config = write_config(tmp_path, {})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = serve("--config", str(config), "--logs", str(tmp_path), "--port", port)
    assert refused.returncode != 0
    assert f"port {port} is taken by" in refused.stderr
    assert under_wine() or "pid" in refused.stderr  # wine cannot tell whose socket it is
    assert "Traceback" not in refused.stderr


def test_a_bad_config_prints_every_problem(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"program": {"prot": 1, "host": 3}, "m": {"mode": "Chat"}}')
    refused = serve("--config", str(config), "--logs", str(tmp_path))
    assert refused.returncode == 1
    for word in ("prot", "port", "host", "$.m"):
        assert word in refused.stderr
    assert "Traceback" not in refused.stderr


ENDS = [signal.SIGTERM, signal.SIGINT]
ENDS.append(signal.SIGBREAK if sys.platform == "win32" else signal.SIGHUP)


@pytest.mark.parametrize("number", ENDS)
def test_the_end_is_quick_clean_and_leaves_nothing(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    running = start({"a": model(tmp_path, "a")})
    running.chat("a")
    pid = running.model("a")["pid"]
    with running.stream("/api/events") as events:
        assert events.readline().startswith(b"event: snapshot")
        assert running.end(number) == 0
    assert not psutil.pid_exists(pid)
    assert not [line for line in running.lines if "Traceback" in line], "\n".join(running.lines)


@pytest.mark.parametrize("when", ["from the beginning", "while it runs"])
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only: signals")
def test_it_can_be_ended_when_nobody_reads_what_it_prints(tmp_path: Path, when: str) -> None:
    """Its terminal was closed, or the program that read its output has ended."""
    config = write_config(tmp_path, {})
    port = free_port(())
    command = [sys.executable, str(HOME / "main.py"), "serve", "--headless", "--port", str(port)]
    command += ["--config", str(config), "--logs", str(tmp_path / "logs")]
    with subprocess.Popen(
        command, cwd=HOME, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout
            if when == "from the beginning":
                process.stdout.close()
            until_sync(lambda: answers(port))
            process.stdout.close()
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE) == 0
            assert process.stderr
            assert process.stderr.read() == b""
        finally:
            process.kill()


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    with contextlib.suppress(OSError), contextlib.closing(connection):
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    return False


def test_a_running_answer_is_finished_before_the_end(start: Start, tmp_path: Path) -> None:
    running = start({"a": model(tmp_path, "a")})
    running.chat("a")
    answer: list[tuple[int, object]] = []

    def ask() -> None:
        answer.append(running.chat("a", max_tokens=4, fake_delay=0.2))

    client = threading.Thread(target=ask)
    client.start()
    until_sync(lambda: running.model("a")["pending"] == 1)
    assert running.end() == 0
    client.join()
    assert answer[0][0] == 200


@pytest.mark.timeout(180)
def test_many_streams_and_a_server_that_hangs_do_not_keep_it(start: Start, tmp_path: Path) -> None:
    running = start(
        {
            "a": model(tmp_path, "a", stop_timeout=1),
            "hangs": model(tmp_path, "hangs", "ignore_term", stop_timeout=1),
        }
    )
    assert [running.chat(name)[0] for name in ("a", "hangs")] == [200, 200]
    pids = [running.model(name)["pid"] for name in ("a", "hangs")]
    body = {"messages": [], "stream": True, "max_tokens": 10**6, "fake_delay": 0.05}
    with contextlib.ExitStack() as stack:
        streams = [
            stack.enter_context(running.stream("/v1/chat/completions", {"model": name, **body}))
            for name in (*["a"] * 50, "hangs")
        ]
        assert all(stream.readline().startswith(b"data:") for stream in streams)
        psutil.Process(pids[1]).suspend()
        assert running.end() == 0
        for stream in streams:
            with pytest.raises(http.client.IncompleteRead) as broken:
                stream.read()
            assert b"[DONE]" not in broken.value.partial
            assert b"event: error" in broken.value.partial
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_second_signal_does_not_wait(start: Start, tmp_path: Path) -> None:
    running = start({"a": model(tmp_path, "a", "ignore_term", stop_timeout=600)})
    running.chat("a")
    body = {"model": "a", "messages": [], "stream": True, "max_tokens": 10**6, "fake_delay": 0.05}
    with running.stream("/v1/chat/completions", body) as response:
        response.readline()
        running.send(signal.SIGTERM)
        until_sync(lambda: any("ending" in line for line in running.lines))
        assert running.end(signal.SIGINT) == 0


STREAMS = (
    "/live",
    "/live?panel=model&name=a&tab=log",
    "/live?panel=log",
    "/api/events",
    "/api/logs/stream",
    "/api/models/a/logs/stream",
)
"""Everything that an open tab or a watching program listens to, without an end of its own."""


def test_open_streams_end_by_themselves_while_the_program_still_waits(
    start: Start, tmp_path: Path
) -> None:
    """No clock is needed to see that they delay nothing: the program waits for a stubborn model,
    and each stream is over, with its last chunk, before that."""
    running = start({"a": model(tmp_path, "a", "ignore_term", stop_timeout=600)})
    running.chat("a")
    with ExitStack() as stack:
        streams = [stack.enter_context(running.stream(path)) for path in STREAMS]
        for stream in streams:
            assert stream.readline()
        running.send(signal.SIGTERM)
        for stream in streams:
            stream.read()  # raises IncompleteRead where the last chunk is missing
        assert running.process.poll() is None
    assert running.end(signal.SIGINT) == 0


def test_the_console_says_what_was_found(start: Start, tmp_path: Path) -> None:
    running = start({"a": model(tmp_path, "a")}, devices={"gpu0": 16000})
    until_sync(lambda: any("models" in line for line in running.lines))
    text = "\n".join(running.lines)
    assert f"listening on {running.url}" in text
    assert "config.json" in text
    assert "gpu0 (16000 of 16000 MB free)" in text
    assert "models     a" in text
