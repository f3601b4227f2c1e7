"""The mark that every process of a tree carries, and the end of those that nobody owns any more.

`LLM_MANAGER_INSTANCE` = `<pid>.<start>.<pid namespace>/<instance id>`: the manager that started the
tree, by what no later process can share, then the instance. A guardian or a Job Object ends a tree
when its manager dies; this finds what is left when somebody killed the guardian as well.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psutil

MARK = "LLM_MANAGER_INSTANCE"
PATIENCE = 5.0
"""Seconds that a killed process may take to be gone."""


@dataclass(frozen=True, slots=True)
class Marked:
    """A living process of this user that carries the mark."""

    pid: int
    start: int
    mark: str

    @property
    def instance(self) -> str:
        return self.mark.partition("/")[2]


def mark(instance_id: str) -> str:
    """The value of LLM_MANAGER_INSTANCE for a tree that this process starts."""
    pid = os.getpid()
    return f"{pid}.{start_time(pid) or 0}.{_pid_namespace()}/{instance_id}"


def start_time(pid: int) -> int | None:
    """When the process started, in a unit of this system; None if it is dead.

    Equal for equal processes, whatever the wall clock does meanwhile.
    """
    if sys.platform == "linux":
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return None
        return None if fields[0] in "ZX" else int(fields[19])
    try:
        process = psutil.Process(pid)
        # Windows has no zombies, and reads the table of all processes to tell a status.
        if sys.platform != "win32" and process.status() == psutil.STATUS_ZOMBIE:
            return None
        return round(process.create_time() * 1000)
    except psutil.Error:
        return None


def sweep() -> list[str]:
    """End every process of this user whose manager no longer lives; one sentence for each.

    Never touches this process, its ancestors, or a process of a manager that lives or that cannot
    be seen from here (another pid namespace). Blocks until they are dead: tens of milliseconds.
    """
    ended = _end_all(lambda process: _manager_is_gone(process.mark))
    return [
        f"ended pid {process.pid}: left over from {process.instance}, whose manager"
        f" (pid {process.mark.partition('.')[0]}) is gone"
        for process in ended
    ]


def sweep_instance(wanted: str) -> int:
    """End every process that carries exactly this mark; tells how many there were."""
    return len(_end_all(lambda process: process.mark == wanted))


def marked() -> Iterator[Marked]:
    """All processes with the mark, except this one and its ancestors."""
    spared = _ancestors()
    for pid in psutil.pids():
        if pid in spared or not (value := _mark_of(pid)):
            continue
        # Only for the few that have it: Windows reads its table of all processes again to tell
        # when a stranger started. A second look shows that both are of one process.
        start = start_time(pid)
        if start is not None and _mark_of(pid) == value:
            yield Marked(pid, start, value)


def _end_all(unwanted: Callable[[Marked], bool]) -> list[Marked]:
    """Kill until a look finds nothing more: a member may fork while it is being killed."""
    ended: dict[int, Marked] = {}
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = [process for process in marked() if unwanted(process)]
        if not found:
            break
        for process in found:
            ended[process.pid] = process
            _kill(process, deadline)
    return list(ended.values())


def _kill(process: Marked, deadline: float) -> None:
    """Kill exactly this process, not a later one with its number, and wait until it is dead."""
    if sys.platform == "linux":
        try:
            handle = os.pidfd_open(process.pid)
        except OSError:
            return  # dead already
        try:
            if start_time(process.pid) == process.start:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                poll = select.poll()  # select() would fail where more than 1024 files are open
                poll.register(handle, select.POLLIN)
                poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        except OSError:
            return
        finally:
            os.close(handle)
        return
    try:
        handle_ = psutil.Process(process.pid)
        if start_time(process.pid) == process.start:
            handle_.kill()
            handle_.wait(max(0.0, deadline - time.monotonic()))
    except psutil.Error:
        return


def _manager_is_gone(value: str) -> bool:
    try:
        pid, start, namespace = value.partition("/")[0].split(".")
        return namespace == _pid_namespace() and start_time(int(pid)) != int(start)
    except ValueError:
        return False  # not a mark of ours


def _mark_of(pid: int) -> str | None:
    if sys.platform == "linux":
        try:
            if os.stat(f"/proc/{pid}").st_uid != os.getuid():
                return None
            with open(f"/proc/{pid}/environ", "rb") as file:
                environ = b"\0" + file.read()
        except OSError:
            return None
        _, found, rest = environ.partition(b"\0" + MARK.encode() + b"=")
        return rest.partition(b"\0")[0].decode("utf-8", "replace") if found else None
    try:
        process = psutil.Process(pid)
        if sys.platform != "win32" and process.uids().real != os.getuid():
            return None
        return process.environ().get(MARK)
    except (psutil.Error, OSError):
        return None


def _ancestors() -> set[int]:
    """This process and those above it."""
    me = psutil.Process()
    return {me.pid, *(process.pid for process in me.parents())}


def _pid_namespace() -> str:
    """Names the world in which pids mean something; "0" where there is only one."""
    try:
        return str(os.stat("/proc/self/ns/pid").st_ino) if sys.platform == "linux" else "0"
    except OSError:
        return "0"
