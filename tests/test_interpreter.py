"""Which Python a child or the next start gets, on Windows."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from core.interpreter import windowless, with_console


def test_windows_starts_without_a_console_where_it_can(tmp_path: Path) -> None:
    python = tmp_path / "python.exe"
    assert windowless(python) == python
    (tmp_path / "pythonw.exe").touch()
    assert windowless(python) == tmp_path / "pythonw.exe"
    assert windowless(tmp_path / "pythonw.exe") == tmp_path / "pythonw.exe"


def test_a_child_gets_a_console_where_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = tmp_path / "PythonW.exe"
    monkeypatch.setattr(sys, "executable", str(quiet))
    assert with_console() == str(quiet)
    (tmp_path / "python.exe").touch()
    assert with_console() == str(tmp_path / "python.exe")
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    assert with_console() == str(Path("/usr/bin/python3"))
