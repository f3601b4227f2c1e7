"""The first NVIDIA V100, whichever its socket and memory size."""

from __future__ import annotations

from plugins.devices._nvml import NvidiaGPU


class V100(NvidiaGPU):
    def __init__(self) -> None:
        super().__init__("v100")
