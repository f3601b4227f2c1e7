"""The whole program as a child process, with a config of the test's own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.fakes.scripts import write_script
from tests.fakes.waiting import DEADLINE, until_sync

HOME = Path(__file__).resolve().parent.parent.parent
PYTHON = [sys.executable]
if sys.platform == "win32":
    PYTHON.append(str(HOME / "tests" / "fakes" / "console.py"))


class Program:
    """`main.py serve` on a free port; `lines` is what it has printed so far."""

    def __init__(self, config: Path, logs: Path, **env: str) -> None:
        self.config = config
        self.logs = logs
        self.lines: list[str] = []
        command = [*PYTHON, str(HOME / "main.py"), "serve", "--headless", "--port", "0"]
        command += ["--config", str(config), "--logs", str(logs)]
        clean = {k: v for k, v in os.environ.items() if not k.startswith("LLM_MANAGER_")}
        self.process = subprocess.Popen(
            command,
            cwd=HOME,
            env={**clean, "PYTHONUNBUFFERED": "1", **env},
            stdin=subprocess.PIPE if sys.platform == "win32" else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = int(until_sync(self._port))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.lines.append(line.rstrip("\n"))

    def _port(self) -> str:
        for line in self.lines:
            if " is listening on http://127.0.0.1:" in line:
                return line.rpartition(":")[2]
        assert self.process.poll() is None, "\n".join(self.lines)
        return ""

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """One request; the body as JSON where it is."""
        status, _, raw = self.raw(method, path, body, headers)
        try:
            return status, json.loads(raw)
        except ValueError:
            return status, raw.decode("utf-8", "replace")

    def raw(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        with contextlib.closing(connection):
            data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            connection.request(method, path, data, headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read()

    @contextlib.contextmanager
    def stream(self, path: str, body: Any = None) -> Iterator[http.client.HTTPResponse]:
        """A request whose answer is read by the test, as it comes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        with contextlib.closing(connection):
            data = None if body is None else json.dumps(body)
            connection.request("GET" if body is None else "POST", path, data)
            with contextlib.closing(connection.getresponse()) as response:
                yield response

    def chat(self, model: str, **more: Any) -> tuple[int, Any]:
        message = {"role": "user", "content": "Hello"}
        body = {"model": model, "messages": [message], **more}
        return self.ask("POST", "/v1/chat/completions", body)

    def model(self, name: str) -> Any:
        return self.ask("GET", f"/api/models/{name}/info")[1]

    def state(self, name: str) -> str:
        return str(self.model(name)["state"])

    def end(self, number: int = signal.SIGTERM) -> int:
        """Ask for the end and wait for it; the exit code."""
        if self.process.poll() is None:
            self.send(number)
        code = self.process.wait(timeout=2 * DEADLINE)
        self._reader.join(timeout=DEADLINE)
        if self.process.stdin:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        return code

    def send(self, number: int) -> None:
        """Send it a signal; on Windows as its console would."""
        if self.process.stdin is None:
            self.process.send_signal(number)
            return
        self.process.stdin.write(signal.Signals(number).name + "\n")
        self.process.stdin.flush()

    def log(self) -> str:
        return "".join(p.read_text(encoding="utf-8") for p in sorted(self.logs.glob("*.log")))


@contextlib.contextmanager
def program(config: Path, logs: Path, **env: str) -> Iterator[Program]:
    """A running program; it has ended when the block ends."""
    running = Program(config, logs, **env)
    try:
        yield running
    finally:
        running.end()


def write_config(folder: Path, models: dict[str, Any], **settings: Any) -> Path:
    """A config file whose relative paths start in `folder`."""
    path = folder / "config.json"
    plugins = {
        f"{kind}_plugin_dir": str(HOME / "plugins" / f"{kind}s") for kind in ("interface", "engine")
    }
    settings = {
        "host": "127.0.0.1",
        "device_plugin_dir": str(HOME / "tests" / "fakes" / "devices"),
        **plugins,
        **settings,
    }
    text = json.dumps({"program": settings, **models}, indent=2, ensure_ascii=False)
    path.write_text(text, encoding="utf-8")
    return path


def model(
    folder: Path,
    name: str,
    *modes: str,
    shape: str = "exec",
    mode: str = "Chat",
    memory: dict[str, int] | None = None,
    **policy: Any,
) -> dict[str, Any]:
    """A config entry whose script runs the fake server with these modes."""
    script = write_script(folder, *modes, shape=shape, name=name)
    memory = memory or {"gpu0": 1000}
    return {
        "aliases": [name],
        "mode": mode,
        **policy,
        "V": {"required_devices": list(memory), "bat_path": script.name, "memory_mb": memory},
    }


def pid_in(answer: Any) -> int:
    """The process that wrote an answer of the fake server: "[model variant pid] ..."."""
    return int(answer["choices"][0]["message"]["content"].partition("]")[0].split()[-1])
