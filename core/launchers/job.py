"""Windows: a Job Object, which holds a process tree together, and the little else we ask it for."""

from __future__ import annotations

import ctypes
import sys
from ctypes import wintypes

assert sys.platform == "win32", "only Windows has Job Objects"

kernel = ctypes.WinDLL("kernel32", use_last_error=True)
_ntdll = ctypes.WinDLL("ntdll")
kernel.CreateJobObjectW.restype = wintypes.HANDLE
kernel.CreateIoCompletionPort.restype = wintypes.HANDLE
kernel.CreateIoCompletionPort.argtypes = (
    wintypes.HANDLE,
    wintypes.HANDLE,
    ctypes.c_void_p,
    wintypes.DWORD,
)
kernel.CreateEventW.restype = wintypes.HANDLE
kernel.CreateMutexW.restype = wintypes.HANDLE
kernel.OpenMutexW.restype = wintypes.HANDLE
_INVALID_HANDLE = wintypes.HANDLE(-1)

_ACCOUNTING, _PROCESS_IDS, _COMPLETION_PORT, _EXTENDED_LIMITS = 1, 3, 7, 9
_KILL_ON_JOB_CLOSE = 0x2000
_MORE_DATA = 234
_MOST_PROCESSES = 4096
"""Of one tree, as far as we look at its members."""


class _Limits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""

    _fields_ = (
        ("process_time", wintypes.LARGE_INTEGER),
        ("job_time", wintypes.LARGE_INTEGER),
        ("flags", wintypes.DWORD),
        ("minimum_working_set", ctypes.c_size_t),
        ("maximum_working_set", ctypes.c_size_t),
        ("active_processes", wintypes.DWORD),
        ("affinity", ctypes.c_size_t),
        ("priority", wintypes.DWORD),
        ("scheduling", wintypes.DWORD),
        ("io", ctypes.c_ulonglong * 6),
        ("memory", ctypes.c_size_t * 4),
    )


class _Port(ctypes.Structure):
    """JOBOBJECT_ASSOCIATE_COMPLETION_PORT."""

    _fields_ = (("key", ctypes.c_void_p), ("port", wintypes.HANDLE))


class _Accounting(ctypes.Structure):
    """JOBOBJECT_BASIC_ACCOUNTING_INFORMATION."""

    _fields_ = (
        ("times", wintypes.LARGE_INTEGER * 4),
        ("page_faults", wintypes.DWORD),
        ("total", wintypes.DWORD),
        ("active", wintypes.DWORD),
        ("terminated", wintypes.DWORD),
    )


class _ProcessIds(ctypes.Structure):
    """JOBOBJECT_BASIC_PROCESS_ID_LIST."""

    _fields_ = (
        ("assigned", wintypes.DWORD),
        ("listed", wintypes.DWORD),
        ("ids", ctypes.c_size_t * _MOST_PROCESSES),
    )


class Handle:
    """A handle of the system's that is closed with its owner, at the latest."""

    def __init__(self, value: int | None) -> None:
        if not value:
            raise _last_error()
        self.value = value

    def __del__(self) -> None:
        value, self.value = getattr(self, "value", 0), 0
        if value:
            kernel.CloseHandle(wintypes.HANDLE(value))


class Event:
    """A flag that threads can wait for together with other things of the system."""

    def __init__(self) -> None:
        self.handle = Handle(kernel.CreateEventW(None, True, False, None))

    def set(self) -> None:
        kernel.SetEvent(wintypes.HANDLE(self.handle.value))


class Job:
    """Members cannot leave; what they start is a member; all end when the last handle closes,
    which happens at the latest when this process ends, however it ends."""

    def __init__(self) -> None:
        self._handle = Handle(kernel.CreateJobObjectW(None, None))
        self._port = Handle(kernel.CreateIoCompletionPort(_INVALID_HANDLE, None, None, 1))
        self._set(_EXTENDED_LIMITS, _Limits(flags=_KILL_ON_JOB_CLOSE))
        self._set(_COMPLETION_PORT, _Port(None, self._port.value))

    def take(self, process: int) -> None:
        """Make this suspended process a member and let it run. Raises OSError."""
        handle = wintypes.HANDLE(process)
        if not kernel.AssignProcessToJobObject(wintypes.HANDLE(self._handle.value), handle):
            raise _last_error()
        status = _ntdll.NtResumeProcess(handle)
        if status:
            raise OSError(f"the process cannot be resumed (status {status & 0xFFFFFFFF:#x})")

    def take_this_process(self) -> None:
        """What this process starts from now on ends with it. Raises OSError."""
        this = wintypes.HANDLE(-1)
        if not kernel.AssignProcessToJobObject(wintypes.HANDLE(self._handle.value), this):
            raise _last_error()

    def terminate(self, code: int) -> None:
        """End all members at once; `code` becomes their exit code."""
        kernel.TerminateJobObject(wintypes.HANDLE(self._handle.value), wintypes.UINT(code))

    def wait(self, seconds: float) -> None:
        """Return when a process has joined or left, or in time: no message is ever guaranteed."""
        number, key, what = wintypes.DWORD(), ctypes.c_void_p(), ctypes.c_void_p()
        kernel.GetQueuedCompletionStatus(
            wintypes.HANDLE(self._port.value),
            ctypes.byref(number),
            ctypes.byref(key),
            ctypes.byref(what),
            wintypes.DWORD(round(seconds * 1000)),
        )

    def active(self) -> int:
        """How many members live."""
        accounting = _Accounting()
        self._query(_ACCOUNTING, accounting)
        return int(accounting.active)

    def members(self) -> list[int]:
        """The pids of the living members."""
        listed = _ProcessIds()
        self._query(_PROCESS_IDS, listed)
        return list(listed.ids[: listed.listed])

    def _set(self, kind: int, value: ctypes.Structure) -> None:
        size = ctypes.sizeof(value)
        handle = wintypes.HANDLE(self._handle.value)
        if not kernel.SetInformationJobObject(handle, kind, ctypes.byref(value), size):
            raise _last_error()

    def _query(self, kind: int, value: ctypes.Structure) -> None:
        size = ctypes.sizeof(value)
        handle = wintypes.HANDLE(self._handle.value)
        if not kernel.QueryInformationJobObject(handle, kind, ctypes.byref(value), size, None):
            error = _last_error()
            if error.winerror != _MORE_DATA:
                raise error


def _last_error() -> OSError:
    return ctypes.WinError(ctypes.get_last_error())
