"""Windows: an .exe file of a few lines of Python, made as pip makes the commands of packages."""

from __future__ import annotations

import io
import sys
import zipfile
from importlib import resources
from pathlib import Path


def write_exe(path: Path, source: str) -> None:
    """Run by the Python that runs this."""
    launcher = resources.files("pip._vendor.distlib").joinpath("t64.exe").read_bytes()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("__main__.py", source)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(launcher + f"#!{sys.executable}\r\n".encode() + archive.getvalue())
