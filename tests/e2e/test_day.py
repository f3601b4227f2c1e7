"""A day in the life of the program: eight models, two devices, and everything that goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from core.states import FINAL, NEXT, State
from tests.e2e.conftest import Start
from tests.fakes.program import Program, model
from tests.fakes.survivors import owned_by
from tests.fakes.waiting import until

Record = Callable[[str, object], None]
DEVICES = {"gpu0": 16_000, "gpu1": 12_000}
AT_ONCE = 40
BOUND = 60.0
"""Seconds within which every request is answered or refused: twice the patience of the line."""


@dataclass(frozen=True)
class Kind:
    """One of the eight models."""

    memory: dict[str, int]
    modes: tuple[str, ...] = ()
    mode: str = "Chat"
    policy: dict[str, Any] = field(default_factory=dict)


KINDS = {
    "chat-a": Kind({"gpu0": 7000}),
    "chat-b": Kind({"gpu0": 7000}, ("slow_load=0.2",)),
    "chat-c": Kind({"gpu0": 12_000}, ("ignore_term",)),
    "wide": Kind({"gpu0": 4000, "gpu1": 7000}, policy={"concurrency": 4}),
    "embed": Kind({"gpu1": 2000}, mode="Embedding", policy={"alive_time": 0.01}),
    "rerank": Kind({"gpu1": 2000}, mode="Reranker", policy={"pinned": True}),
    "breaks": Kind({"gpu1": 3000}, ("crash_mid_stream=2",)),
    "dies": Kind({"gpu1": 3000}),
}
HOURS = (
    ("chat-a", "chat-b", "embed"),
    ("chat-a", "embed", "rerank", "breaks"),
    ("chat-c", "rerank", "embed", "dies"),
    ("wide", "chat-a", "rerank"),
    ("chat-b", "chat-a", "embed", "breaks"),
    ("wide", "embed", "chat-b"),
)
"""What most of the requests of an hour are for; now and then one is for any other model."""
REFUSALS = {
    ("upstream_error", 502),
    ("model_failed", 503),
    ("model_stopped", 503),
    ("insufficient_memory", 503),
    ("start_timeout", 504),
    ("model_not_found", 404),
    ("endpoint_not_supported", 400),
}


@dataclass(frozen=True)
class Wish:
    """One request of the script."""

    model: str
    path: str
    body: dict[str, Any]
    leaves_after: float | None
    """Seconds after which the client has enough; None: it stays."""


def script(dice: random.Random, requests: int) -> list[Wish]:
    """All requests of the day, in order."""
    return [_wish(dice, HOURS[number * len(HOURS) // requests]) for number in range(requests)]


def _wish(dice: random.Random, busy: tuple[str, ...]) -> Wish:
    name = dice.choice(busy) if dice.random() < 0.985 else dice.choice([*KINDS, "nobody"])
    kind = KINDS.get(name, KINDS["chat-a"])
    body: dict[str, Any] = {"model": name}
    path = {"Embedding": "/v1/embeddings", "Reranker": "/v1/rerank"}.get(kind.mode, "")
    if dice.random() < 0.01:
        path = "/v1/chat/completions" if path else "/v1/embeddings"
    if not path:
        path = "/v1/chat/completions"
        body |= {"messages": [], "stream": dice.random() < 0.5, "max_tokens": dice.randrange(1, 9)}
        body |= {"fake_delay": dice.choice([0, 0, 0.002, 0.01])}
        if name == "dies" and dice.random() < 0.2:
            body["fake_crash"] = True
    elif path == "/v1/rerank":
        body |= {"query": "a b", "documents": ["a", "b c", "d"]}
    else:
        body |= {"input": ["a", "b"]}
    return Wish(name, path, body, dice.uniform(0, 0.1) if dice.random() < 0.08 else None)


class Day:
    """The clients, the person who meddles, the accidents, and the one who takes notes."""

    def __init__(self, running: Program, seed: int, session: aiohttp.ClientSession) -> None:
        self.running = running
        self.session = session
        self.dice = random.Random(f"accidents {seed}")
        self.seen: Counter[str] = Counter()
        self.served: Counter[str] = Counter()
        self.slowest = 0.0
        self.accidents: Counter[str] = Counter()
        self.samples = 0

    async def client(self, todo: list[Wish]) -> None:
        while todo:
            wish = todo.pop(0)
            began = time.monotonic()
            try:
                async with asyncio.timeout(wish.leaves_after):
                    async with asyncio.timeout(BOUND):
                        outcome = await self._ask(wish)
            except TimeoutError:
                waited = time.monotonic() - began
                assert waited < BOUND, f"{wish} got no answer in {waited:.1f} s"
                outcome = "left"
            self.seen[outcome] += 1
            self.slowest = max(self.slowest, time.monotonic() - began)

    async def _ask(self, wish: Wish) -> str:
        async with self.session.post(self.running.url + wish.path, json=wish.body) as response:
            try:
                raw = await response.read()
            except aiohttp.ClientPayloadError:
                assert response.content_type == "text/event-stream", wish
                return "stream broken"
            if response.status != 200:
                return self._refused(wish, response.status, json.loads(raw)["error"])
            self.served[wish.model] += 1
            if wish.body.get("stream"):
                assert raw.endswith(b"data: [DONE]\n\n"), f"a clean end that is none: {raw[-99:]!r}"
                return "streamed"
            assert json.loads(raw)["usage"]["total_tokens"] > 0, wish
            return "answered"

    def _refused(self, wish: Wish, status: int, error: dict[str, Any]) -> str:
        assert (error["code"], status) in REFUSALS, f"{wish}: {status} {error}"
        assert error["message"], wish
        return str(error["code"])

    async def watch_devices(self) -> None:
        while True:
            for device in (await self._get("/api/devices"))["devices"]:
                assert device["reserved_mb"] <= device["total_mb"], device
                assert device["used_mb"] <= device["total_mb"], device
                self.samples += 1
            await asyncio.sleep(0.05)

    async def have_accidents(self) -> None:
        """Now and then somebody kills a server, stops a model or starts one."""
        kills: Counter[str] = Counter()
        while True:
            await asyncio.sleep(self.dice.uniform(0.05, 0.3))
            name = self.dice.choice(list(KINDS))
            what = self.dice.choice(["stop", "start", "start", "kill", "kill"])
            if what != "kill":
                url = f"{self.running.url}/api/models/{name}/{what}"
                async with self.session.post(url) as response:
                    assert response.status == 202
            else:
                status = await self._get(f"/api/models/{name}/info")
                if not status["pid"] or status["state"] != "ready" or kills[name] == 3:
                    continue
                kills[name] += 1
                with contextlib.suppress(psutil.NoSuchProcess):
                    psutil.Process(status["pid"]).kill()
            self.accidents[what] += 1

    async def _get(self, path: str) -> Any:
        async with self.session.get(self.running.url + path) as response:
            return await response.json()

    async def all_leases_are_back(self) -> None:
        def idle() -> bool:
            models = self.running.ask("GET", "/api/models")[1]["models"]
            left = sum(each["pending"] + each["waiting"] for each in models)
            return not left and not self.running.ask("GET", "/api/requests")[1]["requests"]

        await until(idle, seconds=BOUND)

    async def the_book_is_right(self) -> None:
        """What the devices have reserved is what the models hold, once nothing moves."""

        def held(models: list[Any]) -> dict[str, int]:
            return {d: sum(each["memory_mb"].get(d, 0) for each in models) for d in DEVICES}

        def agrees() -> bool:
            models = self.running.ask("GET", "/api/models")[1]["models"]
            devices = self.running.ask("GET", "/api/devices")[1]["devices"]
            return held(models) == {each["name"]: each["reserved_mb"] for each in devices}

        await until(agrees)


async def live_through(start: Start, folder: Path, seed: int, requests: int) -> Day:
    running = start(
        {
            name: model(
                folder, name, *kind.modes, mode=kind.mode, memory=kind.memory,
                **{"stop_timeout": 1, "start_timeout": 60, **kind.policy},
                env={"FAKE_MEMORY": ",".join(f"{d}={mb}" for d, mb in kind.memory.items())},
            )
            for name, kind in KINDS.items()
        },
        devices=DEVICES,
    )  # fmt: skip
    todo = script(random.Random(seed), requests)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        day = Day(running, seed, session)
        async with asyncio.TaskGroup() as around:
            others = [
                around.create_task(each()) for each in (day.watch_devices, day.have_accidents)
            ]
            try:
                async with asyncio.TaskGroup() as clients:
                    for _ in range(AT_ONCE):
                        clients.create_task(day.client(todo))
            finally:
                for task in others:
                    task.cancel()
        await day.all_leases_are_back()
        await day.the_book_is_right()
    assert running.end() == 0
    assert sum(day.seen.values()) == requests
    return day


# ---- what the log tells --------------------------------------------------------------------------

LINE = re.compile(
    r"core\.(?:instance|gateway): (?P<id>[\w-]+#\d+) "
    r"(?:(?P<born>starting), variant|(?P<old>\w+) -> (?P<new>\w+) after [\d.]+ s "
    r"\((?P<memory>[^)]*)\)|(?P<path>/v1\S*) (?P<status>\d+) (?P<outcome>\w+) in )"
)


class History:
    """Reads the program's log again: legal lives, one at a time, never more than there is."""

    def __init__(self, log: str) -> None:
        self.states: dict[str, State] = {}
        self.served: set[str] = set()
        self.book: dict[str, dict[str, int]] = {}
        self.peak: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        for line in log.splitlines():
            if found := LINE.search(line):
                self._read(found, line)

    def _read(self, found: re.Match[str], line: str) -> None:
        instance = found["id"]
        name = instance.partition("#")[0]
        if found["born"]:
            alive = [i for i, s in self.states.items() if s not in FINAL and i.startswith(name)]
            assert not alive, f"{alive} lives: {line}"
            assert instance not in self.states, line
            self.states[instance] = State.STARTING
            self.book[instance] = KINDS[name].memory
        elif found["new"]:
            assert self.states[instance] == found["old"], line
            self.states[instance] = State(found["new"])
            assert self.states[instance] in NEXT[State(found["old"])], line
            pairs = re.findall(r"(\w+) (\d+) MB", found["memory"])
            self.book[instance] = {device: int(megabytes) for device, megabytes in pairs}
            if found["new"] == State.READY:
                self.served.add(instance)
        else:
            assert instance in self.served, f"it never was ready: {line}"
            self.requests[found["outcome"]] += 1
        for device, total in DEVICES.items():
            reserved = sum(memory.get(device, 0) for memory in self.book.values())
            assert reserved <= total, f"{reserved} of {total} MB: {line}"
            self.peak[device] = max(self.peak[device], reserved)


