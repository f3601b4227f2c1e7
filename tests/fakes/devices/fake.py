"""Pretended devices, for a device plugin folder of tests.

FAKE_DEVICES_JSON names a file: {"v100": 16000, "cpu": {"total": 8000, "used": 500,
"online": false}}. `used` is what programs other than ours hold. What living fake servers hold is
subtracted as well: FAKE_MEMORY_DIR is the folder of their notes (`tests.fakes.ledger`).
Both are read anew at every reading; a new name is found at the next reload.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from plugins.devices.Base_Class import DevicePlugin
from tests.fakes.ledger import used_mb


def discover() -> list[FakeDevice]:
    return [FakeDevice(name) for name in _described()]


def _described() -> dict[str, dict[str, Any]]:
    devices = json.loads(Path(os.environ["FAKE_DEVICES_JSON"]).read_text(encoding="utf-8"))
    return {
        name.lower(): {"total": value} if isinstance(value, int) else value
        for name, value in devices.items()
    }


class FakeDevice(DevicePlugin):
    def is_online(self) -> bool:
        described = _described().get(self.device_name)
        self.offline_reason = "not in FAKE_DEVICES_JSON" if described is None else "unplugged"
        return described is not None and bool(described.get("online", True))

    def get_memory_info(self) -> tuple[int, int, int]:
        described = _described()[self.device_name]
        total = int(described["total"])
        used = int(described.get("used", 0))
        if folder := os.environ.get("FAKE_MEMORY_DIR"):
            used += used_mb(Path(folder)).get(self.device_name, 0)
        return total, max(0, total - used), used

    def visible_index(self) -> int | None:
        index = _described().get(self.device_name, {}).get("index")
        return None if index is None else int(index)
