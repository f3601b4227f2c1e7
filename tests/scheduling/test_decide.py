"""The rules of the scheduler, one row each."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from core.domain import Model
from core.scheduling.decide import decide
from core.scheduling.world import (
    Action,
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
from core.states import State
from tests.scheduling.worlds import device, instance, model, variant, world

A, B, C = model("a"), model("b"), model("c")
ONE = {"gpu": device(16)}


def told(actions: Sequence[Action]) -> list[str]:
    """Actions in short words: "start a v", "release b#1", "wait a: ..."."""
    return [_word(action) for action in actions]


def _word(action: Action) -> str:
    match action:
        case Grant(demand, _):
            return f"grant {demand.model}"
        case Start(demand, variant):
            return f"start {demand.model} {variant.name}"
        case Wake(instance):
            return f"wake {instance}"
        case Release(instance, _, stop):
            return f"{'stop' if stop else 'release'} {instance}"
        case Hold(instance, _):
            return f"hold {instance}"
        case Reject(demand, code):
            return f"reject {demand.model} {code}"
        case Waiting(demand):
            return f"wait {demand.model}"


def reasons(actions: Sequence[Action]) -> str:
    return " | ".join(getattr(a, "reason", getattr(a, "why", "")) for a in actions)


def test_cold_model_starts_once_for_everybody() -> None:
    assert told(decide(world([A], ["a"] * 3, devices=ONE))) == ["start a v", "wait a", "wait a"]


def test_ready_instance_is_granted_up_to_its_limit() -> None:
    limited = model("a", concurrency=2)
    actions = decide(world([limited], ["a"] * 3, devices=ONE, instances=[instance(limited)]))
    assert told(actions) == ["grant a", "grant a", "wait a"]


def test_without_limit_everybody_is_granted() -> None:
    assert (
        told(decide(world([A], ["a"] * 5, devices=ONE, instances=[instance(A, leases=7)])))
        == ["grant a"] * 5
    )


def test_unknown_model_is_refused() -> None:
    assert told(decide(world([], ["a"], devices=ONE))) == ["reject a model_not_found"]


def test_no_reading_yet_means_waiting() -> None:
    assert told(decide(world([A], ["a"], devices=None))) == ["wait a"]


def test_offline_and_unknown_devices_are_named() -> None:
    off = {"gpu": device(online=False)}
    actions = decide(world([A], ["a"], devices=off))
    assert told(actions) == ["reject a no_device"]
    assert "'gpu'" in reasons(actions)
    assert told(decide(world([A], ["a"], devices={}))) == ["reject a no_device"]


def test_never_fitting_need_is_refused_at_once_with_both_numbers_and_evicts_nobody() -> None:
    big = model("big", variant(gpu=17))
    actions = decide(world([big, A], ["big"], devices=ONE, instances=[instance(A)]))
    assert told(actions) == ["reject big insufficient_memory"]
    assert "17 MB" in reasons(actions)
    assert "16 MB" in reasons(actions)


def test_first_variant_whose_devices_are_online_and_that_fits() -> None:
    two = model("two", variant("both", gpu=10, v100=10), variant("one", gpu=5))
    both = {"gpu": device(16), "v100": device(16)}
    assert told(decide(world([two], ["two"], devices=both))) == ["start two both"]
    gone = {"gpu": device(16), "v100": device(16, online=False)}
    assert told(decide(world([two], ["two"], devices=gone))) == ["start two one"]
    full = {"gpu": device(16), "v100": device(16, free=2)}
    assert told(decide(world([two], ["two"], devices=full))) == ["start two one"]


def test_a_variant_too_large_for_its_device_is_passed_over() -> None:
    two = model("two", variant("huge", gpu=99), variant("fine", gpu=5))
    assert told(decide(world([two], ["two"], devices=ONE))) == ["start two fine"]


def test_without_monitoring_the_first_variant_starts_whatever_the_devices_say() -> None:
    actions = decide(world([A], ["a"], devices={}, monitoring=False))
    assert told(actions) == ["start a v"]


def test_idle_model_makes_room() -> None:
    assert told(decide(world([A, B], ["b"], devices=ONE, instances=[instance(A)]))) == [
        "release a#1",
        "wait b",
    ]


def test_nobody_is_evicted_twice_for_one_demand() -> None:
    """While the first victim is on its way out, its memory counts as coming."""
    small = [model(n, variant(gpu=8)) for n in "abc"]
    instances = [instance(small[0], State.DRAINING), instance(small[1])]
    assert told(decide(world(small, ["c"], devices=ONE, instances=instances))) == ["wait c"]


def test_memory_that_the_driver_still_shows_as_taken_evicts_nobody() -> None:
    """A dead process gives its memory back late; the next victim must not pay for that."""
    small = [model(n, variant(gpu=8)) for n in "bc"]
    busy_driver = {"gpu": device(16, free=0)}
    late = world(
        small, ["c"], devices=busy_driver, instances=[instance(small[0])], returning={"gpu": 8}
    )
    assert told(decide(late)) == ["wait c"]
    assert told(decide(replace(late, returning={}))) == ["release b#1", "wait c"]


def test_least_recently_used_goes_first_and_only_as_many_as_needed() -> None:
    small = [model(n, variant(gpu=5)) for n in "abcd"]
    instances = [instance(m, idle_since=t) for m, t in zip(small, (30, 10, 20), strict=False)]
    actions = decide(world(small, ["d"], devices=ONE, instances=instances))
    assert told(actions) == ["release b#1", "wait d"]


def test_a_small_old_victim_is_spared_when_a_larger_one_is_needed_anyway() -> None:
    little, large, new = model("l", variant(gpu=2)), model("g", variant(gpu=14)), model("n")
    instances = [instance(little, idle_since=1), instance(large, idle_since=2)]
    actions = decide(world([little, large, new], ["n"], devices=ONE, instances=instances))
    assert told(actions) == ["release g#1", "wait n"]


def test_low_priority_goes_before_least_recently_used() -> None:
    dear, cheap = model("dear", variant(gpu=8), priority=5), model("cheap", variant(gpu=8))
    instances = [instance(dear, idle_since=1), instance(cheap, idle_since=50)]
    actions = decide(
        world([dear, cheap, C], ["c"], devices={"gpu": device(18)}, instances=instances)
    )
    assert told(actions) == ["release cheap#1", "wait c"]


def test_pinned_model_is_never_evicted_and_nobody_else_in_vain() -> None:
    pinned, other = model("p", variant(gpu=8), pinned=True), model("o", variant(gpu=4))
    full = model("f", variant(gpu=12))
    instances = [instance(pinned), instance(other)]
    first = world([pinned, other, full], ["f"], devices=ONE, instances=instances)
    assert told(decide(first)) == ["wait f"]
    later = replace(first, now=first.now + 11)
    assert told(decide(later)) == ["reject f insufficient_memory"]


def test_other_programs_memory_is_waited_for_and_then_refused_with_both_numbers() -> None:
    taken = {"gpu": device(16, free=3)}
    first = world([A], ["a"], devices=taken)
    assert told(decide(first)) == ["wait a"]
    actions = decide(replace(first, now=first.now + 11))
    assert told(actions) == ["reject a insufficient_memory"]
    assert "10 MB" in reasons(actions)
    assert "3 MB" in reasons(actions)


def test_busy_model_is_waited_for_and_after_patience_held_but_never_released() -> None:
    busy = [instance(A, leases=1)]
    early = world([A, B], ["b", "a"], devices=ONE, instances=busy)
    assert told(decide(early)) == ["wait b", "grant a"]
    late = replace(early, now=early.now + 31)
    assert told(decide(late)) == ["wait b", "hold a#1", "wait a"]
    idle_at_last = replace(late, instances=(instance(A),))
    assert told(decide(idle_at_last))[:2] == ["release a#1", "wait b"]


def test_an_older_demand_for_the_busy_model_itself_is_still_granted() -> None:
    late = world([A, B], [("a", 0.0), ("b", 1.0)], devices=ONE, instances=[instance(A, leases=1)])
    assert told(decide(late)) == ["grant a", "wait b", "hold a#1"]


def test_memory_meant_for_an_older_demand_is_not_offered_to_a_younger_one() -> None:
    small = model("s", variant(gpu=6))
    instances = [instance(A, leases=1)]
    actions = decide(world([A, B, small], ["b", "s"], devices=ONE, instances=instances))
    assert told(actions) == ["wait b", "wait s"]


def test_loads_on_one_device_go_one_after_another() -> None:
    small = [model(n, variant(gpu=4)) for n in "ab"]
    assert told(decide(world(small, ["a", "b"], devices=ONE))) == ["start a v", "wait b"]


def test_loads_on_different_devices_go_side_by_side() -> None:
    pair = [model("a", variant(gpu=4)), model("b", variant(v100=4))]
    both = {"gpu": device(16), "v100": device(16)}
    assert told(decide(world(pair, ["a", "b"], devices=both))) == ["start a v", "start b v"]


def test_a_loading_instance_is_neither_evicted_nor_held() -> None:
    loading = [instance(A, State.STARTING)]
    late = world([A, B], [("b", 0.0)], devices={"gpu": device(16, free=16)}, instances=loading)
    assert told(decide(late)) == ["wait b"]


def test_demand_for_a_leaving_instance_waits_for_its_end() -> None:
    for state in (State.DRAINING, State.STOPPING):
        actions = decide(world([A], ["a"], devices=ONE, instances=[instance(A, state)]))
        assert told(actions) == ["wait a"]


def test_cooldown_answers_at_once_with_the_reason() -> None:
    cooling = ModelView(A, blocked="exit code 3")
    actions = decide(world([cooling], ["a", "a"], devices=ONE))
    assert told(actions) == ["reject a model_failed"] * 2
    assert "exit code 3" in reasons(actions)


def test_sleeping_instance_wakes_when_its_growth_fits() -> None:
    asleep = instance(A, State.SLEEPING, reserved={"gpu": 1}, sleep_memory={"gpu": 1})
    assert told(decide(world([A], ["a", "a"], devices=ONE, instances=[asleep]))) == [
        "wake a#1",
        "wait a",
    ]


def test_sleep_is_preferred_and_stop_is_chosen_when_sleep_frees_too_little() -> None:
    sleeper = instance(A, sleep_memory={"gpu": 1})
    assert told(decide(world([A, B], ["b"], devices=ONE, instances=[sleeper]))) == [
        "release a#1",
        "wait b",
    ]
    full = model("f", variant(gpu=16))
    assert told(decide(world([A, full], ["f"], devices=ONE, instances=[sleeper]))) == [
        "stop a#1",
        "wait f",
    ]


def test_sleeping_instances_are_stopped_to_make_room() -> None:
    asleep = instance(A, State.SLEEPING, reserved={"gpu": 8}, sleep_memory={"gpu": 8})
    assert told(decide(world([A, B], ["b"], devices=ONE, instances=[asleep]))) == [
        "stop a#1",
        "wait b",
    ]


def test_promised_memory_is_not_offered_twice() -> None:
    """The driver does not show yet what a loading model will take."""
    small = [model(n, variant(gpu=9)) for n in "ab"]
    loading = instance(small[0], State.STARTING)
    fresh = {"gpu": device(16, free=16)}
    assert told(decide(world(small, ["b"], devices=fresh, instances=[loading]))) == ["wait b"]


def test_hundreds_of_random_worlds_keep_the_book() -> None:
    """No start exceeds a device, no busy or pinned one is released, every demand gets a word."""
    dice = random.Random(7)
    for _ in range(600):
        models = [
            model(
                f"m{n}",
                variant("x", gpu=dice.randint(1, 12)),
                variant("y", v100=dice.randint(1, 12)),
                pinned=dice.random() < 0.2,
                priority=dice.randint(0, 2),
                concurrency=dice.randint(0, 2),
            )
            for n in range(6)
        ]
        instances = _random_instances(dice, models)
        devices = {"gpu": device(16), "v100": device(16, online=dice.random() < 0.8)}
        line: list[str | tuple[str, float]] = [
            (dice.choice(models).name, dice.uniform(0, 100)) for _ in range(dice.randint(0, 8))
        ]
        seen = world(models, line, devices=devices, instances=instances)
        _check(seen, decide(seen))


def _random_instances(dice: random.Random, models: list[Model]) -> list[InstanceView]:
    left = {"gpu": 16, "v100": 16}
    living = []
    for of in models:
        chosen = dice.randrange(2)
        name, need = next(iter(of.variants[chosen].memory.items()))
        if need > left[name] or dice.random() < 0.4:
            continue
        left[name] -= need
        state = dice.choice([State.READY] * 4 + [State.STARTING, State.DRAINING, State.STOPPING])
        leases = dice.choice([0, 0, 1, 3]) if state is State.READY else 0
        living.append(instance(of, state, leases=leases, variant=chosen, idle_since=dice.random()))
    return living


def _check(seen: World, actions: list[Action]) -> None:
    reserved = {"gpu": 0, "v100": 0}
    by_id = {i.id: i for i in seen.instances}
    for living in seen.instances:
        for name, need in living.reserved.items():
            reserved[name] += need
    words = told(actions)
    for action in actions:
        if isinstance(action, Start):
            for name, need in action.variant.memory.items():
                reserved[name] += need
        if isinstance(action, Release):
            victim = by_id[action.instance]
            assert victim.leases == 0
            assert not seen.models[victim.model].model.pinned
            assert victim.state in (State.READY, State.SLEEPING)
    assert all(megabytes <= 16 for megabytes in reserved.values()), words
    answered = {a.demand for a in actions if isinstance(a, Grant | Start | Reject | Waiting)}
    assert set(seen.demands) <= answered, words
