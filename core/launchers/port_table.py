"""Windows: who listens on a port, from the system's table of listeners only.

The table of all connections, which psutil reads, has thousands of rows behind a busy server, and
changes while it is read.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from ctypes import wintypes

assert sys.platform == "win32", "elsewhere psutil or /proc tells"

_iphlpapi = ctypes.WinDLL("iphlpapi")
_LISTENERS_WITH_PID = 3
_TOO_SMALL = 122
_TABLES = ((socket.AF_INET, "<4x4xI8xI"), (socket.AF_INET6, "<20xI24x4xI"))
"""Family, and where a row has the local port and the pid."""


def listening_pids(port: int) -> list[int]:
    """The pids of who listens on the port; 0 for one that cannot be told."""
    return [pid for family, row in _TABLES for pid in _pids(_read(family), row, port)]


def _pids(table: bytes, row: str, port: int) -> list[int]:
    (count,) = struct.unpack_from("<I", table)
    rows = struct.iter_unpack(row, table[4 : 4 + count * struct.calcsize(row)])
    return [pid for number, pid in rows if socket.ntohs(number & 0xFFFF) == port]


def _read(family: int) -> bytes:
    """The table; an empty one if the system gives none."""
    size = wintypes.DWORD(16 * 1024)
    while True:
        buffer = ctypes.create_string_buffer(size.value)
        status = _iphlpapi.GetExtendedTcpTable(
            buffer, ctypes.byref(size), False, family, _LISTENERS_WITH_PID, 0
        )
        if status != _TOO_SMALL:
            return bytes(buffer) if status == 0 else bytes(4)
