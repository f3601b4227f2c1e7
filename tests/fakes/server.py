"""A model server made of nothing but the standard library, to be started by a real script.

    LLM_PORT=10001 python -I -S server.py [MODE ...]

It answers within some 30 ms of its start, one thread per connection, HTTP/1.1 with keep-alive.
Environment: LLM_PORT, LLM_HOST, LLM_MODEL, LLM_VARIANT, LLM_DEVICES as every model server gets
them, and the FAKE_* ones below.

Paths
  GET  /health, /v1/models      200, or 503 "Loading model"
  GET  /stats                   active, peak and total requests (POSTs to model paths), disconnects
                                (clients that left before the end), sleep level, pid, model, variant
  GET  /last                    path, headers and body of the last model request
  POST /v1/chat/completions, /v1/completions (streamed or not), /v1/embeddings, /v1/rerank
  POST /sleep?level=N, /wake_up, GET /is_sleeping       like vLLM's; asleep, model requests wait
  POST anything else            echoes the body; the header X-Echo-Path tells the path as it came
The text of an answer begins with "[model variant pid]"; `max_tokens` is the number of chunks
(5). Every answer has the header X-Fake-Pid. A request body may also hold `fake_delay` (seconds
before every chunk; else FAKE_CHUNK_DELAY, else 0) and `fake_wait` (seconds before the first byte),
or `fake_crash`: the server dies of it.

Modes, as arguments or comma-separated in FAKE_MODE
  ok                     nothing special
  slow_load=S            503 to everything for the first S seconds
  late_bind=S            listens only after S seconds
  never_healthy          503 for ever
  crash_before_bind      prints an error and exits with code 3 before it listens
  crash_during_load[=S]  503 for S seconds (0.1), then exits with code 3
  crash_mid_stream=K     exits with code 3 after chunk K of a stream (0: after the headers)
  crash_on_request       exits with code 3 when a model request has arrived
  break_mid_stream=K     lives on, but resets the connection after chunk K
  exit_code=N            the code for all of these crashes
  hang                   accepts connections, never answers one
  hang_posts             healthy, but never answers a model request
  wrong_http[=KIND]      answers model requests with ssh (default), garbage, empty (closes),
                         two_lengths, length_and_chunked, big_header or short_body
  redirect[=URL]         answers model requests with 307
  status=N               answers model requests with this status and an error object
  close_idle=S           closes a connection that was idle for S seconds
  ignore_term            SIGTERM does nothing (else: prints a line and exits with code 0)
  exit_leaving_child     the process that was started exits with 0, its child serves
  double_fork            as a daemon does: fork, new session, fork; the first one exits with 0
  setsid                 serves from a child in a session of its own, and waits for it
  kids=N                 has N idle children of its own
  flood=N                prints N lines per second; 0: as fast as it can
  print=N                prints N numbered lines at the start
  long_line=N            prints N bytes without a newline at the start
  garbage_utf8           prints all 256 byte values at the start
  slow_sleep=S, slow_wake=S, sleep_fails, wake_fails     the sleep API is slow, or answers 500

Memory: with FAKE_MEMORY_DIR set it leaves a file there before anything else, named by its pid,
which says how many MB it holds: {"cpu": 300}. FAKE_MEMORY is "300" (on each of LLM_DEVICES) or
"v100=900,cpu=100"; asleep it holds FAKE_SLEEP_MEMORY (0). `tests.fakes.ledger` adds up the living.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

ENV = os.environ
MODEL = ENV.get("LLM_MODEL", "fake")
VARIANT = ENV.get("LLM_VARIANT", "")


def parse_modes(words: list[str]) -> dict[str, str]:
    """`slow_load=2` as {"slow_load": "2"}."""
    pairs = [word.strip().partition("=") for word in words if word.strip()]
    return {name: value for name, _, value in pairs}


class Gone(Exception):
    """The client left, or the server is to break this connection."""


class Server:
    """What all connections share."""

    def __init__(self, modes: dict[str, str]) -> None:
        self.modes = modes
        self.born = time.monotonic()
        self.lock = threading.Lock()
        self.active = self.peak = self.total = self.disconnects = 0
        self.level = 0
        self.awake = threading.Event()
        self.awake.set()
        self.last: dict[str, Any] = {}

    def number(self, mode: str, default: float) -> float:
        """The value of a mode that has one."""
        return float(self.modes.get(mode) or default)

    def crash(self) -> None:
        print("fatal: something broke inside", flush=True)
        os._exit(int(self.number("exit_code", 3)))

    def loading(self) -> bool:
        age = time.monotonic() - self.born
        return (
            "never_healthy" in self.modes
            or "crash_during_load" in self.modes
            or ("slow_load" in self.modes and age < self.number("slow_load", 1))
        )

    def sleep(self, level: int) -> None:
        time.sleep(self.number("slow_sleep", 0))
        self.level = level
        self.awake.clear()
        note_memory(asleep=True)

    def wake(self) -> None:
        time.sleep(self.number("slow_wake", 0))
        note_memory(asleep=False)
        self.level = 0
        self.awake.set()

    def stats(self) -> dict[str, Any]:
        return {
            "active": self.active,
            "peak": self.peak,
            "total": self.total,
            "disconnects": self.disconnects,
            "sleep_level": self.level,
            "pid": os.getpid(),
            "model": MODEL,
            "variant": VARIANT,
        }


def readable(sock: socket.socket, seconds: float) -> bool:
    """Wait until there is something to read, or the end of the connection."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    return bool(select.select([sock], [], [], seconds)[0])


