"""The two doors between the loop's thread and any other."""

from __future__ import annotations

import asyncio
import threading

import pytest

from core.bridge import Bridge, in_thread
from tests.fakes.waiting import until, until_sync


async def test_a_call_runs_in_the_loop_s_thread() -> None:
    bridge = Bridge(asyncio.get_running_loop())
    calls: list[tuple[int, int]] = []
    here = threading.get_ident()

    def note(number: int) -> None:
        calls.append((number, threading.get_ident()))

    def other() -> None:
        for number in range(3):
            bridge.call(note, number)

    thread = threading.Thread(target=other)
    thread.start()
    await until(lambda: len(calls) == 3)
    thread.join()
    assert calls == [(0, here), (1, here), (2, here)]


def test_a_call_after_the_end_does_nothing() -> None:
    loop = asyncio.new_event_loop()
    bridge = Bridge(loop)
    loop.close()
    calls: list[int] = []
    bridge.call(calls.append, 1)
    assert calls == []


async def test_work_in_a_thread_gives_its_result() -> None:
    def work(a: int, b: int) -> tuple[int, str, bool]:
        thread = threading.current_thread()
        return a + b, thread.name, thread.daemon

    assert await in_thread(work, 1, 2, name="adder") == (3, "adder", True)


@pytest.mark.parametrize("kind", [ValueError, OSError, KeyError, asyncio.TimeoutError])
async def test_work_in_a_thread_gives_its_error(kind: type[Exception]) -> None:
    def work() -> None:
        raise kind("why")

    with pytest.raises(kind, match="why"):
        await in_thread(work)


@pytest.mark.parametrize("kind", [StopIteration, SystemExit, KeyboardInterrupt])
async def test_a_plugin_cannot_end_the_program(kind: type[BaseException]) -> None:
    def work() -> None:
        raise kind("why")

    with pytest.raises(RuntimeError, match=f"{kind.__name__} in worker: why"):
        await in_thread(work)


async def test_a_thread_that_hangs_holds_up_nobody() -> None:
    """Many more than asyncio's pool has threads."""
    release = threading.Event()
    try:
        async with asyncio.TaskGroup() as tasks:
            stuck = [tasks.create_task(in_thread(release.wait)) for _ in range(50)]
            assert await in_thread(lambda: "done") == "done"
            for task in stuck:
                task.cancel()
    finally:
        release.set()


async def test_a_result_that_nobody_waits_for_is_dropped() -> None:
    release, ended = threading.Event(), threading.Event()
    trouble: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, told: trouble.append(told))

    def work() -> None:
        release.wait()
        ended.set()
        raise ValueError("too late")

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(in_thread(work, name="late"))
        await asyncio.sleep(0)
        task.cancel()
    assert task.cancelled()
    release.set()
    await until(ended.is_set)
    await until(lambda: all(t.name != "late" for t in threading.enumerate()))
    await asyncio.sleep(0)  # the settling runs
    assert trouble == []


def test_a_result_after_the_end_of_the_loop_is_dropped() -> None:
    release = threading.Event()

    async def main() -> None:
        try:
            await asyncio.wait_for(in_thread(release.wait, name="late"), 0.01)
        except TimeoutError:
            pass

    asyncio.run(main())
    release.set()
    until_sync(lambda: all(t.name != "late" for t in threading.enumerate()))
