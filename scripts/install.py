"""Make `.venv` hold exactly what the lock files name: `install.py [--tests]`.

Called by llm-manager.sh and LLM-Manager.bat at every start; silent and quick when nothing is to be
done. Starts that come at the same time wait for the first; an interrupted one is made good.
"""
# ruff: noqa: T201  (a program for a terminal)

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
VENV = HOME / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
UNFINISHED = VENV / "unfinished"
"""There while an installation runs: what an interrupted one left cannot be trusted."""
INSTALLED = VENV / "installed.txt"
"""The checksum of each lock file that is installed."""
LOG = HOME / "logs" / "install.log"

PROGRAM, DEMO, TESTS = (
    HOME / f"requirements{part}.lock" for part in ("", "-demo", "-test")
)  # DEMO and TESTS name the program's packages too
DEMO_PACKAGES = "gguf,msvc-runtime,numpy,xllamacpp"


class InstallError(Exception):
    """A sentence for the person who started the program."""


def main() -> int:
    for stream in (sys.stdout, sys.stderr):  # piped on Windows, they know only some letters
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="replace")
    lock_file = TESTS if "--tests" in sys.argv[1:] else DEMO
    try:
        if not is_ready(lock_file):
            with one_at_a_time():
                if not is_ready(lock_file):  # a start that we waited for may have done it
                    install(lock_file)
    except InstallError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except OSError as error:  # a full disk, a folder that may not be written to
        print(
            say(f"\nCannot prepare {VENV}: {error}", f"\n无法准备 {VENV}:{error}"), file=sys.stderr
        )
        return 1
    except KeyboardInterrupt:
        print(say("\nInterrupted. The next start begins again.", "\n已中断,下次启动时会重新开始。"))
        return 130
    return 0


def is_ready(lock_file: Path) -> bool:
    return is_sound() and INSTALLED.exists() and checksum(lock_file) in INSTALLED.read_text("utf-8")


def is_sound() -> bool:
    """True if `.venv` can be installed into: complete, its Python still there and new enough."""
    if UNFINISHED.exists() or not PYTHON.exists():
        return False
    test = "import pip, sys; sys.exit(sys.version_info < (3, 11))"
    try:
        return (
            subprocess.run([PYTHON, "-c", test], capture_output=True, check=False).returncode == 0
        )
    except OSError:  # made on another system
        return False


def checksum(lock_file: Path) -> str:
    return f"{lock_file.name} {hashlib.sha256(lock_file.read_bytes()).hexdigest()}\n"


def install(lock_file: Path) -> None:
    started = time.monotonic()
    LOG.parent.mkdir(exist_ok=True)
    LOG.unlink(missing_ok=True)
    if not is_sound():
        make_venv()
    print(say("Installing the Python packages ...", "正在安装 Python 软件包……"), flush=True)
    UNFINISHED.touch()
    reason = pip_install(lock_file)
    demo_missing = reason is not None and lock_file == DEMO and names_demo(reason)
    if demo_missing:
        print(
            say("\nTrying without the demo models ...", "\n正在尝试不带演示模型安装……"), flush=True
        )
        reason = pip_install(PROGRAM)
    UNFINISHED.unlink()  # pip came to its end: it has changed all or nothing
    if reason is not None:
        raise InstallError(
            say(
                f"The Python packages could not be installed: {reason} (details: {LOG})",
                f"Python 软件包安装失败:{reason}(详情:{LOG})",
            )
        )
    remember(lock_file)
    seconds = f"{time.monotonic() - started:.0f}"
    print(say(f"\nInstalled in {seconds} s.", f"\n安装完成,用时 {seconds} 秒。"), flush=True)
    if demo_missing:
        print(
            say(
                f"The demo models will not start here: their packages failed to install ({LOG}).",
                f"演示模型在这台电脑上无法启动:所需软件包安装失败({LOG})。",
            ),
            flush=True,
        )


