"""Trees under Job Objects: whatever the script does, nobody is left."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
from pathlib import Path

import psutil
import pytest

from core.domain import LaunchSpec
from core.launchers import ports
from core.launchers.base import Process
from tests.fakes.scripts import SHAPES, write_script
from tests.fakes.waiting import until
from tests.launchers.conftest import Trees
from tests.windows.here import under_wine

assert sys.platform == "win32"


async def listening(process: Process) -> None:
    await process.output.readuntil(b"listening on port")


# -- a tree and its end ----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_kill_leaves_nobody(trees: Trees, tmp_path: Path, shape: str) -> None:
    port = ports.free_port(())
    process = trees.start_script(write_script(tmp_path, "kids=1", shape=shape), port=port)
    await listening(process)
    assert process.owner_of_port() is None
    await until(lambda: len(trees.survivors()) >= 2)
    process.kill()
    await process.wait()
    await until(lambda: not trees.survivors())
    assert "nobody" in str(process.owner_of_port())


async def test_a_start_without_waiting_is_a_member_of_the_tree(trees: Trees) -> None:
    """`start /b` and an end: afterwards no parent leads from the child to the script."""
    program = "import os, time; print(os.getpid(), flush=True); time.sleep(1000)"
    process = trees.start(f'start /b "" "{sys.executable}" -I -S -c "{program}"\nexit /b 5\n')
    child = int(await process.output.readline())
    assert await process.script_exit() == 5
    assert child in trees.survivors()
    async with asyncio.TaskGroup() as group:
        waiter = group.create_task(process.wait())
        await asyncio.sleep(0)
        assert not waiter.done()
        psutil.Process(child).kill()
        assert await waiter == 5


async def test_the_end_comes_although_a_stranger_holds_the_output(trees: Trees) -> None:
    process = trees.start("echo here\nping -n 1000 127.0.0.1 >nul\n")
    await process.output.readline()
    process.kill()
    assert await process.wait() == -9
    assert await process.output.read() == b""


async def test_whoever_drops_the_handle_ends_the_tree(trees: Trees, tmp_path: Path) -> None:
    process = trees.start_script(write_script(tmp_path, shape="daemon"))
    await listening(process)
    del process
    gc.collect()
    await until(lambda: not trees.survivors())


async def test_orders_given_at_once_are_carried_out(trees: Trees, tmp_path: Path) -> None:
    process = trees.start_script(write_script(tmp_path))
    process.terminate()
    assert await process.wait() == -15


async def test_many_lives_leave_no_handle_and_no_thread(trees: Trees) -> None:
    async def live() -> None:
        process = trees.start("echo hello\n")
        assert await process.output.read() == b"hello\r\n"
        assert await process.wait() == 0

    def ours(threads: list[threading.Thread]) -> list[str]:
        return [each.name for each in threads if each.name.startswith(("output", "job of"))]

    await live()
    await until(lambda: not ours(threading.enumerate()))
    gc.collect()
    before = psutil.Process().num_handles()
    for _ in range(10):
        await live()
    await until(lambda: not ours(threading.enumerate()))
    gc.collect()
    assert psutil.Process().num_handles() <= before + 2


# -- its surroundings ------------------------------------------------------------------------------

AWKWARD = [
    "plain", "with space", "a & b", "(x86)", "caret ^ sign", "100% sure", "wow!", "a,b;c=d",
    "模型 中文", "it's", "@home", "x^&y", "%PATH%", "dot.dot",
]  # fmt: skip


@pytest.mark.parametrize("name", AWKWARD)
async def test_any_folder_and_almost_any_name_will_do(trees: Trees, name: str) -> None:
    folder = trees.folder / name
    script = write_script(folder, "crash_before_bind", name=name.replace("%", ""))
    process = trees.start_script(script)
    assert b"fatal" in await process.output.read()
    assert await process.wait() == 3


async def test_a_script_in_the_folder_of_another_name_is_refused(trees: Trees) -> None:
    script = write_script(trees.folder, name="50% off")
    for argv, sentence in [
        ((str(script),), "rename it"),
        ((str(trees.folder / "none.bat"),), "none.bat does not exist"),
        ((str(trees.folder),), "is a folder"),
        (("no-such-program",), "is not on the PATH"),
        ((str(write_script(trees.folder)), "--port", "1"), "without arguments"),
        ((str(write_script(trees.folder / "elsewhere")),), "in its own folder"),
    ]:
        with pytest.raises(OSError, match=sentence):
            start(trees, argv)
    (trees.folder / "x.exe").write_text("not a program")
    with pytest.raises(OSError, match=r"cannot start .*x\.exe"):
        start(trees, (str(trees.folder / "x.exe"),))
    assert trees.survivors() == []


def start(trees: Trees, argv: tuple[str, ...], **env: str) -> Process:
    spec = LaunchSpec(argv, trees.folder, env)
    return trees.launcher.start(spec, instance_id=trees.instance_id, host="127.0.0.1", port=0)


async def test_a_program_gets_its_arguments_as_they_are(trees: Trees) -> None:
    words = ["two words", 'a "quote"', "100%", "&", "中文"]
    program = "import sys; sys.stdout.buffer.write('|'.join(sys.argv[1:]).encode())"
    process = start(trees, (sys.executable, "-I", "-S", "-c", program, *words))
    assert (await process.output.read()).decode() == "|".join(words)


async def test_the_script_gets_its_folder_its_environment_and_no_input(trees: Trees) -> None:
    text = "cd\necho %LLM_PORT% %EXTRA%\nset /p LINE=\necho end\n"
    process = trees.start(text, port=4711, EXTRA="a b")
    lines = (await process.output.read()).decode().splitlines()
    assert Path(lines[0]).samefile(trees.folder)
    assert lines[1:] == ["4711 a b", "end"]


async def test_a_name_of_the_environment_is_one_in_any_case(
    trees: Trees, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWO_CASES", "the system's")
    process = trees.start("echo %TWO_CASES%\n", Two_Cases="the model's")
    assert await process.output.read() == b"the model's\r\n"


async def test_an_environment_that_cannot_be_is_a_sentence(trees: Trees) -> None:
    with pytest.raises(OSError, match=r"cannot start .*null"):
        trees.start("echo\n", EXTRA="a\0b")
    assert trees.survivors() == []


async def test_50_000_lines_arrive_in_order(trees: Trees, tmp_path: Path) -> None:
    process = trees.start_script(write_script(tmp_path, "print=50000", "crash_before_bind"))
    lines = (await process.output.read()).splitlines()
    assert lines[1:-1] == [b"line %06d of the start" % number for number in range(50_000)]


@pytest.mark.skipif(under_wine(), reason="wine cannot tell whose socket it is")
async def test_the_port_of_a_stranger_is_told(trees: Trees, tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    process = trees.start_script(write_script(tmp_path, "late_bind=1000"), port=port)
    await process.output.readline()
    assert f"pid {os.getpid()}" in str(await asyncio.to_thread(process.owner_of_port))
    server.close()
    await server.wait_closed()
    assert process.owner_of_port() == f"nobody listens on 127.0.0.1:{port}"
    process.kill()
    await process.wait()
