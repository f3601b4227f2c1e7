"""The whole program with a tray, as a child process."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.fakes.program import HOME, model, write_config
from tests.fakes.waiting import DEADLINE, until_sync


class TrayProgram:
    """`main.py serve` on a free port with three models: `demo`, `slow` (never ready), `bad`."""

    def __init__(self, folder: Path, env: Mapping[str, str], *arguments: str) -> None:
        self.logs = folder / "logs"
        self.lines: list[str] = []
        devices = folder / "devices.json"
        devices.write_text('{"gpu0": 16000}')
        config = write_config(
            folder,
            {
                "demo": model(folder, "demo"),
                "slow": model(folder, "slow", "never_healthy", auto_start="auto" in arguments),
                "bad": model(folder, "bad", "crash_before_bind"),
            },
        )
        given = [argument for argument in arguments if argument != "auto"]
        self.process = subprocess.Popen(
            [
                sys.executable, str(HOME / "main.py"), "serve", "--port", "0",
                "--config", str(config), "--logs", str(self.logs), *given,
            ],
            cwd=HOME,
            env={**env, "FAKE_DEVICES_JSON": str(devices), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> TrayProgram:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.wait()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.lines.append(line.rstrip("\n"))

    @property
    def port(self) -> int:
        return int(until_sync(self._port))

    def _port(self) -> str:
        assert self.process.poll() is None, "\n".join(self.lines)
        heads = (line for line in self.lines if " is listening on http://127.0.0.1:" in line)
        return next((line.rpartition(":")[2] for line in heads), "")

    def ask(self, method: str, path: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        with contextlib.closing(connection):
            connection.request(method, path)
            return json.loads(connection.getresponse().read())

    def until_tray(self, state: str) -> None:
        """Wait until the tray's state begins so."""
        until_sync(lambda: self.ask("GET", "/api/info")["tray"].startswith(state))

    def until_state(self, model: str, *states: str) -> None:
        until_sync(lambda: self.ask("GET", f"/api/models/{model}/info")["state"] in states)

    def end(self, number: int) -> int:
        """Send the signal; the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """The exit code, once it has ended."""
        code = self.process.wait(timeout=DEADLINE)
        self._reader.join(timeout=5)
        return code

    def log(self) -> str:
        return "".join(path.read_text(encoding="utf-8") for path in self.logs.glob("*.log"))
