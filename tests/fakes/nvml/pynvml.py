"""A pretended pynvml: put its folder on PYTHONPATH, or the module into sys.modules.

FAKE_NVML names a JSON file, read at every call: {"init": code, "inits": ..., "gpus": [{"name",
"bus", "total", "free" (MB), "error": code, "name_error": code, "hang": true, "crash": true,
"use": n, "temperature": n, "power": milliwatts}]}. A handle is good for the session in which it was
got: after nvmlShutdown it is stale, and using it crashes the process as the real one may.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

NVML_ERROR_UNINITIALIZED = 1
NVML_ERROR_NOT_SUPPORTED = 3
NVML_ERROR_NO_PERMISSION = 4
NVML_ERROR_DRIVER_NOT_LOADED = 9
NVML_ERROR_LIBRARY_NOT_FOUND = 12
NVML_ERROR_FUNCTION_NOT_FOUND = 13
NVML_ERROR_GPU_IS_LOST = 15
NVML_ERROR_ARGUMENT_VERSION_MISMATCH = 25
NVML_TEMPERATURE_GPU = 0
nvmlMemory_v2 = 0x2000028
SESSION: list[int] = []


class NVMLError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__({15: "GPU is lost", 9: "Driver Not Loaded"}.get(value, f"code {value}"))
        self.value = value


@dataclass(frozen=True)
class Handle:
    number: int
    session: int


def _state() -> dict[str, Any]:
    state: dict[str, Any] = json.loads(Path(os.environ["FAKE_NVML"]).read_text(encoding="utf-8"))
    return state


def _gpu(handle: Handle, key: str = "error") -> dict[str, Any]:
    if not SESSION or handle.session != SESSION[-1]:
        os.abort()
    gpu: dict[str, Any] = _state()["gpus"][handle.number]
    if gpu.get("hang"):
        time.sleep(1e9)
    if gpu.get("crash"):
        os.abort()
    if gpu.get(key):
        raise NVMLError(gpu[key])
    return gpu


def nvmlInit() -> None:
    if code := _state().get("init"):
        raise NVMLError(code)
    SESSION.append(len(SESSION) + 1)


def nvmlShutdown() -> None:
    SESSION.append(-len(SESSION))


def nvmlDeviceGetCount() -> int:
    return len(_state()["gpus"])


def nvmlDeviceGetHandleByIndex(number: int) -> Handle:
    handle = Handle(number, SESSION[-1])
    _gpu(handle, "handle_error")
    return handle


def nvmlDeviceGetPciInfo(handle: Handle) -> SimpleNamespace:
    return SimpleNamespace(busId=_gpu(handle, "").get("bus", f"0000:0{handle.number}:00.0"))


def nvmlDeviceGetName(handle: Handle) -> str:
    return str(_gpu(handle, "")["name"])


def nvmlDeviceGetMemoryInfo(handle: Handle, version: int | None = None) -> SimpleNamespace:
    gpu = _gpu(handle)
    if version and gpu.get("old_driver"):
        raise NVMLError(NVML_ERROR_FUNCTION_NOT_FOUND)
    total, free = gpu.get("total", 16000) << 20, gpu.get("free", 15000) << 20
    used = total - free if not version else total - free - (100 << 20)
    return SimpleNamespace(total=total, free=free, used=used)


def _number(handle: Handle, key: str) -> float:
    value = _gpu(handle).get(key)
    if value is None:
        raise NVMLError(NVML_ERROR_NOT_SUPPORTED)
    return float(value)


def nvmlDeviceGetUtilizationRates(handle: Handle) -> SimpleNamespace:
    return SimpleNamespace(gpu=_number(handle, "use"))


def nvmlDeviceGetTemperature(handle: Handle, _sensor: int) -> float:
    return _number(handle, "temperature")


def nvmlDeviceGetPowerUsage(handle: Handle) -> float:
    return _number(handle, "power")
