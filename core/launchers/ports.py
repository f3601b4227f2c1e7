"""Who listens on a port of this machine, and which ports nobody has."""

from __future__ import annotations

import errno
import os
import random
import socket
import sys
from collections.abc import Collection, Iterable
from typing import Any

import psutil

from core.bridge import in_thread

FIRST, LAST = 10001, 32767
"""Free ports are taken from here: below the range that systems use for outgoing connections."""

FORWARDERS = frozenset(
    {"docker-proxy", "com.docker.backend", "rootlessport", "wslrelay", "vpnkit", "vpnkit-bridge"}
)
"""Programs that listen on behalf of a server in a container or in WSL."""


def free_port(taken: Collection[int]) -> int:
    """A port that nobody listens on and that is not in `taken`."""
    start = random.randrange(FIRST, LAST)
    for step in range(LAST - FIRST):
        port = FIRST + (start + step - FIRST) % (LAST - FIRST)
        if port not in taken and _refusal(port) is None:
            return port
    raise OSError("no free port is left on this machine")


def bind_probe(port: int) -> None:
    """Raise OSError, with a sentence that names who has it, if nobody could listen on the port."""
    refusal = _refusal(port)
    if refusal is None:
        return
    if refusal.errno in (errno.EADDRINUSE, 10048):
        raise OSError(f"port {port} is taken by {port_holder(port) or 'another program'}")
    raise OSError(f"port {port} cannot be used: {refusal.strerror}")


def port_holder(port: int) -> str | None:
    """Who listens there, as in "nginx (pid 123)"; None if nobody does.

    "another program" if this user may not see which. May take tens of milliseconds.
    """
    pids = _holders(port)
    for pid in pids:
        if pid:
            return _describe(pid)
    if pids:
        return "another program"
    refusal = _refusal(port)
    return "another program" if refusal and refusal.errno in (errno.EADDRINUSE, 10048) else None


def stranger_on(port: int, pids: Collection[int]) -> str | None:
    """None if one of `pids` is what 127.0.0.1:port leads to; else a sentence saying what is.

    A known forwarder counts as one of them: the port was free before the tree started.
    """
    if sys.platform == "linux":
        sockets = _listening_sockets(port)
        if not sockets:
            return _nobody_on(port, pids)
        if sockets <= _sockets_of(pids):
            return None
    elif sys.platform == "win32":
        # Windows names every owner; where one is not named (wine) nothing speaks against the tree.
        if not {0, *pids}.isdisjoint(_holders(port)):
            return None
    elif any(_listens(pid, port) for pid in pids):
        return None
    holders = _holders(port)
    if not holders:
        return _nobody_on(port, pids)
    names = [_name(pid) for pid in holders if pid] or _forwarders_running()
    if any(name in FORWARDERS for name in names):
        return None
    return f"port {port} is answered by {port_holder(port)}, not by the server that was started"


async def refuses_slowly(port: int) -> bool:
    """Whether a connection would be in vain, and take long to tell that.

    Windows repeats one that was refused for two seconds, on the same machine as well (its
    TcpMaxConnectRetransmissions). Not quite sure: its table of listeners lacks those of a WSL that
    shares its network.
    """
    if sys.platform != "win32":
        return False
    return not await in_thread(_holders, port, name="listeners")


def _nobody_on(port: int, pids: Collection[int]) -> str:
    """Tell as well where these processes listen instead: the usual slip of a script."""
    places = ", ".join(sorted({place for pid in pids for place in _places(pid)}))
    if not places:
        return f"nobody listens on 127.0.0.1:{port}"
    return (
        f"nobody listens on 127.0.0.1:{port}, but its processes on {places}: does the script use "
        "LLM_PORT and LLM_HOST?"
    )


def _refusal(port: int) -> OSError | None:
    """Why this port cannot be bound, on any of the addresses that lead to it."""
    for family, address in (
        (socket.AF_INET, "127.0.0.1"),
        (socket.AF_INET, "0.0.0.0"),
        (socket.AF_INET6, "::"),
    ):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                if sys.platform == "win32":
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
                else:  # connections of the last server may linger; a listener still refuses us
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, port))
        except OSError as error:
            if family == socket.AF_INET6 and error.errno not in (errno.EADDRINUSE, 10048):
                continue  # no IPv6 here
            return error
    return None


