"""The machine's own memory."""

from __future__ import annotations

import psutil

from plugins.devices.Base_Class import DevicePlugin

MB = 1 << 20


class CPU(DevicePlugin):
    def __init__(self) -> None:
        super().__init__("cpu")

    def is_online(self) -> bool:
        return True

    def get_memory_info(self) -> tuple[int, int, int]:
        memory = psutil.virtual_memory()
        return memory.total // MB, memory.available // MB, memory.used // MB

    def get_metrics(self) -> dict[str, float]:
        return {"use_percent": psutil.cpu_percent()}  # since it was asked last
