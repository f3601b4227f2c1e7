"""One process lifetime of one Variant, read from top to bottom; never reused."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Literal

from core.bridge import in_thread
from core.domain import Failure, Memory, Model, Variant
from core.events import InstanceChanged
from core.health import HOST, Health
from core.launchers.base import Process
from core.states import FINAL, NEXT, State
from core.surroundings import Connections, Surroundings

log = logging.getLogger(__name__)

Goal = Literal["serve", "sleep", "stop"]
PATIENT_DRAIN = 600.0
"""Seconds that running answers get when nobody is waiting for the stop (a config change)."""
LAST_WORDS = 0.5
"""Seconds that the last output of a dead tree may take to arrive."""
SLEPT = 1.0
"""Seconds by which a limit is noticed too late when nobody looked: this process was suspended."""
KILL_AGAIN = 5.0
KNOCKS, KNOCK_PAUSE = 3, 0.2
TAIL_LINES = 20


class _StopAsked(Exception):
    """Somebody wants the end of this instance."""


class _Died(Exception):
    """The process tree ended, or could not be started, or misbehaved."""

    def __init__(
        self, reason: str, code: str = "model_failed", exit_code: int | None = None
    ) -> None:
        super().__init__(reason)
        self.code = code
        self.exit_code = exit_code


class Instance:
    """Born STARTING, dies STOPPED or FAILED.

    Others read its attributes and state wishes (`stop`, `sleep`, `wake`); only its own task acts.
    """

    def __init__(
        self, id: str, model: Model, variant: Variant, port: int, env: dict[str, str],
        around: Surroundings,
    ) -> None:  # fmt: skip
        self.id = id
        self.model = model
        self.variant = variant
        self.port = port
        self.env = env
        self.around = around
        self.state = State.STARTING
        self.stage = "starting"
        self.reserved: dict[str, int] = dict(variant.memory)
        self.process: Process | None = None
        self.connections: Connections | None = None
        self.failure: Failure | None = None
        self.leases = 0
        self.loaded_at: float | None = None
        """When its memory was last complete: ready, or awake again."""
        self.load_seconds: float | None = None
        """From the start of the script to the first good answers, once known."""
        self.ready_at: float | None = None
        """When it first answered; None = it never did."""
        self.born_at = self.since = self.idle_since = around.clock()
        self._goal: Goal = "serve"
        self._reason = ""
        self._drain_seconds = model.stop_timeout
        self.ended = asyncio.Event()
        self._doubt = asyncio.Event()
        self._wish = asyncio.Event()
        self._stop_wish = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()

    # ---- wishes from outside -------------------------------------------------------------------

    def stop(self, reason: str, *, patient: bool = False) -> None:
        """Wish for the end. Running answers get `stop_timeout` (`patient`: ten minutes) to finish.

        A second, impatient wish waits for nothing any longer.
        """
        if self._goal == "stop" and not patient:
            self._drained.set()
            if self.state is State.STOPPING and self.process is not None:
                self.process.kill()
        self._goal = "stop"
        self._reason = reason
        self._drain_seconds = PATIENT_DRAIN if patient else self.model.stop_timeout
        self._stop_wish.set()
        self._wish.set()

    def sleep(self, reason: str) -> None:
        """Wish that it give its memory back and stay parked; ignored on the way to its end."""
        if self._goal != "stop":
            self._goal, self._reason = "sleep", reason
            self._wish.set()

    def wake(self) -> None:
        """Wish that it serve again; ignored on the way to its end."""
        if self._goal != "stop":
            self._goal = "serve"
            self._wish.set()

    def doubt(self) -> None:
        """A request could not be delivered: grant nothing more until somebody has looked."""
        self._doubt.set()

    def acquire(self) -> None:
        """Count a lease. The caller gives it back with `release`, exactly once."""
        self.leases += 1
        self._drained.clear()

    def release(self) -> None:
        """Give a lease back; the idle clock starts again."""
        self.leases -= 1
        assert self.leases >= 0, f"{self.id}: a lease was given back twice"
        self.idle_since = self.around.clock()
        if not self.leases:
            self._drained.set()

    @property
    def sleep_memory(self) -> Memory | None:
        """What sleep would leave reserved; None = its engine cannot sleep."""
        return self.around.engine.sleep_memory(self.variant)

    @property
    def stop_wished(self) -> bool:
        return self._goal == "stop"

    @property
    def sleeping(self) -> bool:
        return self.state is State.SLEEPING

    @property
    def serving(self) -> bool:
        """It may grant leases: ready, not in doubt, and nobody wishes anything else."""
        return self.state is State.READY and self._goal == "serve" and not self._doubt.is_set()

    @property
    def planned_state(self) -> State:
        """The state to plan with: a wish that was stated counts as begun."""
        if self._goal == "stop" and self.state not in FINAL:
            serving = self.state in (State.READY, State.DRAINING)
            return State.DRAINING if serving else State.STOPPING
        if self._goal == "sleep" and self.state is State.READY:
            return State.DRAINING
        return self.state

    # ---- the story -----------------------------------------------------------------------------

    async def run(self) -> None:
        """The whole life. Returns when nothing of the process tree is left."""
        async with asyncio.TaskGroup() as tasks:
            reader = None
            died: _Died | None = None
            try:
                self._spawn()
                assert self.process is not None
                reader = tasks.create_task(self._read(self.process), name=f"{self.id} output")
                await self._live(self.process)
            except _Died as error:
                died = error
            except OSError as error:
                died = _Died(str(error))
            finally:
                await self._bury(died, reader)
                self.ended.set()

    def _spawn(self) -> None:
        """Start the script. From here to `self.process` there is no await: it is owned at once."""
        log.info("%s starting, variant %s, port %s", self.id, self.variant.name, self.port)
        self._note(f"starting {self.id}, variant {self.variant.name}, port {self.port}")
        try:
            spec = self.around.engine.launch_spec(self.model, self.variant, self.env)
        except OSError:
            raise
        except Exception as error:  # a plugin
            raise _Died(f"engine '{self.model.engine}': {error!r}") from error
        self.process = self.around.launcher.start(
            spec, instance_id=self.id, host=HOST, port=self.port
        )
        self.connections = self.around.connect(HOST, self.port)

    async def _read(self, process: Process) -> None:
        try:
            await self.around.output.read_from(process.output)
        except Exception:  # a task root: a lost line must not end the life of the instance
            log.exception("%s: its output cannot be read any longer", self.id)

    async def _live(self, process: Process) -> None:
        """Serve until a stop is wished (returns) or the tree dies (raises `_Died`)."""
        try:
            async with asyncio.TaskGroup() as life:
                life.create_task(self._watch_exit(process), name=f"{self.id} exit")
                life.create_task(self._watch_stop(), name=f"{self.id} stop")
                life.create_task(self._watch_doubts(), name=f"{self.id} doubts")
                await self._come_up(process)
                while True:
                    await self._serve(process)
        except* _StopAsked:
            pass
        except* (_Died, OSError) as group:
            error = _first(group)
            raise (error if isinstance(error, _Died) else _Died(str(error))) from None

    async def _come_up(self, process: Process) -> None:
        """Wait until the server really answers; late is dead."""
        while not await self._healthy_in_time(process):
            log.warning("%s: the limit passed while this machine slept; it counts anew", self.id)
        now = self.around.clock()
        if self.ready_at is None:
            self.ready_at, self.load_seconds = now, now - self.born_at
        self.idle_since = self.loaded_at = now
        self._enter(State.READY)

    async def _healthy_in_time(self, process: Process) -> bool:
        """Raises `_Died` when it is late; False if that was noticed too late to be its fault."""
        limit = self.model.start_timeout
        deadline = self.around.clock() + limit
        try:
            async with asyncio.timeout(limit):
                await self._health(process).until_healthy()
        except TimeoutError:
            if self.around.clock() > deadline + SLEPT:
                return False
            reason = f"not ready after {limit:g} s ({self.stage})"
            raise _Died(reason, "start_timeout") from None
        return True

    def _health(self, process: Process) -> Health:
        name = self.model.upstream_model or self.model.name
        limit = int(self.model.start_timeout)
        check = self.around.interface.health_check
        return Health(
            process,
            lambda began: check(name, self.port, began, limit),
            self.around.port_answers,
            self._stage,
        )

    async def _serve(self, process: Process) -> None:
        """READY or SLEEPING until the next wish, then what it takes to fulfil it."""
        await self._wish.wait()
        self._wish.clear()
        if self._goal == "sleep" and self.state is State.READY:
            await self._go_to_sleep()
        elif self._goal == "serve" and self.state is State.SLEEPING:
            self.reserved = dict(self.variant.memory)
            self._enter(State.WAKING)
            await self._engine_call(self.around.engine.wake, "wake up")
            await self._come_up(process)
        elif self._goal == "stop":
            if self.state is State.READY:
                self._enter(State.DRAINING, self._reason)
                await self._drain()
            raise _StopAsked

    async def _go_to_sleep(self) -> None:
        self._enter(State.DRAINING, self._reason)
        await self._drain()
        if self._goal == "stop":
            raise _StopAsked
        left = self.sleep_memory or {}
        await self._engine_call(self.around.engine.sleep, "go to sleep")
        self.reserved = dict(left)
        self._enter(State.SLEEPING)
        self._wish.set()  # a wish that came meanwhile

    async def _engine_call(self, call: Callable[[str, int], None], words: str) -> None:
        try:
            async with asyncio.timeout(self.model.start_timeout):
                await in_thread(call, HOST, self.port, name=f"{self.id} {words}")
        except TimeoutError:
            raise _Died(f"it did not {words} in time") from None
        except Exception as error:  # a plugin
            raise _Died(f"it did not {words}: {error}") from error

    async def _drain(self) -> None:
        """Let the running answers finish, within the limit of the wish."""
        try:
            async with asyncio.timeout(self._drain_seconds):
                await self._drained.wait()
        except TimeoutError:
            log.warning("%s: %s answers are cut off", self.id, self.leases)

    async def _watch_exit(self, process: Process) -> None:
        """A script that ends well may leave its server behind; one that fails has failed."""
        code = await process.script_exit()
        if code == 0:
            code = await process.wait()
        raise _Died(f"the server ended by itself ({_exit_words(code)})", exit_code=code)

    async def _watch_doubts(self) -> None:
        """Knock on the port when a request could not be delivered; nobody there means death."""
        while True:
            await self._doubt.wait()
            for _ in range(KNOCKS):
                if self.state is not State.READY or await self.around.port_answers(self.port):
                    break
                await asyncio.sleep(KNOCK_PAUSE)
            else:
                raise _Died(f"nobody answers at port {self.port} any longer")
            self._doubt.clear()
            self.around.publish(InstanceChanged(self.model.name, self.id, self.state))

    async def _watch_stop(self) -> None:
        """End at once where there is nothing to drain; READY and DRAINING see to it themselves."""
        await self._stop_wish.wait()
        if self.state not in (State.READY, State.DRAINING):
            raise _StopAsked

    async def _bury(self, died: _Died | None, reader: asyncio.Task[None] | None) -> None:
        """End the tree, whatever state it is in; memory stays reserved until it is dead."""
        self._enter(State.STOPPING, str(died) if died else self._reason)
        if self.connections is not None:
            self.connections.close()  # llama.cpp does not end while a client reads a stream
        if self.process is not None:
            await self._end_tree(self.process)
        if reader is not None:
            await asyncio.wait({reader}, timeout=LAST_WORDS)
            reader.cancel()
        self.reserved = {}
        if died is None:
            self._enter(State.STOPPED, self._reason)
            return
        self.failure = Failure(
            reason=str(died),
            code=died.code,
            exit_code=died.exit_code,
            log_tail=tuple(self.around.output.tail(TAIL_LINES)),
            at=self.around.clock(),
        )
        self._enter(State.FAILED, str(died))

    async def _end_tree(self, process: Process) -> None:
        """Ask, then kill; insist until the last member is dead, because it holds the memory."""
        process.terminate()
        limit, kills = self.model.stop_timeout, 0
        while True:
            try:
                async with asyncio.timeout(limit):
                    await process.wait()
                return
            except TimeoutError:
                if kills:
                    log.error("%s: its processes cannot be killed; trying again", self.id)
                process.kill()
                limit, kills = KILL_AGAIN, kills + 1

    # ---- the one writer of the state -----------------------------------------------------------

    def _enter(self, state: State, reason: str = "") -> None:
        assert state in NEXT[self.state], f"{self.id}: {self.state} -> {state}"
        now = self.around.clock()
        memory = ", ".join(f"{d} {mb} MB" for d, mb in self.reserved.items()) or "no memory"
        level = logging.WARNING if state is State.FAILED else logging.INFO
        because = f": {reason}" if reason else ""
        log.log(
            level,
            "%s %s -> %s after %.1f s (%s)%s",
            self.id, self.state, state, now - self.since, memory, because,
        )  # fmt: skip
        self._note(f"{self.id} {self.state} -> {state}{because}")
        self.state, self.since, self.stage = state, now, state.value
        self.around.publish(InstanceChanged(self.model.name, self.id, state, reason))

    def _stage(self, text: str) -> None:
        if text != self.stage:
            self.stage = text
            self.around.publish(InstanceChanged(self.model.name, self.id, self.state))

    def _note(self, text: str) -> None:
        self.around.output.note(text)


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Exception)
    return error


def _exit_words(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
