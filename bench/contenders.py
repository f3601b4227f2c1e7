"""Who takes part: each stands between the load generator and the same stub."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from bench.machine import Cores, family, free_port, on_core, wait_for_port
from bench.tools import BUILT, ROOT, program

START_LIMIT = 60.0


class Contender:
    """A proxy on one core; `port` takes requests for the model `stub`."""

    name = ""

    def __init__(self, folder: Path, cores: Cores) -> None:
        self.folder = folder / self.name
        self.folder.mkdir(parents=True)
        self.cores = cores
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = self.spawn(self.command())
        wait_for_port(self.port, START_LIMIT)

    def command(self) -> list[str]:
        """What to run. Raises Missing."""
        raise NotImplementedError

    def spawn(self, command: list[str]) -> Any:
        env = dict(os.environ)
        env.pop("PYTHONDONTWRITEBYTECODE", None)  # a user's second start finds the first one's
        env["PYTHONPYCACHEPREFIX"] = str(BUILT / "bytecode")
        with (self.folder / "output.log").open("ab") as output:
            return subprocess.Popen(
                on_core(self.cores.proxy, *command),
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env=env,
            )

    def pids(self) -> set[int]:
        """The processes whose cost is counted."""
        return family(self.process.pid) if self.process else set()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class LLMManager(Contender):
    """Started as a user would: its own config, and a script that starts the stub."""

    name = "llm-manager"

    def __init__(self, folder: Path, cores: Cores, stub: Path, models: int = 3) -> None:
        self.name = f"llm-manager-{models}"
        super().__init__(folder, cores)
        self.stub = stub
        self.stub_port = free_port()
        self.config = self.folder / "config.json"
        self.config.write_text(json.dumps(self._config(models), indent=1))
        script = self.folder / "stub.sh"
        pinned = " ".join(on_core(cores.stub, stub))
        script.write_text(f'#!/bin/sh\nexec {pinned} "$LLM_PORT"\n')
        script.chmod(0o755)

    def _config(self, models: int) -> dict[str, Any]:
        variant = {"required_devices": ["cpu"], "script_path": "stub.sh", "memory_mb": {"cpu": 16}}
        plugins = {
            f"{kind}_plugin_dir": str(ROOT / "plugins" / f"{kind}s")
            for kind in ("device", "interface", "engine")
        }
        program = {"host": "127.0.0.1", "port": self.port, "alive_time": 0, **plugins}
        config: dict[str, Any] = {"program": program}
        for number in range(1, models):
            name = f"other-{number}"
            config[name] = {"aliases": [name], "mode": "Chat", "CPU": variant}
        config["stub"] = {
            "aliases": ["stub"],
            "mode": "Chat",
            "port": self.stub_port,
            "CPU": variant,
        }
        return config

    def command(self) -> list[str]:
        return [
            *(sys.executable, str(ROOT / "main.py"), "serve", "--headless"),
            *("--config", str(self.config), "--logs", str(self.folder / "logs")),
        ]

    def start(self) -> None:
        """Start it and load the model."""
        super().start()
        url = f"http://127.0.0.1:{self.port}/api/models/stub/start?wait=1"
        with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=60):
            pass

    def pids(self) -> set[int]:
        """The program, its device probe, and the guardian of the stub; not the stub itself."""
        assert self.process is not None
        found = family(self.process.pid)
        for stub in self._stubs():
            found.discard(stub.pid)
            found |= {parent.pid for parent in stub.parents() if parent.pid != 1}
        return found & self._started()

    def _started(self) -> set[int]:
        """Everything that this benchmark process has not inherited from its own parents."""
        own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
        return set(psutil.pids()) - own

    def _stubs(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["cmdline"]):
            if process.info["cmdline"] == [str(self.stub), str(self.stub_port)]:
                found.append(process)
        return found


class Nginx(Contender):
    """The yardstick: one worker, nothing to decide."""

    name = "nginx"

    def __init__(self, folder: Path, cores: Cores, upstream: int) -> None:
        super().__init__(folder, cores)
        self.upstream = upstream

    def command(self) -> list[str]:
        template = (Path(__file__).parent / "nginx.conf").read_text()
        config = self.folder / "nginx.conf"
        text = template.replace("@PORT@", str(self.port)).replace("@UPSTREAM@", str(self.upstream))
        config.write_text(text)
        return [program("nginx", "nginx-light"), "-c", str(config), "-p", str(self.folder)]


class Haproxy(Nginx):
    name = "haproxy"

    def command(self) -> list[str]:
        config = self.folder / "haproxy.cfg"
        config.write_text(
            "global\n  nbthread 1\n  maxconn 4000\n"
            "defaults\n  mode http\n  timeout connect 5s\n  timeout client 120s\n"
            "  timeout server 120s\n  http-reuse always\n"
            f"listen front\n  bind 127.0.0.1:{self.port}\n"
            f"  server stub 127.0.0.1:{self.upstream}\n"
        )
        return [program("haproxy", "haproxy"), "-f", str(config), "-db"]


class LlamaSwap(Nginx):
    """A Go program with the same task; one core as well."""

    name = "llama-swap"

    def command(self) -> list[str]:
        config = self.folder / "config.yaml"
        config.write_text(
            "logLevel: error\nmodels:\n  stub:\n    cmd: sleep infinity\n"
            f"    proxy: http://127.0.0.1:{self.upstream}\n    checkEndpoint: /health\n"
        )
        binary = program("llama-swap", "no package: github.com/mostlygeek/llama-swap")
        return [binary, "--config", str(config), "--listen", f"127.0.0.1:{self.port}"]


class LiteLLM(Nginx):
    """Its proxy, one worker, installed from PyPI into an environment of its own."""

    name = "litellm"

    def command(self) -> list[str]:
        config = self.folder / "config.yaml"
        config.write_text(
            "model_list:\n  - model_name: stub\n    litellm_params:\n      model: openai/stub\n"
            f"      api_base: http://127.0.0.1:{self.upstream}/v1\n      api_key: none\n"
            "general_settings:\n  dangerously_permit_weak_or_unset_master_key: true\n"
        )
        arguments = ["--config", str(config), "--port", str(self.port), "--host", "127.0.0.1"]
        return [str(self._installed()), *arguments, "--num_workers", "1", "--telemetry", "False"]

    @staticmethod
    def _installed() -> Path:
        if found := shutil.which("litellm"):
            return Path(found)
        environment = ROOT / ".cache" / "bench" / "litellm"
        binary = environment / "bin" / "litellm"
        if not binary.exists():
            print("installing LiteLLM from PyPI; this takes minutes")
            subprocess.run([sys.executable, "-m", "venv", environment], check=True)
            pip = [str(environment / "bin" / "pip"), "install", "--quiet", "litellm[proxy]"]
            subprocess.run(pip, check=True)
        return binary


class Direct(Contender):
    """The stub without anything in front."""

    name = "direct"

    def __init__(self, folder: Path, cores: Cores, upstream: int) -> None:
        super().__init__(folder, cores)
        self.port = upstream

    def start(self) -> None:
        wait_for_port(self.port, START_LIMIT)