# -- Linux: the kernel's tables, of which only the tree's part needs a look into processes ---------


def _hexed(address: bytes) -> str:
    """As /proc/net/tcp writes it: words in the byte order of the machine."""
    words = [address[i : i + 4] for i in range(0, len(address), 4)]
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)


_LOOPBACK = socket.inet_aton("127.0.0.1")
_PRECEDENCE = (
    (_hexed(_LOOPBACK), _hexed(bytes(10) + b"\xff\xff" + _LOOPBACK)),
    (_hexed(bytes(4)), _hexed(bytes(10) + b"\xff\xff" + bytes(4))),
    (_hexed(bytes(16)),),
)
"""Of several listeners the most exact address gets the connection."""


def _listening_sockets(port: int) -> set[str]:
    """The inodes of the sockets that a connection to 127.0.0.1:port can reach."""
    by_address: dict[str, set[str]] = {}
    for table in ("/proc/self/net/tcp", "/proc/self/net/tcp6"):
        try:
            with open(table, encoding="ascii") as file:
                rows = [line.split() for line in file][1:]
        except OSError:
            continue
        for row in rows:
            address, _, number = row[1].partition(":")
            if row[3] == "0A" and int(number, 16) == port:
                by_address.setdefault(address, set()).add(row[9])
    for addresses in _PRECEDENCE:
        found = set().union(*(by_address.get(address, set()) for address in addresses))
        if found:
            return found
    return set()


def _sockets_of(pids: Iterable[int]) -> set[str]:
    """The inodes of all sockets that these processes hold."""
    inodes: set[str] = set()
    for pid in pids:
        try:
            names = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        for name in names:
            try:
                target = os.readlink(f"/proc/{pid}/fd/{name}")
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    return inodes


# -- every system ----------------------------------------------------------------------------------


def _is_listener(connection: Any, port: int) -> bool:
    address = connection.laddr
    return connection.status == psutil.CONN_LISTEN and bool(address) and address.port == port


def _listens(pid: int, port: int) -> bool:
    try:
        return any(
            _is_listener(connection, port)
            for connection in psutil.Process(pid).net_connections("tcp")
        )
    except (psutil.Error, OSError):
        return False


def _places(pid: int) -> list[str]:
    """Where the process listens, as a person would type it."""
    try:
        found = psutil.Process(pid).net_connections("tcp")
    except (psutil.Error, OSError):
        return []
    addresses = [each.laddr for each in found if each.status == psutil.CONN_LISTEN and each.laddr]
    return [f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}" for ip, port in addresses]


def _holders(port: int) -> list[int]:
    """The pids of who listens on the port; 0 for one that this user may not see."""
    if sys.platform == "win32":
        from core.launchers.port_table import listening_pids

        return listening_pids(port)
    try:
        return [
            connection.pid or 0
            for connection in psutil.net_connections("tcp")
            if _is_listener(connection, port)
        ]
    except psutil.AccessDenied:  # macOS shows only the processes of this user, one by one
        return [pid for pid in psutil.pids() if _listens(pid, port)] or _unseen(port)


def _unseen(port: int) -> list[int]:
    with socket.socket() as probe:
        probe.settimeout(1)
        return [0] if probe.connect_ex(("127.0.0.1", port)) == 0 else []


def _forwarders_running() -> list[str]:
    """A holder that cannot be seen belongs to the system: it may be one of these."""
    names = {_name(pid) for pid in psutil.pids()}
    return [name for name in names if name in FORWARDERS]


def _name(pid: int) -> str:
    try:
        return psutil.Process(pid).name().removesuffix(".exe").lower()
    except (psutil.Error, OSError):
        return ""


def _describe(pid: int) -> str:
    return f"{_name(pid) or 'a program'} (pid {pid})"
