"""A pipe as a StreamReader: whole, bounded, and gone when nobody wants it."""

from __future__ import annotations

import asyncio
import gc
import os
import sys

import pytest

from tests.fakes.waiting import until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only: its pipes")

if sys.platform != "win32":
    from core.launchers.output import LIMIT, PipeFeed, pipe


def write_all_it_takes(number: int) -> int:
    """Write until the pipe is full."""
    written = 0
    while True:
        try:
            written += os.write(number, b"x" * 65536)
        except BlockingIOError:
            return written


async def test_everything_arrives_and_then_the_end() -> None:
    source, writer = pipe()
    feed = PipeFeed(asyncio.get_running_loop(), source)
    os.write(writer.number, b"one\ntwo")
    writer.close()
    assert await feed.reader.read() == b"one\ntwo"
    assert source.number == -1


async def test_a_writer_has_to_wait_while_nobody_reads() -> None:
    source, writer = pipe()
    feed = PipeFeed(asyncio.get_running_loop(), source)
    os.set_blocking(writer.number, False)
    written = write_all_it_takes(writer.number)
    while feed.is_reading():
        await asyncio.sleep(0)
        written += write_all_it_takes(writer.number)
    assert 2 * LIMIT < written <= 2 * LIMIT + 4 * 65536
    writer.close()
    assert len(await feed.reader.read()) == written


async def test_finish_ends_it_although_a_stranger_holds_the_pipe() -> None:
    source, writer = pipe()
    feed = PipeFeed(asyncio.get_running_loop(), source)
    os.write(writer.number, b"last words")
    feed.finish()
    assert await feed.reader.read() == b"last words"


async def test_finish_while_paused_still_delivers_everything() -> None:
    source, writer = pipe()
    feed = PipeFeed(asyncio.get_running_loop(), source)
    os.set_blocking(writer.number, False)
    written = write_all_it_takes(writer.number)
    while feed.is_reading():
        await asyncio.sleep(0)
        written += write_all_it_takes(writer.number)
    feed.finish()
    assert len(await feed.reader.read()) == written


async def test_a_paused_feed_that_nobody_wants_closes_its_pipe() -> None:
    source, writer = pipe()
    number = source.number
    feed = PipeFeed(asyncio.get_running_loop(), source)
    feed.pause_reading()
    del feed, source
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
    writer.close()


async def test_a_dropped_feed_ends_with_its_writer() -> None:
    source, writer = pipe()
    number = source.number
    feed = PipeFeed(asyncio.get_running_loop(), source)
    del feed
    writer.close()
    await until(lambda: source.number == -1)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
