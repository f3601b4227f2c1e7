"""The real program as a child process, with fake servers and fake devices."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.fakes.scripts import write_script
from tests.fakes.waiting import until_sync

HOME = Path(__file__).resolve().parents[2]
GENTLY = signal.SIGTERM if sys.platform == "win32" else signal.SIGINT
"""On Windows a signal ends it at once; test_windows.py has the gentle ways."""


class Program:
    """Start it, ask it, stop it; its folder is a temporary one."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self.folder = folder
        self.host = host
        self.models: dict[str, Any] = {}
        self.devices: dict[str, Any] = {"gpu": {"total": 16000, "used": 500}, "cpu": 64000}
        self.address = ""
        self.process: subprocess.Popen[bytes] | None = None
        (folder / "memory").mkdir()

    def model(self, name: str, mode: str, *fake: str, mb: int = 4000, **options: Any) -> None:
        device = options.pop("device", "gpu")
        file = f"m{len(self.models)}"
        script = write_script(self.folder / "scripts", *fake, name=file)
        self.models[name] = {
            "aliases": [name, *options.pop("aliases", ())],
            "mode": mode,
            **options,
            "A": {
                "required_devices": [device],
                "script_path": f"scripts/{script.name}",
                "memory_mb": {device: mb},
            },
        }

    def write_config(self) -> None:
        program = {
            "host": self.host,
            "device_plugin_dir": str(HOME / "tests/fakes/devices"),
        }
        text = json.dumps({"program": program, **self.models}, indent=2)
        (self.folder / "config.json").write_text(text, encoding="utf-8")

    def start(self, port: int = 0, *options: str) -> str:
        devices = self.folder / "devices.json"
        devices.write_text(json.dumps(self.devices), encoding="utf-8")
        env = {
            **os.environ,
            "FAKE_DEVICES_JSON": str(devices),
            "FAKE_MEMORY_DIR": str(self.folder / "memory"),
            "PYTHONPATH": str(HOME),
        }
        command = [sys.executable, "main.py", "serve", "--headless", "--port", str(port)]
        command += [
            "--config",
            str(self.folder / "config.json"),
            "--logs",
            str(self.folder / "logs"),
        ]
        command += options
        out = self.folder / "out.txt"
        with out.open("wb") as file:
            self.process = subprocess.Popen(
                command, cwd=HOME, env=env, stdout=file, stderr=subprocess.STDOUT
            )

        def address() -> str:
            assert self.process is not None
            text = out.read_text(encoding="utf-8", errors="replace")
            assert self.process.poll() is None, text
            found = re.search(r"dashboard +(http://\S+?)/\n", text)
            return found[1] if found else ""

        self.address = until_sync(address, seconds=30)
        until_sync(lambda: self.get("/api/devices")["devices"], seconds=30)
        return self.address

    def stop(self) -> float:
        """End it as a person would; returns the seconds that it took."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(GENTLY)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        return time.monotonic() - began

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.address + path, timeout=20) as answer:
            return json.load(answer)

    def post(self, path: str, body: object = None) -> Any:
        data = b"" if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.address + path, data, headers, method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def state(self, name: str) -> str:
        models = self.get("/api/models")["models"]
        return str(next(m["state"] for m in models if m["name"] == name))

    def stop_all(self) -> None:
        self.post("/api/models/stop-all?wait=1")
