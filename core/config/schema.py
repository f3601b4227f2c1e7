"""The shape of the config file, declared once: checks, defaults, editor schema and docs follow.

`python -m core.config.schema` writes `config.schema.json`, which editors use for completion.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec import field as named
from msgspec import inspect as kinds

# Control characters, line separators, bidirectional overrides and lone surrogates: they would
# forge log lines or break an encoder. A text of blanks only is no name either.
_VISIBLE = (
    r"^(?=[\s\S]*\S)(?![\s\S]*"
    r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff])"
)
Text = Annotated[str, Meta(min_length=1, max_length=500, pattern=_VISIBLE)]
EnvName = Annotated[
    str,
    Meta(
        min_length=1,
        pattern=r"^(?![\s\S]*[=\x00\ud800-\udfff])",
        extra={"words": "a name without = and NUL"},
    ),
]
EnvValue = Annotated[
    str, Meta(pattern=r"^(?![\s\S]*[\x00\ud800-\udfff])", extra={"words": "a text without NUL"})
]
Minutes = Annotated[float, Meta(ge=-1_000_000, le=100_000_000)]
Seconds = Annotated[float, Meta(ge=0, le=1_000_000)]
Megabytes = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Port = Annotated[int, Meta(ge=1, le=65535)]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


def says(description: str) -> Meta:
    return Meta(description=description)


class ProgramSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `program` section: settings of the whole program."""

    host: Annotated[Text, says("Address to listen on; 127.0.0.1 = this machine only.")] = "0.0.0.0"
    port: Annotated[
        int, Meta(ge=0, le=65535, description="Port of API and dashboard; 0 = a free one.")
    ] = 8080
    alive_time: Annotated[
        Minutes, says("Minutes without a request before a model is unloaded; 0 or less = never.")
    ] = 60.0
    disable_gpu_monitoring: Annotated[
        bool, says("No device checks at all: the first variant is started, you are in control.")
    ] = named(default=False, name="Disable_GPU_monitoring")
    device_plugin_dir: Annotated[Text, says("Folder of the device plugins.")] = "plugins/devices"
    interface_plugin_dir: Annotated[Text, says("Folder of the interface plugins.")] = (
        "plugins/interfaces"
    )
    engine_plugin_dir: Annotated[Text, says("Folder of the engine plugins.")] = "plugins/engines"
    script_dirs: Annotated[
        list[Text],
        says("Folders besides that of the config file from which scripts may be started."),
    ] = []
    log_level: Annotated[LogLevel, says("How much the program log tells.")] = "INFO"
    allowed_hosts: Annotated[
        list[Text], says("More host names under which browsers may reach the dashboard.")
    ] = []
    cors_origins: Annotated[
        list[Text], says("Web pages (origins) that may call the API from a browser.")
    ] = []


class ModelSection(Struct, frozen=True, kw_only=True):
    """A model: the key is any name; every other object in it is a variant, tried in file order."""

    aliases: Annotated[
        list[Text], says("Names that clients use; the first is the primary one. Default: the key.")
    ] = []
    mode: Annotated[Text, says("API kind: the name of an interface plugin, in any case.")]
    port: Annotated[
        Port | None, says("Port that the script listens on; null = a free one, as LLM_PORT.")
    ] = None
    auto_start: Annotated[bool, says("Start together with the program.")] = False
    engine: Annotated[Text, says("The engine plugin that starts it.")] = "script"
    alive_time: Annotated[
        Minutes | None, says("Minutes idle before the unload; null = as the program's.")
    ] = None
    start_timeout: Annotated[
        float, Meta(ge=0.1, le=1_000_000, description="Seconds a start may take.")
    ] = 300.0
    stop_timeout: Annotated[Seconds, says("Seconds to end by itself before it is killed.")] = 10.0
    pinned: Annotated[bool, says("Unloaded by nothing but a person or the end of the program.")] = (
        False
    )
    priority: Annotated[
        int,
        Meta(
            ge=-1_000_000,
            le=1_000_000,
            description="Higher goes first in the line and is unloaded last.",
        ),
    ] = 0
    concurrency: Annotated[Count, says("Requests at the same time; 0 = no limit.")] = 0
    queue_limit: Annotated[Count, says("Requests that may stand in line; 0 = no limit.")] = 0
    upstream_model: Annotated[
        Text | None, says("Model name sent to the server; null = the client's.")
    ] = None
    env: Annotated[
        dict[EnvName, EnvValue], says("Environment variables for the start-up script.")
    ] = {}


class VariantSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to run the model."""

    required_devices: Annotated[
        list[Text], Meta(min_length=1, description="Devices that must all be online.")
    ]
    bat_path: Annotated[
        Text | None, says("Start-up script; elsewhere than on Windows the .sh beside the .bat.")
    ] = None
    script_path: Annotated[Text | None, says("The same under another name: give one.")] = None
    memory_mb: Annotated[dict[Text, Megabytes], says("Megabytes it takes on each device.")]


SECTIONS: tuple[tuple[str, type[Struct]], ...] = (
    ("program", ProgramSection),
    ("model", ModelSection),
    ("variant", VariantSection),
)

PROGRAM_KEYS = frozenset(field.encode_name for field in msgspec.structs.fields(ProgramSection))
MODEL_KEYS = frozenset(field.encode_name for field in msgspec.structs.fields(ModelSection))
VARIANT_KEYS = frozenset(field.encode_name for field in msgspec.structs.fields(VariantSection))
OLD_KEYS = frozenset(
    {
        *("openai_host", "openai_port", "webui_host", "webui_port"),
        *("required_gpus", "gpu_mem_mb", "Local-Models"),
    }
)
"""Keys by which a file of an old format is known."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the reference table in the docs."""

    section: str
    key: str
    type: str
    default: str
    description: str


def reference() -> tuple[Row, ...]:
    """Every key with its type, its default as JSON (or "required") and what it does."""
    rows = []
    for section, kind in SECTIONS:
        for field in msgspec.structs.fields(kind):
            default = "required" if field.required else json.dumps(_default(field))
            rows.append(
                Row(section, field.encode_name, wording(field.type), default, _description(field))
            )
    return tuple(rows)


def wording(annotation: Any) -> str:
    """What a value of this type is, in plain words."""
    return _words(kinds.type_info(annotation))


def _words(kind: kinds.Type) -> str:
    match kind:
        case kinds.Metadata(extra={"words": str(words)}):
            return words
        case kinds.Metadata(type=inner):
            return _words(inner)
        case kinds.BoolType():
            return "true or false"
        case kinds.IntType(ge=low, le=high):
            return f"a whole number from {low} to {high}"
        case kinds.FloatType(ge=low, le=high):
            return f"a number from {low:.10g} to {high:.10g}"
        case kinds.StrType():
            return "a text"
        case kinds.NoneType():
            return "null"
        case kinds.LiteralType(values=values):
            return f"one of {', '.join(map(json.dumps, values))}"
        case kinds.ListType(item_type=item, min_length=least):
            items = _plural(_words(item))
            return f"a list of one or more {items}" if least else f"a list of {items}"
        case kinds.DictType(value_type=value):
            return f"an object of name and value, each {_words(value)}"
        case kinds.UnionType(types=types):
            return " or ".join(sorted(map(_words, types), key="null".__eq__))
    raise TypeError(f"no words for {kind}")


def _plural(words: str) -> str:
    return words.removeprefix("a ") + "s"


def _description(field: msgspec.structs.FieldInfo) -> str:
    kind = kinds.type_info(field.type)
    extra = kind.extra_json_schema if isinstance(kind, kinds.Metadata) else None
    return str((extra or {})["description"])


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default is msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def editor_schema() -> str:
    """The JSON Schema of the whole file, as text."""
    _, parts = msgspec.json.schema_components(
        [kind for _, kind in SECTIONS], ref_template="#/$defs/{name}"
    )
    parts["ModelSection"]["additionalProperties"] = {"$ref": "#/$defs/VariantSection"}
    parts["VariantSection"]["oneOf"] = [{"required": ["bat_path"]}, {"required": ["script_path"]}]
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "LLM-Manager config.json",
        "type": "object",
        "properties": {
            "$schema": {"type": "string"},
            "program": {"$ref": "#/$defs/ProgramSection"},
        },
        "additionalProperties": {"$ref": "#/$defs/ModelSection"},
        "$defs": parts,
    }
    return json.dumps(whole, indent=2) + "\n"


if __name__ == "__main__":
    target = Path(__file__).parents[2] / "config.schema.json"
    target.write_text(editor_schema(), encoding="utf-8", newline="\n")
