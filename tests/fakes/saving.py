"""Saving a file as an editor does: a new one in the place of the old."""

from __future__ import annotations

import os
from pathlib import Path

from tests.fakes.waiting import until_sync


def save(path: Path, text: str) -> None:
    """On Windows not while somebody reads the old file."""
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    until_sync(lambda: _replaced(new, path))


def _replaced(new: Path, path: Path) -> bool:
    try:
        os.replace(new, path)
    except PermissionError:
        return False
    return True
