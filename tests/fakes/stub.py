"""A running program that says what a test wants, in a thread, for code that blocks."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, bytes] | Callable[[], tuple[int, bytes]]


class Stub:
    """`answers` by "METHOD /path?query"; what is not there is a 404 in the program's shape."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.url = ""

    def say(self, asked: str, body: Any, status: int = 200) -> None:
        """Answer with this JSON."""
        self.answers[asked] = (status, json.dumps(body).encode())

    def refuse(self, asked: str, message: str, status: int = 503) -> None:
        self.say(asked, {"error": {"message": message, "code": "x"}}, status)

    def answer(self, asked: str) -> tuple[int, bytes]:
        self.asked.append(asked)
        found = self.answers.get(asked)
        if found is None:
            body = {"error": {"message": f"there is nothing at {asked}", "code": "not_found"}}
            return 404, json.dumps(body).encode()
        return found() if callable(found) else found


@contextlib.contextmanager
def running() -> Iterator[Stub]:
    stub = Stub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = stub.answer(f"{self.command} {self.path}")
            if status == 0:  # answer with these very bytes
                self.wfile.write(body)
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        stub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield stub
        finally:
            server.shutdown()
            thread.join()
