"""From the text of a config file to a Config, or to every problem in it at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from core.config.files import Files
from core.config.model import read_model
from core.config.parse import Tree, parse
from core.config.problem import Problem, Report, child, nearest, quote
from core.config.program import read_program
from core.config.schema import MODEL_KEYS, OLD_KEYS
from core.config.validate import unknown_key
from core.domain import Config, Model, Program

NO_ENV: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Loaded:
    """`config` is None exactly when there are problems; warnings stop nothing."""

    config: Config | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def load(
    text: str,
    path: Path,
    env: Mapping[str, str] = NO_ENV,
    platform: str = sys.platform,
    exists: Callable[[str], bool] | None = None,
) -> Loaded:
    """Read the whole text and judge all of it; never raises.

    `path` says where relative paths start and, by its ending, whether it is YAML. `exists` looks
    for scripts and plugin folders; without it all are taken to be there and no disk is touched.
    """
    report = Report()
    path = Path(os.path.abspath(path))
    tree = parse(text, path.suffix, report)
    config = None
    if tree is not None:
        files = Files(str(path.parent), platform, exists)
        program = read_program(tree.get("program", {}), env, files, report)
        models = _models(tree, program, files, report)
        if program is not None:
            _doubt(program, models, report)
            config = Config(path, program, MappingProxyType(models))
    if report.problems:
        config = None
    return Loaded(config, tuple(report.problems), tuple(report.warnings))


def _models(tree: Tree, program: Program | None, files: Files, report: Report) -> dict[str, Model]:
    alive_time = program.alive_time if program else None
    models: dict[str, Model] = {}
    owners: dict[str, str] = {}
    for key, raw in tree.items():
        if key in ("program", "$schema"):
            continue
        if not isinstance(key, str) or key in OLD_KEYS:
            unknown_key(key, (), "$", report)
        elif _means_program(key, raw):
            report.problem(child("$", key), 'unknown section; did you mean "program"?')
        else:
            model = read_model(key, raw, alive_time, files, report)
            _claim(key, raw, owners, report)
            if model is not None:
                models[model.name] = model
    return models


def _means_program(key: str, raw: object) -> bool:
    if isinstance(raw, dict) and raw.keys() & MODEL_KEYS:
        return False
    return nearest(key, ("program",)) is not None


def _claim(key: str, raw: object, owners: dict[str, str], report: Report) -> None:
    """Names must lead to one model; those of a model with other problems count as well."""
    for alias, place in _aliases(key, raw):
        owner = owners.setdefault(alias, key)
        if owner != key:
            report.problem(
                place, f"{quote(key)} and {quote(owner)} both have the name {quote(alias)}"
            )


def _aliases(key: str, raw: object) -> Iterator[tuple[str, str]]:
    written: Any = raw.get("aliases") if isinstance(raw, dict) else None
    path = child("$", key)
    if not isinstance(written, list) or not written:
        yield key, path
        return
    for index, alias in enumerate(written):
        if isinstance(alias, str):
            yield alias, child(child(path, "aliases"), index)


def _doubt(program: Program, models: Mapping[str, Model], report: Report) -> None:
    """Warn of what is allowed and yet hardly meant."""
    if not models and not report.problems:
        report.warn("$", "the file holds no model")
    users = {program.port: "the program itself"}
    for model in models.values():
        if model.port is None:
            continue
        user = users.setdefault(model.port, quote(model.key))
        if user != quote(model.key):
            report.warn(
                child(child("$", model.key), "port"),
                f"{model.port} is also the port of {user}: both cannot run at the same time",
            )
