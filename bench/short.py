"""The short form: has the CPU time per item, against nginx, grown by half since the baseline?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.scenarios import SHORT, Sample

BASELINE = Path(__file__).with_name("baseline.json")
"""Scenario to the ratio that was usual when it was last looked at."""
TOO_MUCH = 1.5
OURS = "llm-manager-3"


def cheapest(rounds: Sequence[Mapping[str, Sample]], name: str) -> float:
    return min(at[name]["cpu"] for at in rounds)


def run(results: Mapping[str, Sequence[Mapping[str, Sample]]], *, keep: bool) -> int:
    """Compare with the baseline, or become it; 1 if something has become too expensive.

    Neighbours on the machine only ever add to a cost, so everybody's best round counts.
    """
    found = {
        scenario.name: cheapest(results[scenario.name], OURS)
        / cheapest(results[scenario.name], "nginx")
        for scenario in SHORT
    }
    if keep:
        BASELINE.write_text(json.dumps({k: round(v, 2) for k, v in found.items()}, indent=1) + "\n")
        return 0
    usual = json.loads(BASELINE.read_text())
    worse = {name: ratio for name, ratio in found.items() if ratio > TOO_MUCH * usual[name]}
    print("\nCPU per item, times nginx (best round):")
    for name, ratio in found.items():
        verdict = "TOO MUCH" if name in worse else "ok"
        print(f"  {name:32} {ratio:6.2f}  usual {usual[name]:6.2f}  {verdict}")
    return 1 if worse else 0
