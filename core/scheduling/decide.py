"""Decide what to do next. Pure: a World goes in, Actions come out; nothing is remembered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from core.domain import Memory, Model, Variant
from core.scheduling.memory import Victim, choose_victims, free_memory, gain, shortfall
from core.scheduling.world import (
    Action,
    Demand,
    DeviceView,
    Grant,
    Hold,
    InstanceView,
    ModelView,
    Reject,
    Release,
    Start,
    Waiting,
    Wake,
    World,
)
from core.states import COMING, FINAL, LEAVING, State

RETRY_SOON = 10.0
"""Seconds a client is told to wait when memory may come back by itself."""


def decide(world: World) -> list[Action]:
    """What to do now for every demand of the line, first come first served."""
    line = _Pass(world)
    for demand in world.demands:
        line.serve(demand)
    return line.actions


@dataclass(frozen=True, slots=True)
class _Option:
    """One way to get an instance for a demand: start this variant, or wake that instance."""

    variant: Variant
    need: Memory
    wake: str | None = None


class _Pass:
    """One walk along the line over a private copy of the world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.models: dict[str, ModelView] = dict(world.models)
        self.live = {i.id: i for i in world.instances if i.state not in FINAL}
        self.free = free_memory(world)
        self.held: set[str] = set()
        self.actions: list[Action] = []

    def serve(self, demand: Demand) -> None:
        view = self.models.get(demand.model)
        if view is None:
            self.actions.append(Reject(demand, "model_not_found", "it is no longer configured"))
            return
        mine = [i for i in self.live.values() if i.model == demand.model]
        if mine:
            self._use(demand, view, mine[0])
        elif view.blocked is not None:
            self.actions.append(Reject(demand, "model_failed", view.blocked))
        else:
            self._start(demand, view.model)

    # ---- the model has an instance -------------------------------------------------------------

    def _use(self, demand: Demand, view: ModelView, instance: InstanceView) -> None:
        limit = view.model.concurrency
        if instance.state is State.READY:
            if instance.id in self.held:
                self._wait(demand, "an older request for another model needs its memory")
            elif limit and instance.leases >= limit:
                self._wait(demand, f"all {limit} places are taken")
            else:
                self.live[instance.id] = replace(instance, leases=instance.leases + 1)
                self.actions.append(Grant(demand, instance.id))
        elif instance.state in COMING:
            self._wait(demand, "it is loading")
        elif instance.state is State.SLEEPING:
            held = instance.reserved
            grow = {d: mb - held.get(d, 0) for d, mb in instance.variant.memory.items()}
            self._make_room(demand, [_Option(instance.variant, grow, wake=instance.id)])
        elif view.blocked is not None:
            self.actions.append(Reject(demand, "model_failed", view.blocked))
        else:
            self._wait(demand, "it is stopping and starts again after that")

    # ---- it has none ---------------------------------------------------------------------------

    def _start(self, demand: Demand, model: Model) -> None:
        if not self.world.monitoring:
            self._begin(demand, _Option(model.variants[0], {}))
            return
        if self.world.devices is None:
            self._wait(demand, "the devices are being read for the first time")
            return
        online = [v for v in model.variants if not offline(v, self.world.devices)]
        if not online:
            self.actions.append(Reject(demand, "no_device", no_device(model, self.world.devices)))
            return
        options = [_Option(v, v.memory) for v in online if not self._too_large(v)]
        if not options:
            reason = too_large(model, online, self.world.devices)
            self.actions.append(Reject(demand, "insufficient_memory", reason))
            return
        self._make_room(demand, options)

    def _too_large(self, variant: Variant) -> bool:
        devices = self.world.devices or {}
        return any(mb > devices[d].total for d, mb in variant.memory.items() if d in devices)

    def _make_room(self, demand: Demand, options: list[_Option]) -> None:
        """Take the first option that fits; else evict idle ones; else wait for busy ones."""
        if not any(
            step(demand, option)
            for step in (self._fits, self._comes_back, self._evict)
            for option in options
        ):
            self._wait_for_busy(demand, options)

    def _fits(self, demand: Demand, option: _Option) -> bool:
        if shortfall(option.need, self.free.now):
            return False
        loading = self._loading_beside(option.variant)
        if loading:
            self._wait(demand, f"{loading.model} is loading on the same device", (loading.id,))
        else:
            self._begin(demand, option)
        self.free.take(option.need)
        return True

    def _comes_back(self, demand: Demand, option: _Option) -> bool:
        if shortfall(option.need, self.free.soon):
            return False
        self._wait(demand, "memory is being given back")
        self.free.take(option.need)
        return True

    def _evict(self, demand: Demand, option: _Option) -> bool:
        idle = [i for i in self._evictable(demand) if _is_idle(i)]
        victims = choose_victims(option.need, self.free.soon, idle, self.models)
        for victim in victims:
            self._release(victim, f"{demand.model} needs its memory")
        if victims:
            self._wait(demand, "memory is being given back", tuple(v.instance.id for v in victims))
            self.free.take(option.need)
        return bool(victims)

    def _wait_for_busy(self, demand: Demand, options: list[_Option]) -> None:
        """Only busy or loading instances, or other programs, stand in the way."""
        waited = self.world.now - demand.since
        for option in options:
            victims = choose_victims(
                option.need, self.free.soon, self._evictable(demand), self.models
            )
            if not victims:
                continue
            names = tuple(v.instance.id for v in victims)
            busy = ", ".join(v.instance.model for v in victims)
            self._wait(demand, f"waiting for {busy} to become idle", names)
            if waited > self.world.patience:
                for victim in victims:
                    self._hold(victim.instance, demand)
            self.free.take(option.need)
            return
        reason = taken_by_others(options[0].need, self.free.soon)
        if waited > self.world.settle:
            self.actions.append(Reject(demand, "insufficient_memory", reason, RETRY_SOON))
        else:
            self._wait(demand, reason)
            self.free.take(options[0].need)

    # ---- small steps ---------------------------------------------------------------------------

    def _begin(self, demand: Demand, option: _Option) -> None:
        if option.wake is not None:
            self.actions.append(Wake(option.wake))
            instance = self.live[option.wake]
            self.live[option.wake] = replace(instance, state=State.WAKING)
            return
        self.actions.append(Start(demand, option.variant))
        key = f"+{demand.model}"
        self.live[key] = InstanceView(
            id=key,
            model=demand.model,
            variant=option.variant,
            state=State.STARTING,
            reserved=option.need,
            counted=False,
        )

    def _hold(self, instance: InstanceView, demand: Demand) -> None:
        if instance.state is State.READY:  # one that still loads serves its first callers
            self.held.add(instance.id)
            self.actions.append(Hold(instance.id, demand))

    def _release(self, victim: Victim, reason: str) -> None:
        instance = victim.instance
        self.actions.append(Release(instance.id, reason, stop=victim.stop))
        self.free.give_soon(gain(instance, stop=victim.stop))
        self.live[instance.id] = replace(instance, state=State.DRAINING)

    def _wait(self, demand: Demand, why: str, blockers: tuple[str, ...] = ()) -> None:
        self.actions.append(Waiting(demand, why, blockers))

    def _loading_beside(self, variant: Variant) -> InstanceView | None:
        """An instance that is coming up on one of the variant's devices: loads go one by one."""
        devices = set(variant.devices) | set(variant.memory)
        for instance in self.live.values():
            if instance.state in COMING:
                theirs = set(instance.variant.devices) | set(instance.variant.memory)
                if devices & theirs:
                    return instance
        return None

    def _evictable(self, demand: Demand) -> list[InstanceView]:
        return [
            i
            for i in self.live.values()
            if i.model != demand.model
            and i.id not in self.held
            and i.state not in LEAVING
            and not self._pinned(i.model)
        ]

    def _pinned(self, name: str) -> bool:
        view = self.models.get(name)
        return view is not None and view.model.pinned


