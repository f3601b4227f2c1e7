"""The Launcher of this machine: checks what is to run, and leaves the running to the platform."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from core.domain import LaunchSpec
from core.launchers import leftovers
from core.launchers.base import Process

# At once and not at the first start: there may be no file descriptor left for it by then.
if sys.platform == "win32":
    from core.launchers import job_object
else:
    from core.launchers import guarded


class LocalLauncher:
    """A `Launcher`: a guardian process owns each tree on POSIX, a Job Object on Windows."""

    def start(self, spec: LaunchSpec, *, instance_id: str, host: str, port: int) -> Process:
        """See `Launcher.start`; to be called in the running loop."""
        env = {**os.environ, **spec.env}
        if not spec.folder.is_dir():
            raise OSError(f"the folder {spec.folder} does not exist")
        if sys.platform == "win32":
            env[leftovers.MARK] = leftovers.mark(instance_id)
            return job_object.start(spec.argv, spec.folder, env, host=host, port=port)
        else:
            command = runnable(spec.argv, spec.folder, env)
            try:
                env[leftovers.MARK] = leftovers.mark(instance_id)
                return guarded.start(command, spec.folder, env, host=host, port=port)
            except OSError as error:
                reason = error.strerror or str(error)
                raise OSError(f"cannot start {spec.argv[0]}: {reason}") from error


def runnable(argv: tuple[str, ...], folder: Path, env: Mapping[str, str]) -> list[str]:
    """POSIX: the command as the system can execute it; `.sh` files need no executable bit.

    Raises OSError with a sentence that says what to do about a script that cannot be started.
    """
    program, *arguments = argv
    if os.sep not in program:
        if not shutil.which(program, path=env.get("PATH")):
            raise OSError(f"the program {program} is not on the PATH")
        return list(argv)
    path = folder.absolute() / program
    if path.is_dir():
        raise OSError(f"{path} is a folder, not a script")
    if not path.exists():
        raise OSError(f"{path} does not exist")
    if path.suffix != ".sh":
        if not os.access(path, os.X_OK):
            raise OSError(f"{path} is not executable; try: chmod +x '{path}'")
        return [str(path), *arguments]
    try:
        with path.open("rb") as file:
            first_line = file.readline(200)
    except OSError as error:
        raise OSError(f"{path} cannot be read: {error.strerror}") from error
    if first_line.endswith(b"\r\n"):
        raise OSError(f"{path} has Windows line endings; save it with LF line endings")
    if first_line.startswith(b"#!") and os.access(path, os.X_OK):
        interpreter = os.fsdecode(first_line[2:]).split()[:1]
        if interpreter and not Path(interpreter[0]).exists():  # the system would blame the script
            raise OSError(f"{path} is to be run by {interpreter[0]}, which does not exist")
        return [str(path), *arguments]
    return ["sh", str(path), *arguments]
