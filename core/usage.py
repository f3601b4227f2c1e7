"""Token counts and times that a server tells at the end of an answer."""

from __future__ import annotations

import json
import re
from typing import TypeGuard

REACH = 16 * 1024
"""How many bytes at the end of an answer are looked at."""
OPENING = 4 * 1024
"""And how many at its beginning: embeddings come after their usage."""
_OBJECT = 4 * 1024

_CHUNK_BORDER = re.compile(rb"\r\n[0-9A-Fa-f]{1,15}[ \t]*(?:;[^\r\n]*)?\r\n")
_COUNTS = {
    "prompt_tokens": "prompt_tokens",
    "completion_tokens": "completion_tokens",
    "total_tokens": "total_tokens",
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
}
_decode = json.JSONDecoder().raw_decode


def without_borders(data: bytes) -> bytes:
    """A piece of a chunked body without the lines between its chunks.

    JSON and event streams hold no such line themselves: in a string a line end is escaped.
    """
    return _CHUNK_BORDER.sub(b"", data)


def read_usage(opening: bytes, ending: bytes) -> dict[str, float]:
    """OpenAI's `usage` and llama.cpp's `timings`, flat; empty where the server told neither."""
    found: dict[str, float] = {}
    usage = _last_object(ending, b'"usage"') or _last_object(opening, b'"usage"')
    if usage is not None:
        for name, value in usage.items():
            if name in _COUNTS and _is_number(value):
                found[_COUNTS[name]] = value
        for details in (usage.get("prompt_tokens_details"), usage.get("input_tokens_details")):
            cached: object = details.get("cached_tokens") if isinstance(details, dict) else None
            if _is_number(cached):
                found["cached_tokens"] = cached
    timings = _last_object(ending, b'"timings"')
    if timings is not None:
        for name, value in timings.items():
            if _is_number(value):
                found[name] = value
        if "cache_n" in found:
            found.setdefault("cached_tokens", found["cache_n"])
    return found


def _is_number(value: object) -> TypeGuard[float]:
    """A count or a time: not negative, finite, no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15


def _last_object(data: bytes, key: bytes) -> dict[str, object] | None:
    """The last JSON object under `key`; inside a string the key's quotes would be escaped."""
    at = len(data)
    while (at := data.rfind(key, 0, at)) >= 0:
        begin = data.find(b"{", at + len(key), at + len(key) + 16)
        if begin < 0 or data[at + len(key) : begin].strip() != b":":
            continue
        try:
            value, _ = _decode(data[begin : begin + _OBJECT].decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return None
