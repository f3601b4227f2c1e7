"""LLM-Manager.bat, run for real on a copy with a stub for the program."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.install import say
from tests.fakes.stub_exe import write_exe
from tests.fakes.waiting import until_sync
from tests.windows.here import under_wine

assert sys.platform == "win32"
pytestmark = pytest.mark.timeout(120)

HOME = Path(__file__).parent.parent
SYSTEM = Path(os.environ["SYSTEMROOT"]) / "System32"
BASE = Path(getattr(sys, "_base_executable", sys.executable)).parent
STUB = """
import os, sys
from pathlib import Path
quiet = sys.stdout is None
words = ["quiet" if quiet else "loud", str(sys.prefix != sys.base_prefix), *sys.argv[1:]]
if quiet:
    told = Path(__file__).with_name("told")
    told.write_text("|".join([*words, os.getcwd()]), encoding="utf-8")
    told.rename(told.with_suffix(".txt"))
else:
    print(*words, sep="|")
    sys.exit(7 if "fail" in words else 0)
"""
MAKING = say("Making {}", "正在创建 {}")
INSTALLING = say("Installing the Python packages", "正在安装 Python 软件包")
TYPES_UTF8 = not under_wine() or "中".encode("mbcs", "replace") == b"?"
"""wine's `type` reads a file in the code page of the system, which may have no such text."""
STORE = "print('Python was not found; run without arguments to install it'); raise SystemExit(9009)"
"""What the python.exe of a fresh Windows does."""
OLD = "raise SystemExit(1)"
"""What an old Python answers to our question."""
PY = f"""
import subprocess, sys
assert sys.argv[1] == "-3"
sys.exit(subprocess.call([{sys.executable!r}, *sys.argv[2:]]))
"""
"""The launcher of python.org, which finds the newest Python."""
NOT_ANYWHERE = f"aiohttp==0 --hash=sha256:{'0' * 64}\n"
UNREACHABLE = {"PIP_CONFIG_FILE": "nul", "PIP_INDEX_URL": "http://127.0.0.1:9"}
UNREACHABLE |= {"PIP_RETRIES": "0", "PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": ""}


def make_checkout(home: Path) -> Path:
    shutil.copytree(HOME / "scripts", home / "scripts", ignore=lambda *_: ["__pycache__"])
    shutil.copy(HOME / "LLM-Manager.bat", home)
    (home / "main.py").write_text(STUB, encoding="utf-8")
    (home / "scripts" / "run_tests.py").write_text(
        "import sys; print('tests', *sys.argv[1:], sep='|')"
    )
    for part in ("", "-demo", "-test"):
        (home / f"requirements{part}.lock").touch()
    return home


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """With nothing to install, in an awkward folder."""
    return make_checkout(tmp_path / "a b & 中文 'q' (1)")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = make_checkout(tmp_path_factory.mktemp("made-once") / "home")
    code, output = start(home, "ps")
    assert code == 0, output
    return home


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder for the PATH whose python.exe is the Store's; there is no py.exe."""
    write_exe(tmp_path / "bare" / "python.exe", STORE)
    return tmp_path / "bare"


def environment(*folders: Path, python: str | Path = "", **more: str) -> dict[str, str]:
    """With these folders first on the PATH, and nothing else on it that could be a Python.

    The folder of our own Python stands on it for its DLLs.
    """
    kept = ("SYSTEMROOT", "COMSPEC", "TEMP", "TMP", "PATHEXT", "USERPROFILE", "WINEDEBUG")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    env["PATH"] = os.pathsep.join(map(str, (*folders, BASE, SYSTEM)))
    if python:
        env["LLM_MANAGER_PYTHON"] = str(python)
    return env | more


def start(
    home: Path, arguments: str = "", env: dict[str, str] | None = None, keys: str = ""
) -> tuple[int, str]:
    """As from a console whose current folder is another one."""
    done = subprocess.run(
        f'cmd.exe /d /s /c ""{home / "LLM-Manager.bat"}" {arguments}"',
        cwd=SYSTEM,
        env=env or environment(python=sys.executable),
        input=keys,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="backslashreplace",
        check=False,
    )
    return done.returncode, done.stdout


