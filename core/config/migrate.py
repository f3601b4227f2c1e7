"""Old config formats (0.1, 0.2, 1.0, seed, script_path, YAML 2.2) into the current one."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from core.config.load import load
from core.config.parse import Tree, parse
from core.config.problem import Report, child, found, quote
from core.config.schema import MODEL_KEYS, PROGRAM_KEYS, VARIANT_KEYS, VariantSection
from core.config.store import read_text, write_text
from core.errors import ConfigError

_RENAMED = {"openai_host": "host", "openai_port": "port"}
_DROPPED = {
    "webui_host": "the dashboard answers at the program's own host now",
    "webui_port": "the dashboard answers at the program's own port now",
    "TokenTracker": "it has no effect any more",
}
_VARIANT_RENAMED = {"required_gpus": "required_devices", "gpu_mem_mb": "memory_mb"}
_NOT_THE_NAME = re.compile(
    r"(?i)\b(nvidia|geforce|tesla)\b|\blaptop gpu\b|\bgpu\b|-(sxm\d?|pcie?)(-\d+\s*gb)?\b"
    r"|\b\d+\s*gb\b"
)


@dataclass(frozen=True, slots=True)
class Migrated:
    """The new text, and in sentences what was changed, dropped or guessed."""

    text: str
    notes: tuple[str, ...]


def device_name(old: str) -> str:
    """What the current device plugins call this GPU: "Tesla V100-SXM2-16GB" is "v100"."""
    name = " ".join(_NOT_THE_NAME.sub(" ", old).split()).strip(" -").lower()
    return name or old.strip().lower()


def migrate(text: str, path: Path) -> Migrated:
    """Rewrite the text of any known format; text that is current already comes back as it is.

    `path` tells whether it is YAML and where its scripts lie. Raises ConfigError if it cannot be
    read at all; what remains to be mended by hand is in the notes.
    """
    report = Report()
    tree = parse(text, path.suffix, report)
    if tree is None:
        raise ConfigError(
            f"{path} cannot be migrated: {report.problems[0]}",
            problems=tuple(map(str, report.problems)),
        )
    if path.suffix.lower() == ".json" and not load(text, path).problems:
        return Migrated(text, ("The file is in the current format already.",))
    return _Migration(path).run(tree)


def migrate_file(old: Path, new: Path | None = None, force: bool = False) -> tuple[Path, Migrated]:
    """Migrate the file `old` and write the outcome to `new` (default: config.json beside it).

    Raises ConfigError if there is such a file already and not `force`.
    """
    target = new or old.with_name("config.json")
    done = migrate(read_text(old), old)
    if target.exists() and not force:
        raise ConfigError(f"{target} exists already; --force overwrites it.")
    if target.absolute().parent != old.absolute().parent:
        note = f"Paths in it now start at {target.absolute().parent}."
        done = Migrated(done.text, (*done.notes, note))
    try:
        write_text(target, done.text)
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror or error}.") from error
    return target, done


class _Migration:
    """One tree on its way into the current format."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._notes: list[str] = []
        self._outside: dict[str, None] = {}

    def run(self, tree: Tree) -> Migrated:
        tree = dict(tree)
        models = tree.pop("Local-Models", {})
        if isinstance(models, dict) and models:
            self._notes.append("The models of Local-Models now stand at the top of the file.")
            tree |= models
        program = self._program(tree.pop("program", {}))
        new: Tree = {"program": program}
        for key, raw in tree.items():
            if key == "$schema":
                new = {"$schema": raw} | new
            elif isinstance(raw, dict):
                new[str(key)] = self._model(child("$", str(key)), raw)
            else:
                self._drop(child("$", key), raw, "it is no model")
        if self._outside:
            known = program.get("script_dirs")
            program["script_dirs"] = [*(known if isinstance(known, list) else []), *self._outside]
            self._notes.append(
                "Scripts outside the folder of the config file have to be allowed: "
                f"{', '.join(self._outside)} now stands in program.script_dirs."
            )
        try:
            text = json.dumps(new, indent=2, ensure_ascii=False, default=str, skipkeys=True) + "\n"
            text.encode()
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{self._path} cannot be written as JSON: {error}.") from error
        rest = load(text, self._path.with_suffix(".json")).problems
        self._notes += [f"To be mended by hand: {problem}" for problem in rest]
        return Migrated(text, tuple(self._notes))

    def _program(self, raw: object) -> Tree:
        new: Tree = {}
        for key, value in raw.items() if isinstance(raw, dict) else ():
            path = child("$.program", key)
            if key in _RENAMED:
                new[_RENAMED[key]] = value
                self._notes.append(f"{path} is called {_RENAMED[key]} now.")
            elif key in PROGRAM_KEYS:
                new[key] = value
            else:
                self._drop(path, value, _DROPPED.get(key, "the program has no such setting"))
        return new

    def _model(self, path: str, raw: Mapping[Any, Any]) -> Tree:
        new = {key: value for key, value in raw.items() if key in MODEL_KEYS}
        flat = {key: value for key, value in raw.items() if _is_of_variant(key)}
        if flat:
            variant = self._variant(path, flat)
            name = "-".join(_as_key(device) for device in variant["required_devices"])
            new[name] = variant
            self._notes.append(f"{path} had no variants: it has one named {name} now.")
        for key, value in raw.items():
            if key in MODEL_KEYS or key in flat:
                continue
            if isinstance(value, dict) and any(map(_is_of_variant, value)):
                new[str(key)] = self._variant(child(path, key), value)
            else:
                self._drop(child(path, key), value, "a model has no such setting")
        return new

    def _variant(self, path: str, raw: Mapping[Any, Any]) -> Tree:
        new: Tree = {}
        for key, value in raw.items():
            if _is_of_variant(key):
                new[_VARIANT_RENAMED.get(key, key)] = value
            else:
                self._drop(child(path, key), value, "a variant has no such setting")
        memory, devices = new.get("memory_mb"), new.get("required_devices")
        is_old = raw.keys() & _VARIANT_RENAMED.keys()
        if isinstance(memory, dict):
            new["memory_mb"] = self._memory(path, memory, bool(is_old))
        if isinstance(devices, list) and is_old:
            new["required_devices"] = [self._device(path, device) for device in devices]
        self._guess_devices(path, new)
        for key in ("bat_path", "script_path"):
            self._allow(new.get(key))
        order = [field.name for field in msgspec.structs.fields(VariantSection)]
        return {key: new[key] for key in order if key in new}

    def _memory(self, path: str, memory: Mapping[Any, Any], is_old: bool) -> Tree:
        new: Tree = {}
        for device, megabytes in memory.items():
            name = self._device(path, device) if is_old else str(device)
            if isinstance(megabytes, float | str):
                try:
                    number = math.ceil(float(megabytes))
                except (ValueError, OverflowError):
                    number = megabytes  # type: ignore[assignment]
                self._notes.append(f"{path}: {found(megabytes)} MB of {name} became {number}.")
                megabytes = number
            if name in new:
                self._notes.append(f"{path}: several GPUs are {name} now; only the last counts.")
            new[name] = megabytes
        return new

    def _device(self, path: str, old: object) -> str:
        name = device_name(str(old))
        if name != old:
            self._notes.append(f"{path}: the device {quote(str(old))} is called {quote(name)} now.")
        return name

    def _guess_devices(self, path: str, new: Tree) -> None:
        memory = new.get("memory_mb")
        devices = new.get("required_devices")
        if not devices or not isinstance(devices, list):
            sizes = memory if isinstance(memory, dict) else {}
            used = [name for name, size in sizes.items() if size]
            new["required_devices"] = used or ["cpu"]
            reason = "those with memory_mb" if used else "no device was named"
            self._notes.append(
                f"{path}: required_devices was guessed as {', '.join(map(quote, used or ['cpu']))}"
                f" ({reason})."
            )
        if memory is None:
            new["memory_mb"] = {}
            self._notes.append(f"{path}: memory_mb is empty; tell how much memory it takes.")

    def _allow(self, script: object) -> None:
        """What an old program started without asking goes on working, now declared."""
        if isinstance(script, str) and script:
            folder = str(self._path.absolute().parent)
            file = os.path.normpath(os.path.join(folder, script.replace("\\", "/")))
            if not file.startswith(folder.rstrip(os.sep) + os.sep):
                self._outside[os.path.dirname(file)] = None

    def _drop(self, path: str, value: object, reason: str) -> None:
        self._notes.append(f"{path} ({found(value)}) was left out: {reason}.")


def _is_of_variant(key: object) -> bool:
    return key in VARIANT_KEYS or key in _VARIANT_RENAMED


def _as_key(device: object) -> str:
    return str(device).upper().replace(" ", "")
