"""A genuine Windows CPython under wine, kept in .cache/wine: `sys.platform == "win32"` on Linux.

prefix.py makes it. What wine cannot show is on tests/windows-checklist.md.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

HOME = Path(__file__).resolve().parents[2]
CACHE = HOME / ".cache" / "wine"
PYTHON = CACHE / "python"
PREFIX = CACHE / "prefix"
LOCALES = CACHE / "locales"


def missing() -> str:
    """What is not installed here, in words; tests/setup-debian.sh installs it."""
    return ", ".join(
        name for name in ("wine", "wineserver", "localedef") if shutil.which(name) is None
    )


def environment(locale: str = "C.UTF-8", **more: str) -> dict[str, str]:
    """For processes under wine; the locale gives the code page: zh_CN.UTF-8 is 936."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "USER")}
    return {
        **kept,
        "WINEPREFIX": str(PREFIX),
        "WINEARCH": "win64",
        "WINEDEBUG": "-all",
        "WINEDLLOVERRIDES": "mscoree=;mshtml=",
        "LC_ALL": locale,
        "LOCPATH": str(LOCALES),
        "PYTHONDONTWRITEBYTECODE": "1",
        **more,
    }


def run(command: Sequence[str], env: Mapping[str, str], *, seconds: float) -> int:
    """Run a program under wine and pass its output on; the exit code.

    It gets pipes: with a regular Linux file as stdin or stdout a Windows Python ends at once.
    """
    process = subprocess.Popen(
        ["wine", *command],
        cwd=HOME,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdin
    assert process.stdout
    process.stdin.close()
    # Not until the end of the pipe: what the program leaves behind may hold it.
    reader = threading.Thread(target=pass_on, args=(process.stdout,))
    reader.start()
    try:
        return process.wait(seconds)
    finally:
        end_all(env)
        reader.join()
        process.wait()


def pass_on(output: IO[bytes]) -> None:
    with output:
        for line in output:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()


def end_all(env: Mapping[str, str]) -> None:
    """End every process of our prefix, and its server: the next may have another locale."""
    subprocess.run(["wineserver", "-k"], env=env, check=False, stderr=subprocess.DEVNULL)
    subprocess.run(["wineserver", "-w"], env=env, check=False, stderr=subprocess.DEVNULL)


@contextmanager
def alone() -> Iterator[None]:
    """Hold the prefix: two runs in it would end each other's processes."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
