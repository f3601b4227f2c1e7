"""Server-sent events to one client, from one or several sources of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp import web

KEEP_ALIVE = 15.0
"""Seconds between two comments, so that nothing on the way closes a silent stream."""


async def send_events(
    request: web.Request, closing: asyncio.Event, *sources: AsyncGenerator[str, None]
) -> web.StreamResponse:
    """Send what the sources yield until the client leaves, one of them ends, or `closing` is set.

    Each source yields whole events: text that ends with an empty line.
    """
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
    )
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    turn = asyncio.Lock()

    async def write(text: str) -> None:
        async with turn:
            await response.write(text.encode())

    async def send(source: AsyncGenerator[str, None]) -> None:
        async with aclosing(source) as events:
            async for text in events:
                await write(text)

    async def keep_alive() -> None:
        while True:
            await asyncio.sleep(KEEP_ALIVE)
            await write(": still here\n\n")

    try:
        async with asyncio.TaskGroup() as tasks:
            work = {tasks.create_task(send(source)) for source in sources}
            work.add(tasks.create_task(keep_alive()))
            work.add(tasks.create_task(closing.wait()))  # type: ignore[arg-type]
            await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            for task in work:
                task.cancel()
    except* ConnectionError:
        pass  # the client left while a line was on its way
    return response
