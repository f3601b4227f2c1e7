"""One model of the file with its variants."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from core.config.files import Files, ScriptRefused
from core.config.problem import Report, child, found, nearest, quote
from core.config.program import seconds
from core.config.schema import (
    MODEL_KEYS,
    OLD_KEYS,
    VARIANT_KEYS,
    ModelSection,
    Text,
    VariantSection,
)
from core.config.validate import check, section, unknown_key
from core.domain import Model, Variant


def read_model(
    key: str, raw: object, alive_time: float | None, files: Files, report: Report
) -> Model | None:
    """The model, or None after reporting all that is wrong with it.

    `alive_time`: what the program gives to models that have none of their own.
    """
    path = child("$", key)
    before = len(report.problems)
    check(key, Text, path, report)
    if not isinstance(raw, dict):
        report.problem(path, f"expected an object with a model, found {found(raw)}")
        return None
    own = {name: value for name, value in raw.items() if name in MODEL_KEYS}
    shape = section(own, ModelSection, path, report)
    variants = _variants(path, raw, files, report)
    if shape is None or len(report.problems) > before:
        return None
    aliases = tuple(dict.fromkeys(shape.aliases)) or (key,)
    return Model(
        name=aliases[0],
        key=key,
        aliases=aliases,
        interface=shape.mode.strip(),
        variants=variants,
        port=shape.port,
        auto_start=shape.auto_start,
        engine=shape.engine,
        alive_time=alive_time if shape.alive_time is None else seconds(shape.alive_time),
        start_timeout=shape.start_timeout,
        stop_timeout=shape.stop_timeout,
        pinned=shape.pinned,
        priority=shape.priority,
        concurrency=shape.concurrency,
        queue_limit=shape.queue_limit,
        upstream_model=shape.upstream_model,
        env=MappingProxyType(shape.env),
    )


def _variants(
    path: str, raw: Mapping[Any, object], files: Files, report: Report
) -> tuple[Variant, ...]:
    before = len(report.problems)
    variants = []
    for name, value in raw.items():
        if name in MODEL_KEYS:
            continue
        if isinstance(name, str) and isinstance(value, dict) and _means_variant(name, value):
            variant = _variant(name, value, child(path, name), files, report)
            if variant is not None:
                variants.append(variant)
        elif name in VARIANT_KEYS:
            if not raw.keys() & OLD_KEYS:
                report.problem(child(path, name), "belongs into a variant: an object in the model")
        else:
            unknown_key(name, sorted(MODEL_KEYS), path, report)
    if not variants and len(report.problems) == before:
        report.problem(
            path, "has no variant: an object with required_devices, bat_path and memory_mb"
        )
    return tuple(variants)


def _means_variant(name: str, value: Mapping[Any, object]) -> bool:
    """Also one whose `required_devices` was forgotten, unless it rather is a misspelt key."""
    if value.keys() & (VARIANT_KEYS | OLD_KEYS):
        return True
    return name not in OLD_KEYS and name not in VARIANT_KEYS and not nearest(name, MODEL_KEYS)


def _variant(
    name: str, raw: Mapping[Any, object], path: str, files: Files, report: Report
) -> Variant | None:
    before = len(report.problems)
    check(name, Text, path, report)
    shape = section(raw, VariantSection, path, report)
    script = _script(raw, path, files, report)
    if shape is None or script is None or len(report.problems) > before:
        return None
    devices = tuple(dict.fromkeys(device.strip().lower() for device in shape.required_devices))
    memory = _memory(shape.memory_mb, devices, child(path, "memory_mb"), report)
    return Variant(name=name, devices=devices, memory=MappingProxyType(memory), script=script)


def _memory(
    written: Mapping[str, int], devices: tuple[str, ...], path: str, report: Report
) -> dict[str, int]:
    memory: dict[str, int] = {}
    for name, megabytes in written.items():
        device = name.strip().lower()
        if device in memory:
            report.problem(child(path, name), "names a device twice: case does not matter")
        elif device not in devices:
            report.warn(child(path, name), f"{quote(device)} is not in required_devices")
        memory[device] = megabytes
    for device in devices:
        if device not in memory:
            report.warn(path, f"says nothing of {quote(device)}: 0 MB are reserved there")
    return memory


def _script(raw: Mapping[Any, object], path: str, files: Files, report: Report) -> Path | None:
    """Also looked at when other parts of the variant are wrong: all problems at once."""
    given = [key for key in ("bat_path", "script_path") if raw.get(key) is not None]
    if len(given) == 2:
        report.problem(path, "has bat_path and script_path: give one of them")
        return None
    if not given:
        if not raw.keys() & OLD_KEYS:
            report.problem(child(path, "bat_path"), "is missing: which script starts the model?")
        return None
    place, written = child(path, given[0]), raw[given[0]]
    if not isinstance(written, str) or not written.strip():
        return None  # reported with the shape
    try:
        file = files.script(written)
    except ScriptRefused as refusal:
        report.problem(place, f"{quote(written)} {refusal}")
        return None
    if files.is_missing(file):
        report.warn(place, f"there is no file {file}: the model cannot be started")
    return Path(file)
