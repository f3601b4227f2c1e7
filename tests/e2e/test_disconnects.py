"""Clients that leave at every moment of a request, in every way that TCP knows: nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Start
from tests.fakes.program import Program, model
from tests.fakes.waiting import DEADLINE, until

Record = Callable[[str, object], None]
AT_ONCE = 50
PHASES = ("in the head", "before the body", "in the body", "before the answer", "in the stream")
WAYS = ("fin", "rst", "half-close")
PATIENCE = DEADLINE
RESET = struct.pack("ii", 1, 0)


class Client:
    """One raw connection that leaves in some phase, in some way; `whole` ones stay to the end."""

    def __init__(self, dice: random.Random, port: int, model: str) -> None:
        self.port = port
        self.phase = dice.choice((*PHASES, "whole"))
        self.way = dice.choice(WAYS)
        body: dict[str, Any] = {"model": model, "messages": [], "stream": dice.random() < 0.7}
        if self.phase == "before the answer":
            body["fake_wait"] = 60
            self.pause = dice.uniform(0.0, 0.02)
        elif self.phase == "in the stream":
            body |= {"stream": True, "max_tokens": 1000, "fake_delay": 0.02}
        self.body = json.dumps(body).encode()
        fields = f"Host: localhost\r\nContent-Length: {len(self.body)}\r\n\r\n"
        self.head = f"POST /v1/chat/completions HTTP/1.1\r\n{fields}".encode()
        self.cut = dice.randrange(1, len(self.body))

    async def run(self) -> str:
        """What happened, in a word or two."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._act(reader, writer)
        except ConnectionError:
            return f"{self.phase}, it was faster"
        finally:
            writer.transport.abort()

    async def _act(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        whole = self.head + self.body
        sent = {
            "in the head": self.head[: self.cut % len(self.head)],
            "before the body": self.head,
            "in the body": self.head + self.body[: self.cut],
        }
        writer.write(sent.get(self.phase, whole))
        if self.phase == "whole":
            status = int((await reader.readline()).split()[1])
            return f"answered {status}"
        if self.phase == "in the stream":
            if (status := int((await reader.readline()).split()[1])) != 200:
                return f"answered {status}"
            await reader.readuntil(b"data: ")
        elif self.phase == "before the answer":
            await asyncio.sleep(self.pause)
        await self._leave(reader, writer)
        return f"{self.phase}, {self.way}"

    async def _leave(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.way == "rst":
            sock: socket.socket = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()
        elif self.way == "half-close":
            writer.write_eof()
            while await reader.read(65536):  # until the other side ends it, too
                pass
        else:
            writer.close()


class Watcher:
    """Looks at the counters all the time, and sees to it that one model is often just loading."""

    def __init__(self, running: Program) -> None:
        self.running = running
        self.lowest = self.highest = 0

    async def watch(self) -> None:
        while True:
            models = (await self.ask("GET", "/api/models"))["models"]
            counts = [each[key] for each in models for key in ("pending", "waiting")]
            self.lowest = min(self.lowest, *counts)
            self.highest = max(self.highest, *counts)
            await asyncio.sleep(0.05)

    async def unload(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            await self.ask("POST", "/api/models/slow/stop")

    async def ask(self, method: str, path: str) -> Any:
        return (await asyncio.to_thread(self.running.ask, method, path))[1]


async def storm(start: Start, folder: Path, seed: int, requests: int, record: Record) -> None:
    running = start(
        {
            "quick": model(folder, "quick"),
            "slow": model(folder, "slow", "slow_load=0.2", stop_timeout=1),
        }
    )
    dice = random.Random(seed)
    seen: Counter[str] = Counter()
    todo = [Client(dice, running.port, "quick" if dice.random() < 0.9 else "slow")
            for _ in range(requests)]  # fmt: skip
    watcher = Watcher(running)
    began = time.monotonic()

    async def work() -> None:
        while todo:
            seen[await todo.pop().run()] += 1

    async with asyncio.TaskGroup() as watching:
        tasks = [watching.create_task(each()) for each in (watcher.watch, watcher.unload)]
        try:
            async with asyncio.TaskGroup() as clients:
                for _ in range(AT_ONCE):
                    clients.create_task(work())
        finally:
            for task in tasks:
                task.cancel()
    seconds = time.monotonic() - began
    await nothing_is_left(running)
    assert seen.total() == requests
    assert watcher.lowest == 0, "a counter was negative"
    assert watcher.highest > 0
    assert set(seen) >= {f"{phase}, {way}" for phase in PHASES for way in WAYS}
    assert set(seen) <= {f"{phase}, {way}" for phase in PHASES for way in (*WAYS, "it was faster")}\
        | {"answered 200", "answered 503"}  # fmt: skip
    assert seen["answered 200"] > requests / 12
    answer = running.ask("POST", "/api/models/quick/stop?wait=1")
    assert answer[1]["state"] == "stopped", "what is idle can be stopped at once"
    assert "Traceback" not in running.log()
    record("seconds", round(seconds, 1))
    print(f"\n{requests} requests in {seconds:.1f} s, pending 0..{watcher.highest}, then 0")
    print("\n".join(f"  {count:5} {what}" for what, count in sorted(seen.items())))


async def nothing_is_left(running: Program) -> None:
    """No lease, no place in a line, no request under way, nothing at work at a server."""

    def idle() -> bool:
        models = running.ask("GET", "/api/models")[1]["models"]
        left = sum(each["pending"] + each["waiting"] for each in models)
        return not left and not running.ask("GET", "/api/requests")[1]["requests"]

    await until(idle)
    port = running.model("quick")["port"]
    await until(lambda: stats(running, port)["active"] == 0)
    assert stats(running, port)["disconnects"] > 0


def stats(running: Program, port: int) -> Any:
    address = ("127.0.0.1", port)
    with contextlib.closing(socket.create_connection(address, timeout=DEADLINE)) as sock:
        sock.sendall(b"GET /stats HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    return json.loads(answer.partition(b"\r\n\r\n")[2])


@pytest.mark.timeout(240)
async def test_a_thousand_clients_that_leave(
    start: Start, tmp_path: Path, record_property: Record
) -> None:
    await storm(start, tmp_path, seed=1, requests=1_000, record=record_property)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_ten_thousand_clients_that_leave(
    start: Start, tmp_path: Path, record_property: Record
) -> None:
    await storm(start, tmp_path, seed=2, requests=10_000, record=record_property)
