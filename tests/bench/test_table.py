"""The table: ratios per round, and the verdict of the short form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import short
from bench.scenarios import SHORT, Sample, Scenario
from bench.table import ratios, render, rows

ROUNDS = [
    {"llm-manager-3": {"cpu": 60.0}, "nginx": {"cpu": 10.0}, "direct": {"cpu": 0.0}},
    {"llm-manager-3": {"cpu": 90.0}, "nginx": {"cpu": 30.0}, "direct": {"cpu": 0.0}},
    {"llm-manager-3": {"cpu": 80.0}, "nginx": {"cpu": 20.0}, "direct": {"cpu": 0.0}},
]


def test_ratios_belong_to_a_round() -> None:
    assert ratios(ROUNDS, "cpu", "llm-manager-3", "nginx") == [3.0, 4.0, 6.0]


def test_a_row_has_the_middle_and_the_spread() -> None:
    (row,) = rows(Scenario("many", "", ("cpu",)), ROUNDS, "llm-manager-3")
    assert row == ("many", "CPU per item, µs", "-", "20.0", "80.0", "4.00", "3.00-6.00", "-")
    head, rule, line = render([row], "LLM-Manager").split("\n")
    assert len(head) == len(rule) == len(line)
    assert "LLM-Manager" in head


@pytest.mark.parametrize(("ours", "code"), [(7.0, 0), (14.0, 0), (16.0, 1)])
def test_half_as_much_again_is_too_much(
    ours: float, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    baseline = tmp_path / "baseline.json"
    baseline.write_text(json.dumps({scenario.name: 10.0 for scenario in SHORT}))
    monkeypatch.setattr(short, "BASELINE", baseline)
    rounds: list[dict[str, Sample]] = [
        {"llm-manager-3": {"cpu": ours}, "nginx": {"cpu": 3.0}},
        {"llm-manager-3": {"cpu": 99.0}, "nginx": {"cpu": 1.0}},
    ]
    assert short.run({scenario.name: rounds for scenario in SHORT}, keep=False) == code


def test_every_short_scenario_has_a_baseline() -> None:
    assert set(json.loads(short.BASELINE.read_text())) == {scenario.name for scenario in SHORT}
