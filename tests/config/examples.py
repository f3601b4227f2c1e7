"""Config documents that the tests of this folder change and break."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings

SEED_TEXT = (Path(__file__).parent / "seed_config.json").read_text(encoding="utf-8")
"""The configuration that the first README of the program shows, letter by letter."""

PATH = Path(__file__).parent / "config.json"
"""Where the documents pretend to lie; nothing is read there."""


STEADY = settings(
    deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
"""The same examples in every run, however slow the machine is."""


def variant(**changes: Any) -> dict[str, Any]:
    return {
        "required_devices": ["cpu"],
        "bat_path": "scripts\\chat.bat",
        "memory_mb": {"cpu": 300},
    } | changes


def model(*aliases: str, **changes: Any) -> dict[str, Any]:
    return {"aliases": list(aliases), "mode": "Chat", "CPU": variant()} | changes


def text(models: dict[str, Any] | None = None, **program: Any) -> str:
    return json.dumps({"program": program} | (models or {"chat": model("chat")}), indent=2)
