from __future__ import annotations

from typing import Any

import pytest

from core.config.problem import Report
from core.config.schema import ModelSection, ProgramSection, VariantSection
from core.config.validate import section


def problems(raw: object, kind: Any) -> list[str]:
    report = Report()
    shape = section(raw, kind, "$.x", report)
    assert (shape is None) == bool(report.problems)
    return [str(problem) for problem in report.problems]


def test_a_good_section_becomes_a_value() -> None:
    shape = section({"port": 9000}, ProgramSection, "$.program", Report())
    assert shape == ProgramSection(port=9000)


def test_every_fault_is_told_at_once() -> None:
    raw = {
        "host": 1,
        "port": 99999,
        "log_level": "LOUD",
        "allowed_hosts": ["ok", 2, "a\nb", ""],
        "prot": 1,
        "qqq": 1,
        7: 1,
    }
    said = problems(raw, ProgramSection)
    assert [line.split(":")[0] for line in said] == [
        "$.x.prot",
        "$.x.qqq",
        "$.x[7]",
        "$.x.host",
        "$.x.port",
        "$.x.log_level",
        "$.x.allowed_hosts[1]",
        "$.x.allowed_hosts[2]",
        "$.x.allowed_hosts[3]",
    ]
    whole = "\n".join(said)
    assert 'prot: unknown key; did you mean "port"?' in whole
    assert "qqq: unknown key; known are host, port" in whole
    assert "expected a whole number from 0 to 65535, found 99999" in whole


@pytest.mark.parametrize(
    ("raw", "kind", "said"),
    [
        ([], ProgramSection, "$.x: expected an object, found an empty list"),
        ({}, ModelSection, "$.x.mode: is missing: expected a text"),
        ({"mode": "\u202e"}, ModelSection, "no control characters"),
        ({"mode": "a\n"}, ModelSection, "no control characters"),
        ({"mode": " "}, ModelSection, "not blank"),
        ({"mode": "x" * 501}, ModelSection, "at most 500 letters"),
        ({"mode": "a", "port": True}, ModelSection, "from 1 to 65535 or null, found true"),
        ({"mode": "a", "start_timeout": 0}, ModelSection, "a number from 0.1 to 1000000"),
        ({"mode": "a", "alive_time": float("nan")}, ModelSection, "found nan"),
        ({"mode": "a", "env": {"A=B": "1"}}, ModelSection, '$.x.env["A=B"]: expected a name'),
        ({"mode": "a", "env": {"A": 1}}, ModelSection, "$.x.env.A: expected a text without NUL"),
        ({"mode": "a", "env": {"A": "\0"}}, ModelSection, "$.x.env.A: expected a text without NUL"),
        ({"mode": "a", "env": []}, ModelSection, "$.x.env: expected an object of name and value"),
        ({"mode": "a", "aliases": "a"}, ModelSection, 'expected a list of texts, found "a"'),
        (
            {"required_devices": [], "memory_mb": {}},
            VariantSection,
            "a list of one or more texts, found an empty list",
        ),
        ({"required_gpus": []}, VariantSection, "`python main.py migrate FILE` reads it"),
        ({"\ud800": 1}, ProgramSection, '$.x["\\ud800"]: unknown key'),
    ],
)
def test_one_fault(raw: object, kind: Any, said: str) -> None:
    lines = problems(raw, kind)
    assert len(lines) == 1
    assert said in lines[0]
