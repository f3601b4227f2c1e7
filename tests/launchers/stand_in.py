"""A manager to be killed: for every line on stdin it forks one, which starts a tree per shape.

    python stand_in.py FOLDER SHAPE...

Prints `<pid> <its mark>` before the first start, and `<pid> up` when every server listens; the
test kills the pid whenever it likes. Forked, because the imports are most of a start. Windows has
no fork: there it is the manager itself, and the first line says how it is to end. With
STAND_IN_MARK its trees carry a mark of this name, which no other manager on the machine sweeps.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from core.domain import LaunchSpec
from core.launchers import leftovers, ports
from core.launchers.base import Process
from core.launchers.local import LocalLauncher
from tests.fakes.scripts import write_script


async def manage(folder: Path, shapes: list[str]) -> None:
    print(os.getpid(), leftovers.mark(""), flush=True)
    launcher = LocalLauncher()
    started: list[Process] = []
    for shape in shapes:
        port = ports.free_port(())
        script = write_script(folder, shape=shape, name=shape)
        spec = LaunchSpec((str(script),), folder, {"LLM_PORT": str(port)})
        started.append(launcher.start(spec, instance_id=shape, host="127.0.0.1", port=port))
        await asyncio.sleep(0)
    for process in started:
        try:
            await process.output.readuntil(b"listening")
        except asyncio.IncompleteReadError as error:
            sys.exit(error.partial.decode(errors="replace"))
    print(os.getpid(), "up", flush=True)
    await asyncio.Event().wait()


def obey() -> None:
    """Windows: end as the next line says."""
    way = sys.stdin.readline().strip()
    if way == "_exit":
        os._exit(1)
    if way == "SIGINT":
        signal.raise_signal(signal.SIGINT)
    if way == "abort":
        os.abort()


def main() -> None:
    folder, shapes = Path(sys.argv[1]), sys.argv[2:]
    leftovers.MARK = os.environ.get("STAND_IN_MARK", leftovers.MARK)
    if sys.platform == "win32":
        threading.Thread(target=obey, daemon=True).start()
        with suppress(KeyboardInterrupt):
            asyncio.run(manage(folder, shapes))
        return
    for _ in sys.stdin:
        if not os.fork():
            asyncio.run(manage(folder, shapes))


if __name__ == "__main__":
    main()
