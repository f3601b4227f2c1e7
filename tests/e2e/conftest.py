"""Programs for the end-to-end tests: real child processes, pretended devices."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.program import Program, program, write_config

if sys.platform != "win32":  # not skipped: there is nothing in it that could run here
    collect_ignore = ["test_windows.py"]

Start = Callable[..., Program]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a program: `start({"a": model(...)}, devices={"gpu0": 16000}, **program settings)`."""
    with ExitStack() as stack:

        def run(
            models: dict[str, Any],
            devices: dict[str, Any] | None = None,
            folder: Path = tmp_path,
            logs: Path | None = None,
            **settings: Any,
        ) -> Program:
            config = write_config(folder, models, **settings)
            env = device_env(folder, devices or {"gpu0": 16000})
            return stack.enter_context(program(config, logs or folder / "logs", **env))

        yield run


def device_env(folder: Path, devices: dict[str, Any]) -> dict[str, str]:
    """The environment that pretends these devices."""
    described, memory = folder / "devices.json", folder / "memory"
    described.write_text(json.dumps(devices), encoding="utf-8")
    memory.mkdir(exist_ok=True)
    return {"FAKE_DEVICES_JSON": str(described), "FAKE_MEMORY_DIR": str(memory)}
