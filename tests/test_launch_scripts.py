"""llm-manager.sh and what it installs, run for real on a copy with a stub for the program."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).parent.parent
MODEL_SCRIPTS = HOME / "Model_startup_script"
BATCH_FILES = [HOME / "LLM-Manager.bat", *sorted(MODEL_SCRIPTS.rglob("*.bat"))]
SHELL_FILES = [
    *(HOME / name for name in ("llm-manager.sh", "scripts/lock.sh", "tests/setup-debian.sh")),
    *sorted(MODEL_SCRIPTS.rglob("*.sh")),
]
# A virtual environment takes some seconds to make, many more on a busy machine.
pytestmark = pytest.mark.timeout(300)
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only: runs shell scripts")

STUB = "import sys; print('main.py', sys.prefix != sys.base_prefix, *sys.argv[1:], sep='|')"
UNREACHABLE = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9"}
UNREACHABLE |= {"PIP_RETRIES": "0", "PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": ""}
NOT_ANYWHERE = f"xllamacpp==0 --hash=sha256:{'0' * 64}\n"


def name_of(path: Path) -> str:
    return path.relative_to(HOME).as_posix()


@pytest.mark.parametrize("path", BATCH_FILES, ids=name_of)
def test_batch_files_are_what_cmd_reads_safely(path: Path) -> None:
    data = path.read_bytes()
    assert data.isascii()
    assert data.count(b"\n") == data.count(b"\r\n")
    assert data.startswith(b"@echo off\r\n")
    assert b"chcp 65001 >nul\r\n" in data


@posix_only
@pytest.mark.parametrize("path", SHELL_FILES, ids=name_of)
def test_shell_files_can_be_started(path: Path) -> None:
    assert os.access(path, os.X_OK)
    assert b"\r" not in path.read_bytes()
    subprocess.run(["/bin/sh", "-n", path], check=True)


def test_every_model_script_is_there_for_both_systems() -> None:
    batch = {path.with_suffix("") for path in MODEL_SCRIPTS.rglob("*.bat")}
    assert batch == {path.with_suffix("") for path in MODEL_SCRIPTS.rglob("*.sh")}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The start command with a stub for the program, nothing to install, and an awkward path."""
    home = tmp_path / "a b & 中文 'q' (1)"
    shutil.copytree(HOME / "scripts", home / "scripts", ignore=lambda *_: ["__pycache__"])
    shutil.copy(HOME / "llm-manager.sh", home)
    (home / "main.py").write_text(STUB)
    for part in ("", "-demo", "-test"):
        (home / f"requirements{part}.lock").touch()
    return home


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made-once") / ".venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder


@pytest.fixture
def with_venv(checkout: Path, venv: Path) -> Path:
    """The checkout after an earlier start, but with nothing installed yet."""
    shutil.copytree(venv, checkout / ".venv", symlinks=True)
    return checkout


def popen(command: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    base = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "LLM_MANAGER_PYTHON": sys.executable}
    return subprocess.Popen(
        [command, *arguments],
        cwd="/",
        env=base | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start(command: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    process = popen(command, *arguments, **environment)
    output = process.communicate()[0]
    return process.returncode, output


@posix_only
def test_first_start_installs_and_the_second_only_starts(checkout: Path, tmp_path: Path) -> None:
    command = checkout / "llm-manager.sh"
    status, output = start(command, "ps", "two words", "*")
    assert status == 0, output
    assert f"Making {checkout / '.venv'}" in output
    assert output.splitlines()[-1] == "main.py|True|ps|two words|*"

    link = tmp_path / "link"
    link.symlink_to(os.path.relpath(command, tmp_path))
    assert start(link) == (0, "main.py|True\n")

    (checkout / "requirements-demo.lock").write_text("# changed\n")
    status, output = start(command)
    assert status == 0, output
    assert "Installing" in output
    assert "Making" not in output
    assert start(command) == (0, "main.py|True\n")


@posix_only
def test_an_interrupted_installation_is_made_anew(with_venv: Path) -> None:
    (with_venv / ".venv" / "unfinished").touch()
    status, output = start(with_venv / "llm-manager.sh")
    assert status == 0, output
    assert "Making" in output
    assert output.endswith("main.py|True\n")
    assert start(with_venv / "llm-manager.sh") == (0, "main.py|True\n")


@posix_only
def test_starts_at_the_same_time_install_once(with_venv: Path) -> None:
    both = [popen(with_venv / "llm-manager.sh", str(number)) for number in range(2)]
    outputs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert "".join(outputs).count("Installing") == 1
    assert all(f"main.py|True|{number}\n" in text for number, text in enumerate(outputs))


@posix_only
def test_without_a_network_it_says_so(with_venv: Path) -> None:
    lock = NOT_ANYWHERE.replace("xllamacpp", "aiohttp")
    (with_venv / "requirements-demo.lock").write_text(lock)
    status, output = start(with_venv / "llm-manager.sh", **UNREACHABLE)
    assert status == 1
    last = output.splitlines()[-1]
    assert "no package index answers; is there a network? (" in last
    assert "aiohttp==0" in last
    assert str(with_venv / "logs" / "install.log") in last
    assert "aiohttp==0" in (with_venv / "logs" / "install.log").read_text()

    status, output = start(with_venv / "llm-manager.sh", **UNREACHABLE, LC_ALL="zh_CN.UTF-8")
    assert status == 1
    assert "请检查网络" in output.splitlines()[-1]


@posix_only
def test_a_platform_without_the_demo_engine_gets_the_program(with_venv: Path) -> None:
    (with_venv / "requirements-demo.lock").write_text(NOT_ANYWHERE)
    status, output = start(with_venv / "llm-manager.sh", **UNREACHABLE)
    assert status == 0, output
    assert "The demo models will not start here" in output
    assert output.endswith("main.py|True\n")
    assert start(with_venv / "llm-manager.sh", **UNREACHABLE) == (0, "main.py|True\n")


@posix_only
@pytest.mark.parametrize(
    ("answers", "found"),
    [("echo Python 3.9.2", "found: Python 3.9.2 as python3"), ("exit 127", "found: none")],
    ids=["too old", "none"],
)
def test_no_fitting_python(checkout: Path, tmp_path: Path, answers: str, found: str) -> None:
    fakes = tmp_path / "bin"
    fakes.mkdir()
    for name in ("python3.13", "python3.12", "python3.11", "python3"):
        (fakes / name).write_text(f'#!/bin/sh\n[ "$1" = --version ] || exit 1\n{answers}\n')
        (fakes / name).chmod(0o755)
    path = f"{fakes}:{os.environ['PATH']}"
    status, output = start(checkout / "llm-manager.sh", PATH=path, LLM_MANAGER_PYTHON="")
    assert status == 1
    assert output.startswith(f"LLM-Manager needs Python 3.11 or newer ({found})")
    assert not (checkout / ".venv").exists()


@posix_only
def test_a_wrong_python_by_name_is_not_replaced_by_another(checkout: Path) -> None:
    status, output = start(checkout / "llm-manager.sh", LLM_MANAGER_PYTHON="/nowhere/python")
    assert (status, output.count("\n")) == (1, 1)
    status, output = start(
        checkout / "llm-manager.sh", LLM_MANAGER_PYTHON="/nowhere/python", LANG="zh_CN.UTF-8"
    )
    assert "没有找到" in output
