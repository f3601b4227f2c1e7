"""The three layers of health, each on its own."""

from __future__ import annotations

import asyncio
import socket

import pytest

from core import health
from core.health import GOOD_PROBES, Health, port_answers
from tests.fakes.launcher import FakeProcess
from tests.fakes.waiting import until


class Server:
    """What the layers find, step by step; the last word stays."""

    def __init__(self) -> None:
        self.port = [True]
        self.checks: list[tuple[bool, str] | BaseException] = [(True, "answered")]
        self.asked = 0
        self.told: list[str] = []

    async def port_answers(self, port: int) -> bool:
        return self.port.pop(0) if len(self.port) > 1 else self.port[0]

    def check(self, began: float) -> tuple[bool, str]:
        self.asked += 1
        answer = self.checks.pop(0) if len(self.checks) > 1 else self.checks[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def until_healthy(self, process: FakeProcess) -> None:
        await Health(process, self.check, self.port_answers, self.told.append).until_healthy()


async def test_a_port_is_knocked_on_before_anything_is_asked() -> None:
    server = Server()
    server.port = [False, False, True]
    await server.until_healthy(FakeProcess())
    assert server.asked == GOOD_PROBES
    assert server.told[0].startswith("waiting for port")


async def test_good_answers_must_come_in_a_row() -> None:
    server = Server()
    server.checks = [(True, "ok"), (False, "503 Loading model"), (True, "ok")]
    await server.until_healthy(FakeProcess())
    assert server.asked == 2 + GOOD_PROBES
    assert "health check 2: 503 Loading model" in server.told


async def test_a_stranger_is_named_and_not_asked() -> None:
    server, process = Server(), FakeProcess(stranger="nginx (pid 1) listens there")
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(server.until_healthy(process))
        await until(lambda: "nginx (pid 1) listens there" in server.told)
        assert server.asked == 0
        process.stranger = None
        await waiting
    assert server.asked == GOOD_PROBES


async def test_a_server_that_does_not_use_its_port_is_told_where_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "LONGEST_PAUSE", health.FIRST_PAUSE)
    server, process = Server(), FakeProcess(stranger="its processes listen on 127.0.0.1:8000")
    server.port = [False] * health.LOOK_AROUND + [True]
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(server.until_healthy(process))
        await until(lambda: "its processes listen on 127.0.0.1:8000" in server.told)
        assert len(server.port) <= 1, "not at every knock: it costs a look into every process"
        process.stranger = None
        await waiting
    assert server.asked == GOOD_PROBES


async def test_whatever_a_plugin_raises_means_not_healthy() -> None:
    server = Server()
    server.checks = [ZeroDivisionError("oops"), SystemExit(3), (True, "ok")]
    await server.until_healthy(FakeProcess())
    assert "health check 1: ZeroDivisionError: oops" in server.told


async def test_port_answers_says_who_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert await port_answers(port)
    assert not await port_answers(port)
