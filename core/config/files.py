"""Which files a config means on this operating system, and which scripts are refused."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path, PureWindowsPath

from core.config.problem import quote

PROGRAM_FOLDER = str(Path(__file__).parents[2])

_BATCH = (".bat", ".cmd")
_NOT_IN_NAME = re.compile(r'["%<>|?*:]')
_WINDOWS_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


class ScriptRefused(ValueError):
    """The path names nothing that may be started; the message says why and what to do."""


class Files:
    """The folder of the config file, from which all its paths start.

    `exists` looks at the disk; None takes everything to be there.
    """

    def __init__(self, folder: str, platform: str, exists: Callable[[str], bool] | None) -> None:
        self._folder = folder
        self._script_folders = [folder]
        self._is_windows = platform == "win32"
        self._exists = exists

    def allow_scripts_in(self, folder: str) -> None:
        self._script_folders.append(self._absolute(folder))

    def script(self, written: str) -> str:
        """The absolute path of the script for this system; it need not exist.

        Raises ScriptRefused. What a config names runs with the user's rights, therefore a path
        that leaves the folder has to be declared.
        """
        if self._is_windows:
            _refuse_what_cmd_would_read(written)
        if written[-1] in "\\/":
            raise ScriptRefused("names a folder, not a script")
        file = self._absolute(written)
        if not any(_inside(file, folder) for folder in self._script_folders):
            raise ScriptRefused(
                f"lies outside the folder of the config file; to allow it, add "
                f"{quote(os.path.dirname(file))} to script_dirs in program"
            )
        stem, suffix = os.path.splitext(file)
        if not self._is_windows and suffix.lower() in _BATCH:
            return stem + ".sh"
        return file

    def is_missing(self, file: str) -> bool:
        return self._exists is not None and not self._exists(file)

    def plugin_folder(self, written: str) -> Path:
        """Beside the config file, or else beside the program: a config may live anywhere."""
        own = self._absolute(written)
        shipped = os.path.join(PROGRAM_FOLDER, written.replace("\\", "/"))
        if self.is_missing(own) and not self.is_missing(shipped):
            return Path(os.path.normpath(shipped))
        return Path(own)

    def _absolute(self, written: str) -> str:
        return os.path.normpath(os.path.join(self._folder, written.replace("\\", "/")))


def _inside(file: str, folder: str) -> bool:
    file, folder = os.path.normcase(file), os.path.normcase(folder)
    return file.startswith(folder.rstrip(os.sep) + os.sep)


def _refuse_what_cmd_would_read(written: str) -> None:
    """cmd.exe expands % even between quotation marks, and Windows drops dots and blanks at the
    end of a name, which makes `x.bat.` a batch file that no check for `.bat` sees."""
    path = PureWindowsPath(written)
    for part in path.parts[1:] if path.anchor else path.parts:
        if bad := _NOT_IN_NAME.search(part):
            raise ScriptRefused(f"{bad[0]} is not allowed in the name of a script on Windows")
        if part != ".." and part[-1] in ". ":
            raise ScriptRefused("a name must not end with a dot or a blank on Windows")
        if _WINDOWS_DEVICE.fullmatch(part):
            raise ScriptRefused(f"{part} is the name of a Windows device, not of a script")
