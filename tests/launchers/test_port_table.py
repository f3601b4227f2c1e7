"""The system's table of listeners, read as it is."""

from __future__ import annotations

import socket
import sys

from core.launchers.port_table import listening_pids

assert sys.platform == "win32"


def test_a_listener_is_found_and_a_connection_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            assert len(listening_pids(port)) == 1
            assert listening_pids(client.getsockname()[1]) == []
    assert listening_pids(port) == []
