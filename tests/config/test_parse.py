from __future__ import annotations

import subprocess
import sys

import pytest

from core.config.parse import parse
from core.config.problem import Report


def problems(text: str, suffix: str = ".json") -> list[str]:
    report = Report()
    tree = parse(text, suffix, report)
    assert (tree is None) == bool(report.problems)
    return [str(problem) for problem in report.problems]


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".yml", ".YAML"])
def test_a_tree_comes_out(suffix: str) -> None:
    assert parse('\ufeff{"a": {"b": [1, true, null]}}', suffix, Report()) == {
        "a": {"b": [1, True, None]}
    }


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["line 1, column 1"]),
        ('{\n  "a": 1\n  "b": 2\n}', ["line 3, column 3", "',' delimiter"]),
        ('{"a": 1,}', ["line 1", "a comma too many"]),
        ('{"a": "x\\z"}', ["a backslash in JSON is written \\\\"]),
        ('{"a": "x\n"}', ["is a quotation mark missing?"]),
        ("{} {}", ["after the closing brace"]),
        ('{"a": NaN}', ["NaN"]),
        ('{"a": ' + "9" * 5000 + "}", ["a value cannot be read"]),
        ("[" * 100_000, ["nested too deeply"]),
        ('{"a": "\ud800"}', ["surrogates not allowed"]),
        ("[1]", ["expected an object of models, found a list"]),
        ("null", ["found null"]),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', ["$.b.c: this key stands here more than once"]),
        ('{"a": [{"c": 1, "c": 2}]}', ["$.a[0].c"]),
        ('{"a": {"c": 1, "c": 2}, "a": 3}', ["$.a: this key", "1 more keys"]),
    ],
)
def test_json_faults_have_a_place(text: str, parts: list[str]) -> None:
    said = "\n".join(problems(text))
    assert all(part in said for part in parts), said


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a: [", "at line"),
        ("a: 1\nb: 2\na: 3", 'line 3: "a" stands here twice'),
        ("x: {a: 1, a: 2}", '"a" stands here twice'),
        ("\tb", "cannot start any token"),
        ("a: !!python/object:os.system {}", "could not determine a constructor"),
        ("a: 2001-13-01", "month must be in"),
        ("[" * 5000, "not valid YAML"),
        ("{a: " * 100_000, "nested too deeply"),
        ("!!float ''", "IndexError"),
        ("!!timestamp x", "AttributeError"),
        ("!!bool x", "KeyError"),
        ("? [a]\n: b", "unhashable"),
        ("- a", "expected an object of models, found a list"),
    ],
)
def test_yaml_faults_are_problems(text: str, part: str) -> None:
    said = "\n".join(problems(text, ".yaml"))
    assert part in said or "nested too deeply" in said, said


def test_yaml_merge_keys_may_be_overridden() -> None:
    tree = parse("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}", ".yaml", Report())
    assert tree == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}


def test_only_yaml_files_pay_for_yaml() -> None:
    code = "import sys, core.config.load, core.catalog; sys.exit('yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
