"""Start with the system: an entry of the user's own, where each system looks for it."""

from __future__ import annotations

import os
import plistlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Protocol

from core.interpreter import windowless

NAME = "LLM-Manager"
MAC_LABEL = "local.llm-manager"
RUN_KEY = r"Software\Microsoft\Windows\CurrentVersion\Run"
APPROVED_KEY = r"Software\Microsoft\Windows\CurrentVersion\Explorer\StartupApproved\Run"
"""Where the task manager and the settings keep that the user switched an entry off."""
LONGEST_COMMAND = 260
"""Characters of a command in the Run key (Microsoft, "Run and RunOnce Registry Keys")."""
PATH_OPTIONS = ("--config", "--logs")


class Autostart(Protocol):
    """The switch. Its methods are quick and raise OSError."""

    def enabled(self) -> bool:
        """Whether the system starts this very program, the way it was started now."""

    def switch(self, on: bool) -> None: ...


def autostart(main: Path, arguments: Sequence[str]) -> Autostart | None:
    """The switch of this system; None where there is none."""
    python, folder = Path(sys.executable), main.parent
    command = [str(python), str(main), *absolute(arguments, Path.cwd())]
    if sys.platform == "win32":
        if "WindowsApps" in sys.base_prefix:
            return None  # a Python of the Store has a registry of its own, which no logon reads
        return RunValue(run_value([str(windowless(python)), *command[1:]]))
    if sys.platform == "darwin":
        agents = Path.home() / "Library" / "LaunchAgents"
        return EntryFile(agents / f"{MAC_LABEL}.plist", launch_agent(command, folder))
    if sys.platform.startswith("linux"):
        return EntryFile(
            desktop_folder(os.environ) / f"{NAME}.desktop", desktop_entry(command, folder)
        )
    return None


def absolute(arguments: Sequence[str], folder: Path) -> list[str]:
    """The arguments with paths that mean the same in any folder."""
    result: list[str] = []
    for argument in arguments:
        option, sign, value = argument.partition("=")
        if result and result[-1] in PATH_OPTIONS:
            result.append(str(folder / argument))
        elif option in PATH_OPTIONS and sign:
            result.append(f"{option}={folder / value}")
        else:
            result.append(argument)
    return result


# ---- Linux and macOS: a file -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EntryFile:
    """An entry that is a file of its own."""

    path: Path
    content: bytes

    def enabled(self) -> bool:
        try:
            return self.path.read_bytes() == self.content
        except OSError:
            return False

    def switch(self, on: bool) -> None:
        if not on:
            self.path.unlink(missing_ok=True)
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".new")
        temporary.write_bytes(self.content)
        temporary.replace(self.path)


def desktop_folder(env: Mapping[str, str]) -> Path:
    """Where desktops of the freedesktop kind look for programs to start."""
    config = env.get("XDG_CONFIG_HOME", "")
    # An empty or relative value counts as none, says the specification.
    base = Path(config) if config.startswith("/") else Path.home() / ".config"
    return base / "autostart"


def desktop_entry(command: Sequence[str], folder: PurePath) -> bytes:
    """A .desktop file that runs the command."""
    return (
        "[Desktop Entry]\n"
        "Type=Application\n"
        f"Name={NAME}\n"
        "Comment=One address for all local language models\n"
        f"Exec={' '.join(map(_exec_word, command))}\n"
        f"Path={_escaped(str(folder))}\n"
        "Terminal=false\n"
        "X-GNOME-Autostart-enabled=true\n"
    ).encode()


def _exec_word(word: str) -> str:
    """Quoted for the Exec key, then escaped as every string of such a file."""
    for special in '\\"`$':
        word = word.replace(special, "\\" + special)
    return _escaped('"' + word.replace("%", "%%") + '"')


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")


def launch_agent(command: Sequence[str], folder: PurePath) -> bytes:
    """A property list that runs the command when the user logs in."""
    return plistlib.dumps(
        {
            "Label": MAC_LABEL,
            "ProgramArguments": list(command),
            "WorkingDirectory": str(folder),
            "RunAtLoad": True,
            "ProcessType": "Interactive",
        }
    )


# ---- Windows: a value in the registry ----------------------------------------------------------


if sys.platform == "win32":
    import winreg

    @dataclass(frozen=True, slots=True)
    class RunValue:
        """A value of the user's Run key."""

        command: str

        def enabled(self) -> bool:
            return _value_in(RUN_KEY) == self.command and not _switched_off()

        def switch(self, on: bool) -> None:
            if on and len(self.command) > LONGEST_COMMAND:
                raise OSError(
                    f"Windows starts no command of more than {LONGEST_COMMAND} characters at logon,"
                    f" and this one has {len(self.command)}: use shorter paths"
                )
            _forget(APPROVED_KEY)
            if not on:
                _forget(RUN_KEY)
                return
            with winreg.CreateKey(winreg.HKEY_CURRENT_USER, RUN_KEY) as key:
                winreg.SetValueEx(key, NAME, 0, winreg.REG_SZ, self.command)

    def _switched_off() -> bool:
        """The first byte of what the task manager notes is odd then."""
        note = _value_in(APPROVED_KEY)
        return isinstance(note, bytes) and note != b"" and note[0] % 2 == 1

    def _value_in(path: str) -> object:
        """Ours, in this key of the user; None if there is none."""
        try:
            with winreg.OpenKey(winreg.HKEY_CURRENT_USER, path) as key:
                value: object = winreg.QueryValueEx(key, NAME)[0]
                return value
        except OSError:
            return None

    def _forget(path: str) -> None:
        """Take our value out of this key of the user."""
        with (
            suppress(FileNotFoundError),
            winreg.OpenKey(winreg.HKEY_CURRENT_USER, path, 0, winreg.KEY_SET_VALUE) as key,
        ):
            winreg.DeleteValue(key, NAME)


def run_value(command: Sequence[str]) -> str:
    """The command line: both paths quoted, whether they hold spaces or not."""
    python, main, *rest = command
    return f'"{python}" "{main}" {subprocess.list2cmdline(rest)}'.rstrip()
