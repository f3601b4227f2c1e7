"""Start-up scripts as users write them, with the fake server behind them."""

from __future__ import annotations

import sys
from pathlib import Path

SERVER = Path(__file__).with_name("server.py")

SHAPES = {
    "plain": "{server}\nexit $?\n",
    "exec": "exec {server}\n",
    "setsid": "{server} setsid kids=2\nexit $?\n",
    "daemon": "{server} double_fork ignore_term kids=1\n",
    "leaves_child": "nohup {server} kids=1 &\nexit 0\n",
}
"""The ways in which a script ends up with a running server."""


def write_script(folder: Path, *modes: str, shape: str = "exec", name: str = "model") -> Path:
    """Write `name`.sh (on Windows `name`.bat) into `folder`: a fake server with these modes."""
    folder.mkdir(parents=True, exist_ok=True)
    command = f'"{sys.executable}" -I -S "{SERVER}" {" ".join(modes)}'.rstrip()
    if sys.platform == "win32":
        extra = {"setsid": " setsid kids=2", "daemon": " double_fork kids=1"}.get(shape, "")
        start = 'start /b "" ' if shape == "leaves_child" else ""
        path = folder / f"{name}.bat"
        path.write_bytes(f"@echo off\r\n{start}{command}{extra}\r\n".encode())
        return path
    path = folder / f"{name}.sh"
    path.write_text("#!/bin/sh\n" + SHAPES[shape].format(server=command), encoding="utf-8")
    path.chmod(0o755)
    return path
