"""The program's own address: taken before anything else is started, or a clear sentence why not."""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import socket
import sys
from dataclasses import dataclass

from core.launchers.ports import port_holder


class AddressTaken(OSError):
    """The address cannot be had; the message is for a person.

    `ours`: the address of the LLM-Manager that has it, or None if it is another program.
    """

    def __init__(self, message: str, ours: str | None = None) -> None:
        super().__init__(message)
        self.ours = ours


@dataclass(frozen=True, slots=True)
class Listener:
    """Bound sockets; `address` is what a person on this machine types."""

    sockets: tuple[socket.socket, ...]
    host: str
    port: int
    claim: object = None
    """Windows: what tells another start, from now on, whose address it is."""

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()

    @property
    def address(self) -> str:
        host = "127.0.0.1" if self.host in ("", "0.0.0.0", "::") else self.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def reachable_from_network(self) -> bool:
        return not is_local(self.host)


def is_local(host: str) -> bool:
    """Whether only this machine reaches what listens at this address."""
    return host.startswith("127.") or host in ("localhost", "::1")


COMPANIONS = {"0.0.0.0": "::1", "127.0.0.1": "::1", "::": "0.0.0.0"}
"""What is bound too, where it can be had: "localhost" means [::1] first on Windows, where a refused
connection costs two seconds; and who says "every address" means those of both families."""


def listen(host: str, port: int) -> Listener:
    """Bind `host:port` (port 0: any free one) and its companion. Raises AddressTaken."""
    try:
        first = _bind("127.0.0.1" if host == "localhost" else host, port)
    except (OSError, OverflowError, UnicodeError) as error:
        raise _explain(host, port, error) from error
    name, port = first.getsockname()[:2]
    sockets = [first]
    if companion := COMPANIONS.get(name):
        with contextlib.suppress(OSError):  # no such family here, or somebody has it
            sockets.append(_bind(companion, port))
    return Listener(tuple(sockets), host, port, _claim(port))


def _bind(host: str, port: int) -> socket.socket:
    if not host:  # Windows would take it for its own name
        raise socket.gaierror("no address is given")
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = found[0]
    # The protocol is named: with 0 the loops do not switch Nagle's algorithm off.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform == "win32":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address[0], port, *address[2:]))  # the look-up cut a port that is too large
        sock.listen(1024)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _explain(host: str, port: int, error: Exception) -> AddressTaken:
    if not isinstance(error, OSError) or isinstance(error, socket.gaierror) or _not_here(error):
        return AddressTaken(f"{host}:{port} is not an address of this machine: {error}")
    ours = f"http://127.0.0.1:{port}"
    pid = _manager_at(port)
    if pid is not None:
        return AddressTaken(f"LLM-Manager is already running at {ours} (pid {pid})", ours)
    if _is_claimed(port):
        return AddressTaken(f"LLM-Manager is already starting at {ours}", ours)
    holder = port_holder(port)
    if holder is not None:
        return AddressTaken(
            f"port {port} is taken by {holder}: end it, or choose another port with --port or in "
            "the config"
        )
    return AddressTaken(f"cannot listen on {host}:{port}: {error.strerror or error}")


def _not_here(error: OSError) -> bool:
    return error.errno == errno.EADDRNOTAVAIL or getattr(error, "winerror", None) == 10049


def _claim(port: int) -> object:
    """Windows: a named mutex says that the address is ours before anything answers at it, as the
    second of two double clicks needs to know. It ends with its handle, or with this process."""
    if sys.platform != "win32":
        return None
    from core.launchers import job

    return job.Handle(job.kernel.CreateMutexW(None, False, _claim_name(port)))


def _is_claimed(port: int) -> bool:
    if sys.platform != "win32":
        return False
    from core.launchers import job

    to_look = 0x0010_0000
    found = job.kernel.OpenMutexW(to_look, False, _claim_name(port))
    return bool(found and job.Handle(found))


def _claim_name(port: int) -> str:
    return f"Local\\LLM-Manager-{port}"


def _manager_at(port: int) -> int | None:
    """The pid of the LLM-Manager that answers at the port, if one does."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2.0)
    try:
        connection.request("GET", "/api/info")
        info = json.loads(connection.getresponse().read(65536))
        return int(info["pid"]) if info.get("name") == "LLM-Manager" else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, http.client.HTTPException):
        return None
    finally:
        connection.close()
