"""Every test of a launcher runs on each loop that the program may run on."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.domain import LaunchSpec
from core.launchers import leftovers
from core.launchers.base import Process
from core.launchers.local import LocalLauncher
from core.loop import loop_factory

if sys.platform != "win32":
    import uvloop


if sys.platform != "win32":  # not skipped: there is nothing in them that could run here
    collect_ignore = ["test_job_object.py", "test_manager_ends.py", "test_port_table.py"]


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, Any]:
    if sys.platform == "win32":
        return {"proactor": loop_factory()}
    return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}


class Trees:
    """Starts real trees, and knows which of their processes live."""

    def __init__(self, folder: Path, instance_id: str) -> None:
        self.folder = folder
        self.instance_id = instance_id
        self.launcher = LocalLauncher()

    def start(self, text: str, *, port: int = 0, **env: str) -> Process:
        """Start a script with this text."""
        if sys.platform == "win32":
            path = self.folder / "model.bat"
            path.write_bytes(b"@echo off\r\n" + text.replace("\n", "\r\n").encode())
            return self.start_script(path, port=port, **env)
        path = self.folder / "model.sh"
        path.write_text("#!/bin/sh\n" + text, encoding="utf-8")
        path.chmod(0o755)
        return self.start_script(path, port=port, **env)

    def start_script(self, path: Path, *, port: int = 0, **env: str) -> Process:
        spec = LaunchSpec((str(path),), path.parent, {"LLM_PORT": str(port), **env})
        return self.launcher.start(spec, instance_id=self.instance_id, host="127.0.0.1", port=port)

    def survivors(self) -> list[int]:
        """The living processes of all trees, guardians included."""
        mark = leftovers.mark(self.instance_id)
        return [process.pid for process in leftovers.marked() if process.mark == mark]


@pytest.fixture
def trees(tmp_path: Path) -> Iterator[Trees]:
    """Real trees; none of their processes may outlive the test."""
    made = Trees(tmp_path, f"test#{os.urandom(4).hex()}")
    yield made
    leftovers.sweep_instance(leftovers.mark(made.instance_id))
