"""The two small C programs of the benchmark: a model server and a load generator."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILT = ROOT / ".cache" / "bench"


class Missing(Exception):
    """A program that the benchmark needs is not on this machine; the text says how to get it."""


def build() -> tuple[Path, Path]:
    """Compile what is older than its source; returns the stub and the load generator."""
    return _compile("stub"), _compile("load")


def program(name: str, package: str) -> str:
    """The path of an installed program. Raises Missing."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")
    if found is None:
        raise Missing(f"{name} is not installed (Debian: apt-get install {package})")
    return found


def _compile(name: str) -> Path:
    source, target = HERE / f"{name}.c", BUILT / name
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        BUILT.mkdir(parents=True, exist_ok=True)
        compiler = program("cc", "gcc libc6-dev")
        subprocess.run([compiler, "-O2", "-Wall", "-o", target, source], check=True)
    return target
