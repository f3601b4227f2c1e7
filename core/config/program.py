"""The `program` section with the environment's overrides."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from core.config.files import Files
from core.config.problem import Report
from core.config.schema import ProgramSection
from core.config.validate import check, section
from core.domain import Program

OVERRIDES: Mapping[str, str] = MappingProxyType(
    {
        "LLM_MANAGER_HOST": "host",
        "LLM_MANAGER_PORT": "port",
        "LLM_MANAGER_ALIVE_TIME": "alive_time",
        "LLM_MANAGER_LOG_LEVEL": "log_level",
    }
)
"""Environment variable to the key of `program` that it overrides."""

_IGNORED = "TokenTracker"
"""Stood in the seed's format; says nothing to this version and harms nobody."""


def read_program(
    raw: object, env: Mapping[str, str], files: Files, report: Report
) -> Program | None:
    """The section as a Program, or None after reporting all that is wrong in file and `env`."""
    if isinstance(raw, dict):
        raw = _tidied(raw, report)
        folders = raw.get("script_dirs")
        for folder in folders if isinstance(folders, list) else ():
            if isinstance(folder, str):
                files.allow_scripts_in(folder)
    shape = section(raw, ProgramSection, "$.program", report)
    before = len(report.problems)
    overridden = _override(shape or ProgramSection(), env, report)
    if shape is None or len(report.problems) > before:
        return None
    return Program(
        host=overridden.host,
        port=overridden.port,
        alive_time=seconds(overridden.alive_time),
        monitoring=not overridden.disable_gpu_monitoring,
        device_plugin_dir=files.plugin_folder(overridden.device_plugin_dir),
        interface_plugin_dir=files.plugin_folder(overridden.interface_plugin_dir),
        engine_plugin_dir=files.plugin_folder(overridden.engine_plugin_dir),
        log_level=overridden.log_level,
        allowed_hosts=tuple(overridden.allowed_hosts),
        cors_origins=tuple(overridden.cors_origins),
    )


def seconds(minutes: float) -> float | None:
    """An `alive_time` of the file; None = never."""
    return minutes * 60 if minutes > 0 else None


def _tidied(raw: Mapping[object, object], report: Report) -> dict[object, object]:
    kept = {key: value for key, value in raw.items() if key != _IGNORED}
    if len(kept) < len(raw):
        report.warn(f"$.program.{_IGNORED}", "has no effect any more")
    if isinstance(level := kept.get("log_level"), str):
        kept["log_level"] = level.upper()
    return kept


def _override(shape: ProgramSection, env: Mapping[str, str], report: Report) -> ProgramSection:
    types = {field.name: field.type for field in msgspec.structs.fields(ProgramSection)}
    for variable, name in OVERRIDES.items():
        text = env.get(variable, "").strip()
        if not text:
            continue
        if name == "log_level":
            text = text.upper()
        try:
            value = msgspec.convert(text, types[name], strict=False)
        except (msgspec.ValidationError, UnicodeError):
            check(text, types[name], f"${variable}", report)
        else:
            shape = msgspec.structs.replace(shape, **{name: value})
    return shape
