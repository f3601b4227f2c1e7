"""Every NVIDIA GPU of the machine, each under its own name: "rtx 4060", "v100", "v100 #2", ..."""

from __future__ import annotations

from plugins.devices._nvml import NvidiaGPU, session


def discover() -> list[NvidiaGPU]:
    """The GPUs that are there now; none, quietly, on a machine without the driver."""
    try:
        return [NvidiaGPU(name) for name in session().gpus()]
    except OSError:
        return []
