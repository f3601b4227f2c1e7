"""The fake model server, with real GPU memory: allocates GPU_MB through the CUDA driver first."""

from __future__ import annotations

import ctypes
import os
import runpy
from collections.abc import Callable
from pathlib import Path


def allocate(megabytes: int) -> None:
    """Take the memory and keep it until the process ends. Raises OSError with CUDA's code."""
    cuda = ctypes.CDLL("libcuda.so.1")
    device, context, pointer = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
    size = ctypes.c_size_t(megabytes << 20)
    steps: tuple[Callable[[], int], ...] = (
        lambda: cuda.cuInit(0),
        lambda: cuda.cuDeviceGet(ctypes.byref(device), 0),
        lambda: cuda.cuCtxCreate_v2(ctypes.byref(context), 0, device),
        lambda: cuda.cuMemAlloc_v2(ctypes.byref(pointer), size),
        lambda: cuda.cuMemsetD8_v2(pointer, 1, size),
        lambda: cuda.cuCtxSynchronize(),
    )
    for step in steps:
        if code := step():
            raise OSError(f"CUDA error {code} while taking {megabytes} MB")


if __name__ == "__main__":
    allocate(int(os.environ["GPU_MB"]))
    runpy.run_path(str(Path(__file__).parent.parent / "fakes" / "server.py"), run_name="__main__")
