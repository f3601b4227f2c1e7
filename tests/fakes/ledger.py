"""What the living fake servers hold in memory: the reading of a pretended device."""

from __future__ import annotations

import json
from pathlib import Path

import psutil


def used_mb(folder: Path) -> dict[str, int]:
    """Megabytes per device; what a dead process held counts as given back."""
    used: dict[str, int] = {}
    for file in folder.iterdir():
        if file.name.isdigit() and _alive(int(file.name), file):
            for device, megabytes in json.loads(file.read_text(encoding="utf-8")).items():
                used[device] = used.get(device, 0) + megabytes
    return used


def _alive(pid: int, file: Path) -> bool:
    """Whether the process that wrote the file lives; a later one with its number does not count."""
    try:
        process = psutil.Process(pid)
        written = file.stat().st_mtime
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= written + 1
    except (psutil.Error, OSError):
        return False
