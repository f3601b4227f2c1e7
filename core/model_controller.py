"""The line of demands, the leases and the instances: carries out what the scheduler decides.

The only part that starts, sleeps, wakes or stops anything. Everything happens in the loop's thread.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from core.config.diff import Change
from core.domain import Config, DeviceReading, Model, ModelStatus, Variant
from core.errors import LLMManagerError, ModelFailed, ModelStopped
from core.events import Event, InstanceChanged, RequestFinished
from core.fleet import Fleet
from core.instance import Instance
from core.lease import Lease
from core.line import Line, Place
from core.record import Record
from core.refusals import failed, refusal
from core.scheduling.decide import decide
from core.scheduling.idling import idle_releases
from core.scheduling.world import (
    Action,
    Demand,
    Grant,
    Hold,
    Reject,
    Release,
    Start,
    Waiting,
    Wake,
    World,
)
from core.states import COMING, FINAL, State
from core.status import model_status
from core.surroundings import Surroundings

log = logging.getLogger(__name__)

TICK = 1.0
NAP = 5.0
"""A gap between two ticks that is longer means that the machine slept: idleness is not counted."""


class Devices(Protocol):
    """The readings of the devices, and two ways to ask for fresher ones."""

    @property
    def readings(self) -> Mapping[str, DeviceReading] | None: ...
    def refresh(self) -> None: ...
    def set_pace(self, busy: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What the controller works with."""

    devices: Devices
    surroundings: Callable[[Model], Surroundings]
    """Engine, interface and launcher of a Model as they are now. Raises LLMManagerError."""
    script_env: Callable[[Model, Variant, int, Mapping[str, DeviceReading]], dict[str, str]]
    pick_port: Callable[[Model, set[int]], int]
    """A port for a new instance. Raises OSError with a sentence when it is taken."""
    publish: Callable[[Event], None]
    clock: Callable[[], float] = time.monotonic
    missing: Callable[[Model], str | None] = lambda model: None
    """The plugin that a model needs and nobody provides now, in a sentence."""


