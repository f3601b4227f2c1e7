"""/api/logs and the downloads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.admin_logs import LogsApi
from core.catalog import Catalog
from core.domain import Config, Model, Program, Variant
from core.output import ModelOutput
from tests.fakes.http import Client, serving


@pytest.fixture
def output(tmp_path: Path) -> ModelOutput:
    return ModelOutput("a/b", tmp_path / "models")


@pytest.fixture
async def client(tmp_path: Path, output: ModelOutput) -> AsyncIterator[Client]:
    log_file = tmp_path / "LLM-Manager_1.log"
    log_file.write_bytes(b"one\ntwo\n")
    variant = Variant("A", ("cpu",), {}, tmp_path / "a.sh")
    model = Model("a/b", "a/b", ("a/b",), "Chat", (variant,))
    program = Program("127.0.0.1", 1, None, True, tmp_path, tmp_path, tmp_path, "INFO")
    catalog = Catalog(Config(tmp_path / "c.json", program, {"a/b": model}))
    async with serving(
        LogsApi(log_file, catalog, lambda _: output, asyncio.Event()).routes()
    ) as client:
        yield client


async def test_the_last_lines_of_the_programs_log(client: Client) -> None:
    data = await (await client.get("/api/logs?lines=1")).json()
    assert data["lines"] == ["two"]
    assert (await (await client.get("/api/logs?lines=x")).json())["lines"] == ["one", "two"]


async def test_the_programs_log_as_it_grows(client: Client, tmp_path: Path) -> None:
    async with client.get("/api/logs/stream?lines=1") as answer:
        assert await answer.content.readline() == b'data: {"line": "two"}\n'
        with (tmp_path / "LLM-Manager_1.log").open("a") as log:
            log.write("three\n")
        await answer.content.readline()
        assert await answer.content.readline() == b'data: {"line": "three"}\n'


async def test_downloads_are_saved_not_shown(client: Client, output: ModelOutput) -> None:
    answer = await client.get("/api/logs/download")
    assert await answer.text() == "one\ntwo\n"
    assert answer.headers["Content-Disposition"].startswith("attachment;")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    output.add(["<b>"])
    model = await client.get("/api/models/a%2Fb/logs/download")
    assert await model.text() == "<b>\n"


async def test_no_file_yet_and_links_are_not_followed(
    client: Client, output: ModelOutput, tmp_path: Path
) -> None:
    assert (await client.get("/api/models/a%2Fb/logs/download")).status == 404
    output.path.parent.mkdir()
    output.path.symlink_to(tmp_path / "LLM-Manager_1.log")
    assert (await client.get("/api/models/a%2Fb/logs/download")).status == 404
