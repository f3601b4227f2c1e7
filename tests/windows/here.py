"""Whether the Windows that a test runs on is wine."""

from __future__ import annotations

import sys


def under_wine() -> bool:
    if sys.platform != "win32":
        return False
    import ctypes

    return hasattr(ctypes.windll.ntdll, "wine_get_version")