def _is_idle(instance: InstanceView) -> bool:
    return instance.leases == 0 and instance.state in (State.READY, State.SLEEPING)


def offline(variant: Variant, devices: Mapping[str, DeviceView]) -> list[str]:
    """The variant's devices that are not there now."""
    return [d for d in variant.devices if d not in devices or not devices[d].online]


def no_device(model: Model, devices: Mapping[str, DeviceView]) -> str:
    """A sentence: which devices keep every variant from running."""
    each = [
        f"variant '{v.name}' needs {', '.join(repr(d) for d in offline(v, devices))}"
        for v in model.variants
    ]
    return f"no variant has all its devices online: {'; '.join(each)}"


def too_large(model: Model, variants: list[Variant], devices: Mapping[str, DeviceView]) -> str:
    """A sentence with both numbers: what is asked and what the device has in all."""
    each = [
        f"variant '{v.name}' needs {mb} MB on '{d}', which has {devices[d].total} MB in all"
        for v in variants
        for d, mb in v.memory.items()
        if d in devices and mb > devices[d].total
    ]
    return f"it can never fit: {'; '.join(each)}"


def taken_by_others(need: Memory, free: Memory) -> str:
    """A sentence with both numbers, when unloading everything of ours would not be enough."""
    each = [
        f"{need[d]} MB are needed on '{d}' and only {max(0, free.get(d, 0))} MB are free"
        for d in shortfall(need, free)
    ]
    return f"{'; '.join(each)} (the rest is held by pinned models or other programs)"