def remember(lock_file: Path) -> None:
    before = INSTALLED.read_text("utf-8") if INSTALLED.exists() else ""
    true = {checksum(file) for file in (DEMO, TESTS) if checksum(file) in before}
    text = "".join(sorted(true | {checksum(lock_file)}))
    INSTALLED.write_text(text, encoding="utf-8", newline="\n")


def make_venv() -> None:
    print(say(f"Making {VENV} ...", f"正在创建 {VENV} ……"), flush=True)
    # The Python below a virtual environment: the one to be replaced may be the one that runs this.
    base = getattr(sys, "_base_executable", sys.executable)
    if VENV.exists():
        shutil.rmtree(VENV, ignore_errors=sys.platform == "win32")
    VENV.mkdir(exist_ok=True)
    UNFINISHED.touch()
    made = subprocess.run(
        [base, "-m", "venv", VENV],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if made.returncode == 0:
        return
    LOG.write_text(made.stdout, encoding="utf-8")
    if "ensurepip" in made.stdout:
        raise InstallError(
            say(
                "This Python has no venv module; on Debian and Ubuntu: apt install python3-venv",
                "此 Python 缺少 venv 模块;在 Debian 和 Ubuntu 上:apt install python3-venv",
            )
        )
    raise InstallError(say(f"{VENV} could not be made: {LOG}", f"无法创建 {VENV}:{LOG}"))


def pip_install(lock_file: Path) -> str | None:
    """Install what the file names and show how far it is; what went wrong, or None."""
    command = [str(PYTHON), "-m", "pip", "install", "--require-hashes", "-r", str(lock_file)]
    command += ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    if lock_file == DEMO:  # ready-made, or not at all: nobody has a compiler at hand
        command += ["--only-binary", DEMO_PACKAGES]
    errors = ["pip failed"]
    with (
        LOG.open("a", encoding="utf-8") as log,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env=os.environ | {"PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"},
        ) as pip,
    ):
        for line in pip.stdout or ():
            log.write(line)
            if line.startswith("ERROR: "):
                errors.append(line.removeprefix("ERROR: ").strip())
            else:
                show_progress(line.strip())
    if pip.returncode == 0:
        return None
    if any("(from versions: none)" in error for error in errors) and not names_demo(errors[-1]):
        return say(
            f"no package index answers; is there a network? ({errors[-1]})",
            f"无法访问软件包索引,请检查网络({errors[-1]})",
        )
    return errors[-1]


def show_progress(line: str) -> None:
    """Of pip's many lines, those that tell a person how far it is."""
    first, _, rest = line.partition(" ")
    if first == "Collecting":
        print(f"  {rest.partition(' (from ')[0]}", flush=True)
    elif first == "Downloading" and rest.endswith("MB)"):
        print(say(f"    downloading {rest}", f"    正在下载 {rest}"), flush=True)
    elif first == "Installing":
        print(say("  unpacking ...", "  正在解压……"), flush=True)


def names_demo(error: str) -> bool:
    return any(f" {package}=" in error for package in DEMO_PACKAGES.split(","))


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Hold the installation lock, which the system takes back whatever ends this process."""
    path = HOME / ".cache" / "install.lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("a+b") as file:
        if not try_lock(file.fileno()):
            print(
                say("Waiting for another start that installs ...", "正在等待另一个启动完成安装……"),
                flush=True,
            )
            while not try_lock(file.fileno()):
                time.sleep(0.2)
        yield  # closing the file gives the lock back


def try_lock(file: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(file, 0, os.SEEK_SET)
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def say(english: str, chinese: str) -> str:
    """The sentence in the language of this desktop or terminal."""
    if sys.platform == "win32":
        import ctypes

        is_chinese = ctypes.windll.kernel32.GetUserDefaultUILanguage() & 0x3FF == 0x04
    else:
        names = ("LC_ALL", "LC_MESSAGES", "LANG")
        language = next((os.environ[name] for name in names if os.environ.get(name)), "")
        is_chinese = language.startswith("zh")
    return chinese if is_chinese else english


if __name__ == "__main__":
    sys.exit(main())