def double_click(home: Path, monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[str]:
    """What the program was told, and the folder in which it was started."""
    told = home / "told.txt"
    told.unlink(missing_ok=True)
    for name, value in environment(python=sys.executable).items():
        monkeypatch.setenv(name, value)
    os.startfile(home / "LLM-Manager.bat", cwd=folder)
    until_sync(told.exists, seconds=60)
    return told.read_text("utf-8").split("|")


# ---- a Python is there ---------------------------------------------------------------------------


def test_first_start_installs_and_the_second_only_starts(checkout: Path) -> None:
    code, output = start(checkout, 'ps "two words" *')
    assert code == 0, output
    assert MAKING.format(checkout / ".venv") in output
    assert INSTALLING in output
    assert output.splitlines()[-1] == "loud|True|ps|two words|*"
    assert start(checkout, "ps") == (0, "loud|True|ps\n")
    assert start(checkout, "fail") == (7, "loud|True|fail\n")

    (checkout / "requirements-demo.lock").write_text("# changed\n")
    code, output = start(checkout, "ps")
    assert code == 0, output
    assert INSTALLING in output
    assert MAKING.format("") not in output


@pytest.mark.skipif(under_wine(), reason="wine cannot keep a code page without a console")
def test_the_console_keeps_its_code_page(installed: Path) -> None:
    command = f'chcp 850 >nul & "{installed / "LLM-Manager.bat"}" ps & chcp'
    done = subprocess.run(
        f'cmd.exe /d /s /c "{command}"',
        cwd=SYSTEM,
        env=environment(python=sys.executable),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    program, code_page = done.stdout.splitlines()
    assert program == b"loud|True|ps"
    assert b"850" in code_page


AWKWARD = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            under_wine() and "%" in name,
            reason="wine cannot keep a percent sign in the path of a batch file",
        ),
    )
    for name in ["plain", "with space", "a & b", "(x86)", "caret ^", "100% sure", "wow!", "模型"]
]


@pytest.mark.parametrize("name", AWKWARD)
def test_a_double_click_in_any_folder(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Without a console; as administrator it starts in System32."""
    home = tmp_path / name
    shutil.copytree(installed, home)
    *words, folder = double_click(home, monkeypatch, SYSTEM)
    assert words == ["quiet", "True"]
    assert Path(folder).samefile(home)
    assert start(home, "ps") == (0, "loud|True|ps\n")


def test_the_tests_are_started_with_their_arguments(installed: Path) -> None:
    code, output = start(installed, "test -k one")
    assert code == 0, output
    assert output.splitlines()[-1] == "tests|test|-k|one"


@pytest.mark.parametrize("kind", ["py", "python", "shim", ".venv"])
def test_a_python_is_found_where_it_is(
    installed: Path, tmp_path: Path, bare: Path, kind: str
) -> None:
    """By the launcher of python.org, on the PATH, as a batch file there, or only in .venv."""
    folders = [bare]
    if kind == "py":
        write_exe(bare / "py.exe", PY)
    if kind == "python":
        folders = []
    if kind == "shim":
        shim = tmp_path / "shims" / "python.bat"
        shim.parent.mkdir()
        shim.write_bytes(f'@echo off\r\n"{sys.executable}" %*\r\n'.encode())
        folders = [shim.parent]
    home = tmp_path / "home"
    shutil.copytree(installed, home)
    if kind != ".venv":
        shutil.rmtree(home / ".venv")
    code, output = start(home, "ps", environment(*folders))
    assert code == 0, output
    assert output.splitlines()[-1] == "loud|True|ps"


# ---- none is there -------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [STORE, OLD], ids=["the Store's stub", "too old"])
def test_without_a_python_it_says_so_and_the_window_stays(
    checkout: Path, bare: Path, answer: str
) -> None:
    write_exe(bare / "python.exe", answer)
    code, output = start(checkout, "", environment(bare), keys="\n")
    assert code == 1
    assert "needs Python 3.11 or newer, and found none" in output
    assert 'tick "Add python.exe to PATH"' in output
    assert not (checkout / ".venv").exists()

    code, short = start(checkout, "ps", environment(bare))
    assert code == 1
    assert output.startswith(short), "the same and nothing more"
    assert output != short, "no pause"
    if TYPES_UTF8:
        chinese = (checkout / "scripts" / "no-python.zh.txt").read_text("utf-8")
        assert chinese in output


def test_a_wrong_python_by_name_is_not_replaced_by_another(installed: Path) -> None:
    code, output = start(installed, "ps", environment(python=r"C:\nowhere\python.exe"))
    assert code == 1
    assert "found none" in output


def test_without_a_network_it_says_so_and_the_window_stays(installed: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(installed, home)
    (home / "requirements-demo.lock").write_text(NOT_ANYWHERE)
    env = environment(python=sys.executable, **UNREACHABLE)
    code, output = start(home, "", env, keys="\n")
    assert code == 1
    assert str(home / "logs" / "install.log") in output
    assert "aiohttp==0" in output
    *_, last = output.rstrip().splitlines()
    assert "aiohttp==0" not in last, "no pause"
