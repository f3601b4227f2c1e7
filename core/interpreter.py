"""The Python that runs this program, with a console or without one; only Windows has both."""

from __future__ import annotations

import sys
from pathlib import Path


def with_console() -> str:
    """For a child that may start console programs: without one, each would open a window.

    The child's console can be a hidden one (CREATE_NO_WINDOW).
    """
    return str(_beside(Path(sys.executable), "pythonw.exe", "python.exe"))


def windowless(python: Path) -> Path:
    """No console window opens for it."""
    return _beside(python, "python.exe", "pythonw.exe")


def _beside(python: Path, name: str, wanted: str) -> Path:
    """The wanted one for the one of this name, if it is there."""
    other = python.with_name(wanted)
    return other if python.name.lower() == name and other.is_file() else python
