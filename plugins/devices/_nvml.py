"""NVIDIA GPUs as the driver's own library (NVML) tells of them; shared by the plugins beside it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from plugins.devices.Base_Class import DevicePlugin

MB = 1 << 20
LOOK_AGAIN = 60.0
"""Seconds until the GPUs are counted again, or NVML is looked for again where there is none."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds between two new starts of NVML, doubled while the trouble lasts."""

NOISE = re.compile(
    r"\b(nvidia|geforce|tesla|laptop gpu|gpu)\b|\b\d+ ?gb\b|\b(pcie|dgxs|sxm\d*|hbm\d\w*)\b"
)


def device_name(gpu_name: str) -> str:
    """ "NVIDIA GeForce RTX 4060 Laptop GPU" -> "rtx 4060", "Tesla V100-SXM2-16GB" -> "v100"."""
    bare = NOISE.sub(" ", gpu_name.lower())
    return " ".join(bare.replace("-", " ").split()) or "nvidia"


@dataclass(frozen=True, slots=True)
class Gpu:
    handle: Any
    index: int
    """In PCI bus order."""


class Nvml:
    """One session with the driver: started when needed, started anew when it went bad."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._up = False
        self._gpus: Mapping[str, Gpu] = {}
        self._error: str | None = None
        self._look_at = 0.0
        self._restart_at = 0.0
        self._wait = 0.0
        self._trouble_at = 0.0

    def gpus(self) -> Mapping[str, Gpu]:
        """All GPUs by device name; the second of a kind is "v100 #2". Raises OSError if NVML is
        not there or does not start."""
        now = self._clock()
        if now >= self._look_at:
            self._look(now)
        if self._error:
            raise OSError(self._error)
        return self._gpus

    def failed(self) -> None:
        """A call on a handle failed: begin anew at the next look, unless that was just tried."""
        now = self._clock()
        if now < self._restart_at:
            return  # the handles of the other GPUs still serve
        self._restart_at = now + self._next_wait(now)
        self._look_at = now
        self._shut_down()

    def _look(self, now: float) -> None:
        self._look_at = now + LOOK_AGAIN
        try:
            import pynvml
        except ImportError:
            self._error = "the Python package nvidia-ml-py is not installed"
            return
        try:
            if not self._up:
                pynvml.nvmlInit()
                self._up = True
            self._gpus, self._error = _by_name(pynvml), None
        except pynvml.NVMLError as error:
            if error.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
                self._error = "no NVIDIA driver on this machine"
                return
            self._error = f"NVIDIA driver: {error}"
            self._look_at = now + self._next_wait(now)
            self._shut_down()

    def _next_wait(self, now: float) -> float:
        calm = now > self._trouble_at + 2 * LONGEST_WAIT
        self._wait = FIRST_WAIT if calm or not self._wait else min(self._wait * 2, LONGEST_WAIT)
        self._trouble_at = now
        return self._wait

    def _shut_down(self) -> None:
        if self._up:
            import pynvml

            self._up = False
            with suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()


@cache
def session() -> Nvml:
    """The one session of this process: NVML itself is one per process."""
    return Nvml()


def _by_name(pynvml: Any) -> dict[str, Gpu]:
    found = []
    for number in range(pynvml.nvmlDeviceGetCount()):
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(number)
            place = _text(pynvml.nvmlDeviceGetPciInfo(handle).busId).lower()
            found.append((place, number, handle, _text(pynvml.nvmlDeviceGetName(handle))))
        except pynvml.NVMLError:
            continue  # this one is lost or hidden from us; the others are not
    named: dict[str, Gpu] = {}
    for index, (_, _, handle, gpu_name) in enumerate(sorted(found, key=lambda each: each[:2])):
        name, count = device_name(gpu_name), 1
        while (name if count == 1 else f"{name} #{count}") in named:
            count += 1
        named[name if count == 1 else f"{name} #{count}"] = Gpu(handle, index)
    return named


def _text(value: str | bytes) -> str:
    """Older versions of the package answer bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


class NvidiaGPU(DevicePlugin):
    """The GPU that has this device name; offline with a reason while there is none."""

    def __init__(self, device_name: str) -> None:
        super().__init__(device_name)
        self._gpu: Gpu | None = None

    def is_online(self) -> bool:
        try:
            gpus = session().gpus()
        except OSError as error:
            self._gpu, self.offline_reason = None, str(error)
            return False
        self._gpu = gpus.get(self.device_name)
        names = ", ".join(gpus) or "none"
        self.offline_reason = f"no such GPU here (there is: {names})"
        return self._gpu is not None

    def get_memory_info(self) -> tuple[int, int, int]:
        import pynvml

        assert self._gpu is not None
        try:
            memory = _memory(pynvml, self._gpu.handle)
        except pynvml.NVMLError as error:
            if error.value not in (
                pynvml.NVML_ERROR_NOT_SUPPORTED,
                pynvml.NVML_ERROR_NO_PERMISSION,
            ):
                session().failed()
            raise OSError(f"NVIDIA driver: {error}") from error
        return memory.total // MB, memory.free // MB, memory.used // MB

    def get_metrics(self) -> dict[str, float]:
        import pynvml

        assert self._gpu is not None
        handle = self._gpu.handle
        asked: dict[str, Callable[[], float]] = {
            "use_percent": lambda: float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu),
            "temperature_c": lambda: float(
                pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)
            ),
            "power_w": lambda: pynvml.nvmlDeviceGetPowerUsage(handle) / 1000,
        }
        metrics = {}
        for name, ask in asked.items():
            try:
                metrics[name] = ask()
            except pynvml.NVMLError:
                continue  # not every GPU, and no MIG slice, tells everything
        return metrics

    def visible_index(self) -> int | None:
        return self._gpu.index if self._gpu else None


def _memory(pynvml: Any, handle: Any) -> Any:
    """Version 2 does not count as used what the driver keeps for itself; older drivers lack it."""
    try:
        return pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    except pynvml.NVMLError as error:
        if error.value not in (
            pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
            pynvml.NVML_ERROR_NOT_SUPPORTED,
            pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
        ):
            raise
        return pynvml.nvmlDeviceGetMemoryInfo(handle)
