"""What LocalLauncher checks before anything is started."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from core.domain import LaunchSpec
from core.launchers.local import runnable
from tests.launchers.conftest import Trees

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only: shell scripts")


def script(folder: Path, text: bytes, *, mode: int = 0o755, name: str = "x.sh") -> Path:
    path = folder / name
    path.write_bytes(text)
    path.chmod(mode)
    return path


def test_an_executable_script_is_run_as_it_is(tmp_path: Path) -> None:
    path = script(tmp_path, b"#!/bin/sh\n")
    assert runnable((str(path), "a"), tmp_path, {}) == [str(path), "a"]
    assert runnable(("./x.sh",), tmp_path, {}) == [str(path)]


@pytest.mark.parametrize(("text", "mode"), [(b"#!/bin/sh\n", 0o644), (b"exit 3\n", 0o755)])
def test_a_sh_file_needs_neither_the_bit_nor_the_first_line(
    tmp_path: Path, text: bytes, mode: int
) -> None:
    path = script(tmp_path, text, mode=mode)
    assert runnable((str(path), "a"), tmp_path, {}) == ["sh", str(path), "a"]


def test_a_program_is_looked_up_on_the_path(tmp_path: Path) -> None:
    script(tmp_path, b"#!/bin/sh\n", name="serve-me")
    assert runnable(("serve-me", "-v"), tmp_path, {"PATH": str(tmp_path)}) == ["serve-me", "-v"]


def test_each_obstacle_has_its_sentence(tmp_path: Path) -> None:
    (tmp_path / "folder.sh").mkdir()
    crlf = script(tmp_path, b"#!/bin/sh\r\nexit\r\n", name="crlf.sh")
    foreign = script(tmp_path, b"#!/no/such/shell -e\n", name="foreign.sh")
    plain = script(tmp_path, b"\x7fELF", mode=0o644, name="server")
    for argv, sentence in [
        ((str(tmp_path / "none.sh"),), "none.sh does not exist"),
        ((str(tmp_path / "folder.sh"),), "folder.sh is a folder, not a script"),
        ((str(crlf),), "crlf.sh has Windows line endings"),
        ((str(foreign),), "foreign.sh is to be run by /no/such/shell, which does not exist"),
        ((str(plain),), "server is not executable; try: chmod"),
        (("no-such-program",), "the program no-such-program is not on the PATH"),
    ]:
        with pytest.raises(OSError, match=sentence):
            runnable(argv, tmp_path, {"PATH": str(tmp_path)})


async def test_a_missing_folder_has_its_sentence(trees: Trees, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"the folder .*nowhere does not exist"):
        trees.launcher.start(
            LaunchSpec(("/bin/sh",), tmp_path / "nowhere", {}),
            instance_id=trees.instance_id,
            host="127.0.0.1",
            port=0,
        )
    assert trees.survivors() == []


async def test_no_more_open_files_is_a_sentence_and_leaves_nothing(trees: Trees) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = open_descriptors()
    # Room for some of the pipes, not for all of them.
    for room in (0, 3, 5):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(before) + 1 + room, hard))
        try:
            with pytest.raises(OSError, match=r"cannot start .*[Tt]oo many open files"):
                fill_and_start(trees, room, before)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert open_descriptors() == before
    assert trees.survivors() == []


def open_descriptors() -> set[int]:
    folder = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"
    found = {int(path.name) for path in Path(folder).iterdir()}
    return {number for number in found if Path(folder, str(number)).exists()}


def fill_and_start(trees: Trees, room: int, before: set[int]) -> None:
    """Use up the gaps between the open descriptors, so that exactly `room` are left."""
    gaps = max(before) + 1 - len(before)
    fillers = [open("/dev/null", "rb") for _ in range(gaps)]
    try:
        trees.launcher.start(
            LaunchSpec(("/bin/true",), trees.folder, {}),
            instance_id=trees.instance_id,
            host="127.0.0.1",
            port=0,
        )
    finally:
        for filler in fillers:
            filler.close()


async def test_no_more_processes_is_a_sentence_and_leaves_nothing(
    trees: Trees, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    before = open_descriptors()
    with pytest.raises(OSError, match=r"cannot start .*Resource temporarily unavailable"):
        trees.start("exit 0\n")
    assert open_descriptors() == before
