"""The one owner of the config file: the current snapshot, reading it anew, writing it whole."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from core.config.diff import Change, diff
from core.config.edit import set_option, with_section
from core.config.load import NO_ENV, Loaded, load
from core.config.problem import Problem
from core.domain import Config
from core.errors import ConfigError

logger = logging.getLogger(__name__)

FILE_NAMES = ("config.json", "config-rebuild.json", "config.yaml")
EDITABLE = frozenset(
    {"alive_time", "auto_start", "concurrency", "pinned", "priority", "queue_limit"}
    | {"start_timeout", "stop_timeout"}
)
"""What may be set from outside the file: nothing that decides which program is run."""

HOST_VARIABLE = "LLM_MANAGER_HOST"
LOOPBACK = "127.0.0.1"

_ATTEMPTS = 5
_LEFTOVER_SECONDS = 60.0


def find_config(explicit: Path | None, env: Mapping[str, str], folder: Path) -> Path:
    """The config file to use: as asked for, or the first of the usual names in `folder`.

    Raises ConfigError that says where it was looked for; a file that was asked for is never
    replaced by another one.
    """
    asked = [("--config", str(explicit) if explicit else "")]
    asked.append(("LLM_MANAGER_CONFIG", env.get("LLM_MANAGER_CONFIG", "").strip()))
    for origin, name in asked:
        if name:
            path = Path(os.path.abspath(os.path.expanduser(name)))
            if not path.is_file():
                raise ConfigError(f"There is no config file {path} ({origin}).")
            return path
    places = [folder / name for name in FILE_NAMES]
    for path in places:
        if path.is_file():
            return Path(os.path.abspath(path))
    raise ConfigError("There is no config file; looked for " + ", ".join(map(str, places)) + ".")


def read_config(path: Path, env: Mapping[str, str] = NO_ENV) -> Loaded:
    """Read and judge the file; an unreadable file is a problem like any other."""
    try:
        text = read_text(path)
    except ConfigError as error:
        return Loaded(None, (Problem("$", error.message),), ())
    return load(text, path, env, exists=os.path.exists)


def read_text(path: Path) -> str:
    """The text with its line ends as they are. Raises ConfigError."""
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path} is not UTF-8 (line {line}): save it as UTF-8.") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}.") from error


def write_text(path: Path, text: str) -> None:
    """Replace the file in one step: whoever reads, or finds it after a crash, sees all old or
    all new text.

    Keeps the permissions; a new file is the owner's alone. A symbolic link stays, and the file
    that it names is replaced. May block for a tenth of a second on Windows, where a file that
    somebody has open is not replaced. Raises OSError and then leaves the old file.
    """
    target = Path(os.path.realpath(path))
    _sweep(target)
    handle, temporary = tempfile.mkstemp(
        dir=target.parent, prefix=f".{target.name}.", suffix=".tmp"
    )
    try:
        with open(handle, "wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        if sys.platform != "win32":  # there a file knows only "read-only", and stays then
            with contextlib.suppress(FileNotFoundError):
                os.chmod(temporary, stat.S_IMODE(target.stat().st_mode))
        _replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(target.parent)


def _replace(temporary: str, target: Path) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            os.replace(temporary, target)
        except PermissionError as error:
            if attempt == _ATTEMPTS:
                raise PermissionError(
                    f"{target.name} cannot be replaced: another program holds it open, or it may"
                    " not be written to"
                ) from error
            time.sleep(0.02)
        else:
            return


def _sweep(target: Path) -> None:
    """Remove what writers that were killed left beside the file."""
    for old in target.parent.glob(f".{target.name}.*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > _LEFTOVER_SECONDS:
                old.unlink()


def _sync_folder(folder: Path) -> None:
    """The new name is on the disk too before we call it written."""
    if sys.platform == "win32":
        return
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class ConfigStore:
    """The config in force. Lives in the loop's thread; its methods block for a disk access."""

    def __init__(self, path: Path, env: Mapping[str, str] = NO_ENV) -> None:
        """Raises ConfigError with all problems if there is no valid config to begin with."""
        self.path = path
        self._env = env
        first = read_config(path, env)
        if first.config is None:
            raise _refusal(path, first.problems)
        self._current = first.config
        self.problems: tuple[Problem, ...] = ()
        """Why the file as it stands now is not in force; empty when it is."""
        self.warnings = first.warnings

    @property
    def current(self) -> Config:
        return self._current

    def reload(self) -> Change | None:
        """Read the file again and put it into force; None: it has problems, nothing changed."""
        loaded = read_config(self.path, self._env)
        self.problems = loaded.problems
        if loaded.config is None:
            logger.warning(
                "%s has %d problems, the old config stays; first: %s",
                *(self.path, len(loaded.problems), loaded.problems[0]),
            )
            return None
        self.warnings = loaded.warnings
        change = diff(self._current, loaded.config)
        self._current = loaded.config
        return change

    def write(self, text: str) -> Change:
        """Replace the file and put it into force.

        Raises ConfigError, and touches nothing, if the text has problems; OSError if the disk
        does not take it.
        """
        loaded = load(text, self.path, self._env)
        if loaded.config is None:
            raise _refusal(self.path, loaded.problems)
        write_text(self.path, text)
        return self.reload() or Change()

    def set_model_option(self, name: str, option: str, value: object) -> Change:
        """Set one option of a model (by primary name) in the file; the rest of the text stays.

        Raises ConfigError for an option that is not in EDITABLE, a value that does not fit, a
        file that has problems now or is YAML, and KeyError for an unknown model.
        """
        if option not in EDITABLE:
            raise ConfigError(f"{option} can be changed in {self.path.name} only, by hand.")
        text, config = self._as_it_stands(option)
        return self.write(set_option(text, config.models[name].key, option, value))

    def keep_to_this_machine(self) -> Change:
        """Set the address to listen on to this machine's own; it takes effect at the next start.

        The other way, opening it, is for whoever may edit the file. Raises ConfigError as above,
        and where the environment decides.
        """
        if self._env.get(HOST_VARIABLE, "").strip():
            raise ConfigError(f"{HOST_VARIABLE} decides the address: change it there.")
        text, _ = self._as_it_stands("host")
        return self.write(set_option(with_section(text, "program"), "program", "host", LOOPBACK))

    def _as_it_stands(self, option: str) -> tuple[str, Config]:
        """The text of the file, to change `option` in it. Raises ConfigError if that cannot be."""
        if self.path.suffix.lower() != ".json":
            raise ConfigError(f"{self.path.name} is not JSON: change {option} there by hand.")
        text = read_text(self.path)
        now = load(text, self.path, self._env)
        if now.config is None:
            raise _refusal(self.path, now.problems)
        return text, now.config


def _refusal(path: Path, problems: tuple[Problem, ...]) -> ConfigError:
    lines = tuple(map(str, problems))
    count = "a problem" if len(lines) == 1 else f"{len(lines)} problems"
    return ConfigError("\n  ".join((f"{path} has {count}:", *lines)), problems=lines)