class Connection:
    """One client: reads requests and answers them, one after the other."""

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self.server = server
        self.sock = sock
        self.file = sock.makefile("rb")
        self.path = ""

    def run(self) -> None:
        try:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while self.one_request():
                pass
        except (OSError, ValueError, Gone):
            pass
        finally:
            try:
                self.file.close()
                self.sock.close()
            except OSError:
                pass

    def one_request(self) -> bool:
        """False when the connection is over."""
        modes = self.server.modes
        if "close_idle" in modes and not readable(self.sock, self.server.number("close_idle", 5)):
            return False
        line = self.file.readline()
        if not line:
            return False
        method, self.path, _ = line.decode("latin-1").split(" ", 2)
        headers: dict[str, str] = {}
        while (raw := self.file.readline().decode("latin-1").strip()) != "":
            name, _, value = raw.partition(":")
            headers[name.strip().lower()] = value.strip()
        body = self.read_body(headers)
        if "hang" in modes:
            self.wait_for_end()
        if self.server.loading():
            self.error(503, "Loading model", "unavailable_error")
        elif method == "GET":
            self.get()
        else:
            self.post(headers, body)
        return headers.get("connection", "").lower() != "close"

    def read_body(self, headers: dict[str, str]) -> bytes:
        if headers.get("expect", "").lower() == "100-continue":
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return self.file.read(int(headers.get("content-length") or 0))
        parts = []
        while size := int(self.file.readline().split(b";")[0], 16):
            parts.append(self.file.read(size))
            self.file.readline()
        while self.file.readline().strip():
            pass
        return b"".join(parts)

    # -- answers ---------------------------------------------------------------------------------

    def head(self, status: int, fields: str) -> bytes:
        return (
            f"HTTP/1.1 {status} X\r\nServer: fake\r\nX-Fake-Pid: {os.getpid()}\r\n{fields}\r\n"
        ).encode("latin-1")

    def send(self, status: int, body: bytes, kind: str, extra: str = "") -> None:
        fields = f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}"
        self.sock.sendall(self.head(status, fields) + body)

    def json(self, value: object, status: int = 200) -> None:
        self.send(status, json.dumps(value).encode(), "application/json")

    def error(self, status: int, message: str, kind: str = "server_error") -> None:
        self.json({"error": {"message": message, "type": kind, "code": status}}, status)

    def get(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/health":
            self.json({"status": "ok"})
        elif path == "/v1/models":
            self.json({"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        elif path == "/stats":
            self.json(self.server.stats())
        elif path == "/last":
            self.json(self.server.last)
        elif path == "/is_sleeping":
            self.json({"is_sleeping": not self.server.awake.is_set()})
        else:
            self.error(404, f"no such path: {path}")

    def post(self, headers: dict[str, str], body: bytes) -> None:
        path, _, query = self.path.partition("?")
        if path == "/sleep":
            self.sleep_api(query)
        elif path == "/wake_up":
            self.wake_api()
        else:
            text = body.decode("utf-8", "backslashreplace")
            self.server.last = {"path": self.path, "headers": headers, "body": text}
            self.counted(path, headers, body)

    def sleep_api(self, query: str) -> None:
        level = parse_modes(query.split("&")).get("level", "1")
        if level not in ("0", "1", "2"):
            self.error(400, "level must be 0, 1 or 2", "Bad Request")
        elif "sleep_fails" in self.server.modes:
            self.error(500, "cannot sleep")
        else:
            self.server.sleep(int(level))
            self.json({"status": "sleeping", "level": int(level)})

    def wake_api(self) -> None:
        if "wake_fails" in self.server.modes:
            self.error(500, "cannot wake")
        else:
            self.server.wake()
            self.json({"status": "awake", "tags": None})

    def counted(self, path: str, headers: dict[str, str], body: bytes) -> None:
        """Answer a model request and keep the numbers of /stats."""
        server = self.server
        with server.lock:
            server.active += 1
            server.total += 1
            server.peak = max(server.peak, server.active)
        try:
            self.model_request(path, headers, body)
        except (OSError, Gone):
            with server.lock:
                server.disconnects += 1
            raise
        finally:
            with server.lock:
                server.active -= 1

    def model_request(self, path: str, headers: dict[str, str], body: bytes) -> None:
        modes = self.server.modes
        if "crash_on_request" in modes or b'"fake_crash"' in body:
            self.server.crash()
        if "hang_posts" in modes:
            self.wait_for_end()
        while not self.server.awake.wait(0.05):
            self.check_client(0)
        if "wrong_http" in modes:
            self.wrong(modes["wrong_http"] or "ssh")
        if "redirect" in modes:
            target = modes["redirect"] or "http://127.0.0.1:1/stolen"
            self.send(307, b"", "text/plain", f"Location: {target}\r\n")
        elif "status" in modes:
            self.error(int(modes["status"]), "the mode says so")
        elif path in ("/v1/chat/completions", "/v1/completions"):
            self.complete(json.loads(body), chat="chat" in path)
        elif path == "/v1/embeddings":
            self.embed(json.loads(body))
        elif path == "/v1/rerank":
            self.rerank(json.loads(body))
        else:
            kind = headers.get("content-type", "application/octet-stream")
            self.send(200, body, kind, f"X-Echo-Path: {self.path}\r\n")

    def complete(self, request: dict[str, Any], *, chat: bool) -> None:
        self.check_client(float(request.get("fake_wait", 0)))
        delay = float(request.get("fake_delay", ENV.get("FAKE_CHUNK_DELAY") or 0))
        count = int(request.get("max_tokens") or request.get("max_completion_tokens") or 5)
        words = [f"[{MODEL} {VARIANT} {os.getpid()}] "] + [f"t{i} " for i in range(1, count)]
        asked = str(request.get("messages", request.get("prompt", ""))).split()
        usage = {"prompt_tokens": len(asked), "completion_tokens": count}
        usage["total_tokens"] = len(asked) + count
        about = {"id": "fake-1", "created": int(time.time()), "model": request.get("model")}
        if request.get("stream"):
            wanted = (request.get("stream_options") or {}).get("include_usage")
            self.stream(words, delay, about, usage if wanted else None, chat=chat)
            return
        for _ in words:
            self.check_client(delay)
        choice: dict[str, Any] = {"index": 0, "finish_reason": "length"}
        if chat:
            choice["message"] = {"role": "assistant", "content": "".join(words)}
        else:
            choice["text"] = "".join(words)
        kind = "chat.completion" if chat else "text_completion"
        self.json({**about, "object": kind, "choices": [choice], "usage": usage})

    def stream(
        self,
        words: list[str],
        delay: float,
        about: dict[str, Any],
        usage: dict[str, int] | None,
        *,
        chat: bool,
    ) -> None:
        kind = "chat.completion.chunk" if chat else "text_completion"
        fields = "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
        self.sock.sendall(self.head(200, fields))
        for number, word in enumerate(words):
            self.break_after(number)
            self.check_client(delay)
            finish = "length" if number == len(words) - 1 else None
            choice: dict[str, Any] = {"index": 0, "finish_reason": finish}
            choice.update({"delta": {"content": word}} if chat else {"text": word})
            self.event(json.dumps({**about, "object": kind, "choices": [choice]}))
        self.break_after(len(words))
        if usage:
            self.event(json.dumps({**about, "object": kind, "choices": [], "usage": usage}))
        self.event("[DONE]")
        self.sock.sendall(b"0\r\n\r\n")

    def event(self, text: str) -> None:
        data = f"data: {text}\n\n".encode()
        self.sock.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    def break_after(self, number: int) -> None:
        modes = self.server.modes
        if modes.get("crash_mid_stream") == str(number):
            self.server.crash()
        if modes.get("break_mid_stream") == str(number):
            linger = (1).to_bytes(4, sys.byteorder) + (0).to_bytes(4, sys.byteorder)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            raise Gone

    def embed(self, request: dict[str, Any]) -> None:
        given = request.get("input", "")
        texts = [given] if isinstance(given, str) else list(given)
        data = [
            {"object": "embedding", "index": i, "embedding": [float(len(str(text))), 1.0, 0.5]}
            for i, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
        self.json({"object": "list", "data": data, "model": request.get("model"), "usage": usage})

    def rerank(self, request: dict[str, Any]) -> None:
        wanted = set(str(request.get("query", "")).lower().split())
        scores = [
            {"index": i, "relevance_score": float(len(wanted & set(str(text).lower().split())))}
            for i, text in enumerate(request.get("documents", []))
        ]
        scores.sort(key=lambda item: -item["relevance_score"])
        usage = {"prompt_tokens": len(scores), "total_tokens": len(scores)}
        self.json({"model": request.get("model"), "results": scores, "usage": usage})

    # -- misbehaviour ----------------------------------------------------------------------------

    def wrong(self, kind: str) -> None:
        """Send what is not an answer to HTTP, and end the connection."""
        ok = b"HTTP/1.1 200 OK\r\n"
        answers = {
            "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
            "garbage": bytes(range(256)),
            "empty": b"",
            "two_lengths": ok + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
            "length_and_chunked": ok
            + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            "big_header": ok + b"X-Big: " + b"x" * 70_000 + b"\r\nContent-Length: 2\r\n\r\n{}",
            "short_body": ok + b"Content-Length: 100\r\n\r\n{}",
        }
        self.sock.sendall(answers[kind])
        raise Gone

    def check_client(self, seconds: float) -> None:
        """Pause; raises Gone as soon as the client has left."""
        end = time.monotonic() + seconds
        while readable(self.sock, max(0.0, end - time.monotonic())):
            if not self.sock.recv(1, socket.MSG_PEEK):
                raise Gone
            time.sleep(min(0.01, max(0.0, end - time.monotonic())))  # a pipelined request waits
            if time.monotonic() >= end:
                return

    def wait_for_end(self) -> None:
        while True:
            self.check_client(60)


# -- the process ---------------------------------------------------------------------------------


def note_memory(*, asleep: bool) -> None:
    """Write down the megabytes that this process holds."""
    folder = ENV.get("FAKE_MEMORY_DIR")
    if not folder:
        return
    text = ENV.get("FAKE_SLEEP_MEMORY") or "0" if asleep else ENV.get("FAKE_MEMORY") or "100"
    devices = [name for name in ENV.get("LLM_DEVICES", "cpu").split(",") if name]
    pairs = parse_modes(text.split(",")) if "=" in text else dict.fromkeys(devices, text)
    path = os.path.join(folder, str(os.getpid()))
    with open(path + ".tmp", "w", encoding="utf-8") as file:
        json.dump({name.strip(): int(megabytes) for name, megabytes in pairs.items()}, file)
    while True:
        try:
            os.replace(path + ".tmp", path)
        except PermissionError:  # Windows: the device that reads it has it open
            time.sleep(0.01)
        else:
            return


def startup_lines(modes: dict[str, str]) -> Iterator[bytes]:
    yield f"fake server {MODEL} {VARIANT} pid {os.getpid()} {' '.join(modes)}\n".encode()
    for number in range(int(modes.get("print") or 0)):
        yield b"line %06d of the start\n" % number
    if "long_line" in modes:
        yield b"x" * int(modes["long_line"])
    if "garbage_utf8" in modes:
        yield bytes(range(256)) + b"\n"


def flood(rate: float) -> None:
    """Print for ever."""
    out = sys.stdout.buffer
    number = 0
    while True:
        batch = max(1, int(rate / 50)) if rate else 1000
        out.write(b"".join(b"flood %09d %s\n" % (number + i, b"y" * 90) for i in range(batch)))
        out.flush()
        number += batch
        if rate:
            time.sleep(batch / rate)


def change_shape(modes: dict[str, str]) -> None:
    """Become the process that serves: a child, a daemon, or this one."""
    shape = next((s for s in ("exit_leaving_child", "double_fork", "setsid") if s in modes), None)
    if shape is None:
        return
    if sys.platform == "win32":  # no fork there: start the server anew, without the shape
        rest = [f"{k}={v}" if v else k for k, v in modes.items() if k != shape]
        env = {**ENV, "FAKE_MODE": ""}
        child = subprocess.Popen([sys.executable, "-I", "-S", __file__, *rest], env=env)
        os._exit(child.wait() if shape == "setsid" else 0)
    first = os.fork()
    if first:
        code = os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]) if shape == "setsid" else 0
        os._exit(code & 255)
    if shape != "exit_leaving_child":
        os.setsid()
    if shape == "double_fork" and os.fork():
        os._exit(0)


def have_kids(count: int, modes: dict[str, str]) -> None:
    for _ in range(count):
        if sys.platform == "win32":
            subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(1e6)"])
        elif not os.fork():
            if "setsid" in modes:
                os.setsid()
            while True:
                signal.pause()


def main() -> None:
    modes = parse_modes(sys.argv[1:] + ENV.get("FAKE_MODE", "").split(","))
    change_shape(modes)
    note_memory(asleep=False)
    if "ignore_term" in modes:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    have_kids(int(modes.get("kids") or 0), modes)
    if "ignore_term" not in modes:
        signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b"stopping\n"), os._exit(0)))
    server = Server(modes)
    for data in startup_lines(modes):
        sys.stdout.buffer.write(data)
    sys.stdout.flush()
    if "crash_before_bind" in modes:
        server.crash()
    if "flood" in modes:
        threading.Thread(target=flood, args=(float(modes["flood"] or 100),), daemon=True).start()
    time.sleep(server.number("late_bind", 0))
    if "crash_during_load" in modes:
        threading.Timer(server.number("crash_during_load", 0.1), server.crash).start()
    listener = socket.create_server(
        (ENV.get("LLM_HOST", "127.0.0.1"), int(ENV.get("LLM_PORT", "0"))), backlog=1024
    )
    print(f"listening on port {listener.getsockname()[1]}", flush=True)
    threading.stack_size(256 * 1024)
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=Connection(server, sock).run, daemon=True).start()


if __name__ == "__main__":
    main()
