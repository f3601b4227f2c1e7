"""The first NVIDIA RTX 4060, desktop or laptop."""

from __future__ import annotations

from plugins.devices._nvml import NvidiaGPU


class RTX4060(NvidiaGPU):
    def __init__(self) -> None:
        super().__init__("rtx 4060")
