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
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

HOME = Path(__file__).resolve().parents[2]
CACHE = HOME / ".cache" / "wine"
PYTHON = CACHE / "python"
PREFIX = CACHE / "prefix"
LOCALES = CACHE / "locales"
OF_MICROSOFT = "ucrtbase,concrt140,msvcp140,vcomp140,vcruntime140,vcruntime140_1"
"""Not wine's own libraries of these names where there are others. In its msvcp140 a mutex lies
elsewhere than where code of Visual Studio 2022 looks for it: such code waits in vain, llama.cpp
for a second at every step. For ucrtbase see patch_dll.py."""
HUNG = 124
"""The exit code of a program that was ended because it hung."""


def missing() -> str:
    """What is not installed here, in words; tests/setup-debian.sh installs it."""
    return ", ".join(
        name for name in ("wine", "wineserver", "localedef", "Xvfb") if shutil.which(name) is None
    )


def environment(locale: str = "C.UTF-8", **more: str) -> dict[str, str]:
    """For processes under wine; the locale gives the code page: zh_CN.UTF-8 is 936."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "USER")}
    return {
        **kept,
        "WINEPREFIX": str(PREFIX),
        "WINEARCH": "win64",
        "WINEDEBUG": "-all",
        "WINEDLLOVERRIDES": f"mscoree=;mshtml=;{OF_MICROSOFT}=n,b",
        "LC_ALL": locale,
        "LOCPATH": str(LOCALES),
        **more,
    }


def run(command: Sequence[str], env: Mapping[str, str], *, silence: float) -> int:
    """Run a program under wine and pass its output on; the exit code.

    One that prints nothing for `silence` seconds hangs: it is ended, and that is said.
    """
    process, output = begin(command, env)
    # Not until the end of the pipe: what the program leaves behind may hold it.
    heard = [time.monotonic()]
    reader = threading.Thread(target=pass_on, args=(output, heard))
    reader.start()
    try:
        while True:
            try:
                return process.wait(heard[0] + silence - time.monotonic())
            except subprocess.TimeoutExpired:
                if time.monotonic() >= heard[0] + silence:
                    print(f"\nIt has printed nothing for {silence:.0f} s: ended.", flush=True)
                    return HUNG
    finally:
        end_all(env)
        reader.join()
        process.wait()


def begin(
    command: Sequence[str], env: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    """Start a program under wine; the process, and all that it prints.

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
    return process, process.stdout


def pass_on(output: IO[bytes], heard: list[float]) -> None:
    """Copy it piece by piece, and keep the time of the last one."""
    with output:
        while piece := os.read(output.fileno(), 1 << 16):
            heard[0] = time.monotonic()
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()


def end_all(env: Mapping[str, str]) -> None:
    """End every process of our prefix, and its server: the next may have another locale."""
    for order in ("-k", "-w"):
        subprocess.run(
            ["wineserver", order], env=env, check=False, stderr=subprocess.DEVNULL, timeout=60
        )


@contextmanager
def screen() -> Iterator[str]:
    """A screen, for what has windows; its name."""
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1024x600x24", "-noreset"]
    with subprocess.Popen(
        [*command, "-nolisten", "tcp"], pass_fds=(writing,), stderr=subprocess.DEVNULL
    ) as x:
        os.close(writing)
        try:
            with os.fdopen(reading) as pipe:
                yield ":" + pipe.readline().strip()
        finally:
            x.terminate()


@contextmanager
def alone() -> Iterator[None]:
    """Hold the prefix: two runs in it would end each other's processes."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