async def day_and_night(
    start: Start, folder: Path, seed: int, requests: int, record: Record
) -> None:
    began = time.monotonic()
    print(f"\nseed {seed}")  # shown when it fails
    day = await live_through(start, folder, seed, requests)
    seconds = time.monotonic() - began
    log = day.running.log()
    assert "Traceback" not in log
    history = History(log)
    assert set(history.states.values()) <= FINAL, "somebody did not end"
    assert history.requests.total() <= requests
    assert history.requests["ok"] >= day.seen["answered"] + day.seen["streamed"]
    for name in ("chat-a", "chat-b", "embed", "rerank"):
        assert day.served[name] > 0, f"{name} never answered"
    assert day.seen["answered"] + day.seen["streamed"] > requests / 3
    if sys.platform == "linux":
        assert not owned_by(day.running.process.pid)
    starts = len(history.states)
    record("seconds", round(seconds, 1))
    record("slowest answer", round(day.slowest, 1))
    print(f"{requests} requests in {seconds:.1f} s, slowest {day.slowest:.1f} s, {starts} starts")
    print(f"  outcomes {dict(day.seen)}\n  accidents {dict(day.accidents)}")
    print(f"  peak of {dict(history.peak)} of {DEVICES}, {day.samples} samples")


@pytest.mark.timeout(300)
async def test_a_morning(start: Start, tmp_path: Path, record_property: Record) -> None:
    await day_and_night(start, tmp_path, seed=1, requests=300, record=record_property)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_a_whole_day(start: Start, tmp_path: Path, record_property: Record) -> None:
    await day_and_night(start, tmp_path, seed=2, requests=2_000, record=record_property)