class ModelController:
    """Six verbs: `lease`, `start`, `stop`, `sleep`, `wake`, `status`."""

    def __init__(self, config: Config, parts: Parts) -> None:
        self.config = config
        self.parts = parts
        self.fleet = Fleet(parts.clock)
        self.line = Line()
        self.records: dict[str, Record] = {name: Record() for name in config.models}
        self._held: frozenset[str] = frozenset()
        self._numbers = itertools.count(1)
        self._tasks: asyncio.TaskGroup | None = None
        self._scheduled = False
        self._closing = False
        self._restart: set[str] = set()

    # ---- the verbs -----------------------------------------------------------------------------

    def lease(self, model: Model) -> Lease:
        """Wait for an instance of the model that may take one more request.

        Starts it, and makes room for it, if need be. Raises an LLMManagerError when that is not
        possible; whoever is cancelled leaves the line and costs nothing.
        """
        return Lease(self, model)

    async def start(self, model: Model) -> None:
        """Load the model on a person's behalf: at once, in spite of an earlier failure."""
        if self.fleet.serving(model.name) is not None:
            return
        self._record(model.name).pardon()
        async with self.lease(model):
            pass

    def start_soon(self, model: Model) -> None:
        """The same without waiting; a failure is kept in the model's status."""
        if self._tasks is not None and not self._closing:
            self._tasks.create_task(self._start_quietly(model), name=f"start {model.name}")

    def stop(self, model: Model, reason: str = "stopped by a person") -> asyncio.Event | None:
        """Wish for its end and answer everybody in its line; a second call does not wait for
        running answers. Returns the event of its end, or None if nothing runs."""
        self.line.refuse(
            model.name, ModelStopped(f"'{model.name}' was stopped while this request waited")
        )
        self._restart.discard(model.name)
        instance = self.fleet.of(model.name)
        if instance is not None:
            instance.stop(reason)
            self._soon()
        return instance.ended if instance is not None else None

    def sleep(self, model: Model) -> None:
        """Wish that the model give its memory back and stay parked.

        Raises ModelStopped if it does not run, ModelFailed if its engine cannot sleep.
        """
        instance = self.fleet.of(model.name)
        if instance is None:
            raise ModelStopped(f"'{model.name}' is not running")
        if instance.sleep_memory is None:
            raise ModelFailed(f"the engine of '{model.name}' cannot sleep")
        instance.sleep("put to sleep by a person")
        self._soon()

    async def wake(self, model: Model) -> None:
        """Wake a sleeping model, or start it."""
        await self.start(model)

    def restart(self, model: Model, reason: str) -> None:
        """End the model once its running answers are done, and load it again."""
        instance = self.fleet.of(model.name)
        if instance is None:
            self.start_soon(model)
            return
        self._restart.add(model.name)
        instance.stop(reason)
        self._soon()

    def status(self) -> list[ModelStatus]:
        """Every configured model, in file order."""
        return [self.status_of(model) for model in self.config.models.values()]

    def running(self) -> list[ModelStatus]:
        """Those that live or are waited for: nobody else holds memory or moves, however many are
        configured."""
        models = {i.model.name: i.model for i in self.fleet}
        for name in self.line.models():
            if name in self.config.models:
                models.setdefault(name, self.config.models[name])
        return [self.status_of(model) for model in models.values()]

    @property
    def in_line(self) -> int:
        """Requests that wait for a lease."""
        return len(self.line)

    def status_of(self, model: Model) -> ModelStatus:
        return model_status(
            model,
            instance=self.fleet.of(model.name),
            record=self._record(model.name),
            waiting=self.line.waiting(model.name),
            why=self.line.why(model.name),
            devices=self.parts.devices.readings if self.config.program.monitoring else None,
            now=self.parts.clock(),
            missing=self.parts.missing(model),
        )

    def preview(self, model: Model) -> list[Action]:
        """What a request for the model would set off now; nothing of it is done."""
        now = self.parts.clock()
        return decide(self._world((Demand(0, model.name, now),)))

    # ---- leases (the fast path) ----------------------------------------------------------------

    def grant_now(self, model: Model) -> Instance | None:
        """A lease at once, if the model serves, has a free place, and nobody waits for it."""
        instance = self.fleet.serving(model.name)
        if instance is None or instance.id in self._held or self._closing:
            return None
        if model.concurrency and instance.leases >= model.concurrency:
            return None
        if self.line.waiting(model.name):
            return None
        instance.acquire()
        return instance

    async def stand_in_line(self, model: Model) -> Instance:
        if self._closing:
            raise ModelStopped("LLM-Manager is ending")
        place = self.line.join(model, self.parts.clock())
        self._soon()
        try:
            return await place.granted
        except asyncio.CancelledError:
            self._undo(place)
            raise
        finally:
            self.line.leave(place)

    def _undo(self, place: Place) -> None:
        """The client left in the very turn in which its demand was answered."""
        if place.granted.done() and not place.granted.cancelled():
            if place.granted.exception() is None:
                self.give_back(place.granted.result())
        self._soon()

    def give_back(self, instance: Instance) -> None:
        instance.release()
        if len(self.line) or instance.id in self._held:
            self._soon()

    # ---- running -------------------------------------------------------------------------------

    async def run(self, tasks: asyncio.TaskGroup) -> None:
        """Reconcile once a second and whenever something changed; lives in `tasks`."""
        self._tasks = tasks
        before = self.parts.clock()
        while True:
            now = self.parts.clock()
            if now - before > NAP:
                self.fleet.forgive_idleness(now - before)
            before = now
            try:
                self._reconcile()
            except Exception:  # a task root: a fault of ours must not take the models down
                log.exception("the scheduler failed; it tries again in a second")
            await asyncio.sleep(TICK)

    def auto_start(self) -> None:
        """Load every model that wants to be up."""
        for model in self.config.models.values():
            if model.auto_start:
                self.start_soon(model)

    def changed(self, event: Event) -> None:
        """Something happened that may open a way: an instance changed, a reading came in."""
        if isinstance(event, RequestFinished):
            return  # its lease came back, and that was looked at
        if isinstance(event, InstanceChanged):
            instance = self.fleet.of(event.model)
            if instance is not None and instance.id == event.instance:
                self._follow(instance)
        self._soon()

    def apply(self, config: Config, change: Change) -> None:
        """Put a new config in force: only models whose own entry changed are drained."""
        self.config = config
        for name in change.added:
            self.records.setdefault(name, Record())
        for name in (*change.removed, *change.restart):
            instance = self.fleet.of(name)
            if instance is not None and instance.state not in FINAL:
                if name in change.restart and not instance.stop_wished:
                    self._restart.add(name)
                instance.stop("its config entry changed", patient=True)
        for name in change.removed:
            self.records.pop(name, None)
        for name in change.updated:
            instance = self.fleet.of(name)
            if instance is not None:
                instance.model = config.models[name]
        self._soon()

    async def shutdown(self, grace: float) -> None:
        """Ask every instance to stop and wait for all; after `grace` seconds they are killed."""
        self._closing = True
        self.line.refuse(None, ModelStopped("LLM-Manager is ending"))
        living = list(self.fleet)
        for instance in living:
            instance.stop("LLM-Manager is ending")
        try:
            async with asyncio.timeout(grace):
                for instance in living:
                    await instance.ended.wait()
        except TimeoutError:
            log.warning("some models did not end in %g s and are killed", grace)
            self.kill_all()
            for instance in living:
                await instance.ended.wait()

    def kill_all(self) -> None:
        """End everything that is left, without asking."""
        for instance in self.fleet:
            instance.stop("LLM-Manager is ending")
            if instance.process is not None:
                instance.process.kill()

    # ---- inside --------------------------------------------------------------------------------

    def _record(self, name: str) -> Record:
        return self.records.setdefault(name, Record())

    def _soon(self) -> None:
        """Reconcile in the next turn of the loop; many reasons make one run."""
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._reconcile)

    def _world(self, demands: tuple[Demand, ...]) -> World:
        """What the scheduler sees now, with these demands in line."""
        names = {d.model for d in demands} | {i.model.name for i in self.fleet}
        return self.fleet.world(
            demands=demands,
            models={n: self.config.models[n] for n in names if n in self.config.models},
            records=self.records,
            readings=self.parts.devices.readings,
            monitoring=self.config.program.monitoring,
        )

    def _reconcile(self) -> None:
        self._scheduled = False
        busy = bool(len(self.line)) or any(
            i.planned_state not in (State.READY,) for i in self.fleet
        )
        self.parts.devices.set_pace(busy)
        if not busy and not len(self.fleet):
            self._held = frozenset()
            return
        world = self._world(self.line.demands())
        actions: list[Action] = [*decide(world), *idle_releases(world)]
        self._held = frozenset(a.instance for a in actions if isinstance(a, Hold))
        for action in actions:
            self._carry_out(action)

    def _carry_out(self, action: Action) -> None:
        match action:
            case Grant(demand, instance_id):
                place, instance = self.line.place(demand), self.fleet.by_id(instance_id)
                if place is not None and instance is not None and instance.serving:
                    instance.acquire()
                    place.granted.set_result(instance)
            case Start(demand, variant):
                self._start_instance(demand.model, variant)
            case Wake(instance_id):
                if (sleeper := self.fleet.by_id(instance_id)) is not None:
                    sleeper.wake()
            case Release(instance_id, reason, stop):
                self._release(instance_id, reason, stop)
            case Reject(demand, code, reason, retry_after):
                if (place := self.line.place(demand)) is not None:
                    failure = self._record(demand.model).failure
                    now = self.parts.clock()
                    place.granted.set_exception(
                        refusal(demand.model, code, reason, retry_after, failure, now)
                    )
            case Waiting(demand, why, _):
                if (place := self.line.place(demand)) is not None:
                    place.why = why
            case Hold():
                pass  # kept in self._held

    def _release(self, instance_id: str, reason: str, stop: bool) -> None:
        instance = self.fleet.by_id(instance_id)
        if instance is None:
            return
        if stop or instance.sleep_memory is None:
            instance.stop(reason)
        else:
            instance.sleep(reason)

    def _start_instance(self, name: str, variant: Variant) -> None:
        model = self.config.models[name]
        readings = self.parts.devices.readings or {}
        try:
            around = self.parts.surroundings(model)
            port = self.parts.pick_port(model, self.fleet.ports())
        except (LLMManagerError, OSError) as error:
            failure = error if isinstance(error, LLMManagerError) else ModelFailed(str(error))
            log.warning("%s cannot start: %s", name, error)
            self._record(name).refused(str(error), self.parts.clock())
            self.line.refuse(name, failure)
            return
        env = self.parts.script_env(model, variant, port, readings)
        instance = Instance(f"{name}#{next(self._numbers)}", model, variant, port, env, around)
        if not self.config.program.monitoring:
            instance.reserved = {}
        self._record(name).starts += 1
        self.fleet.add(instance)
        assert self._tasks is not None
        self._tasks.create_task(self._live(instance), name=instance.id)

    async def _live(self, instance: Instance) -> None:
        try:
            await instance.run()
        except Exception:  # a task root: one broken life must not end the others
            log.exception("%s ended in a way nobody foresaw", instance.id)
        finally:
            if self.fleet.by_id(instance.id) is instance:
                self._gone(instance)

    def _follow(self, instance: Instance) -> None:
        """Book-keeping at a transition."""
        state = instance.state
        if state is State.READY:
            self._record(instance.model.name).ready(instance)
        if state not in COMING:
            self.parts.devices.refresh()
        if state in (State.STOPPING, State.SLEEPING):
            self.fleet.gives_back(instance, self.parts.devices.readings or {})
        if state in FINAL:
            self._gone(instance)

    def _gone(self, instance: Instance) -> None:
        name, now = instance.model.name, self.parts.clock()
        self.fleet.remove(instance)
        record = self._record(name)
        record.ended(instance, now)
        if instance.failure is not None and (instance.ready_at is None or record.cooling(now)):
            self.line.refuse(name, self._failed(name, now))
        if name in self._restart and name in self.config.models:
            self._restart.discard(name)
            self.start_soon(self.config.models[name])
        self._soon()

    def _failed(self, name: str, now: float) -> LLMManagerError:
        return failed(name, self._record(name).failure, now)

    async def _start_quietly(self, model: Model) -> None:
        try:
            await self.start(model)
        except LLMManagerError as error:
            log.warning("%s was not started: %s", model.name, error.message.splitlines()[0])
