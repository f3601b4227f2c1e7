"""Token counts and times that a server tells at the end of an answer."""

from __future__ import annotations

import re

import msgspec

REACH = 16 * 1024
"""How many bytes at the end of an answer are looked at."""
OPENING = 4 * 1024
"""And how many at its beginning: embeddings come after their usage."""

Number = int | float

_CHUNK_BORDER = re.compile(rb"\r\n[0-9A-Fa-f]{1,15}[ \t]*(?:;[^\r\n]*)?\r\n")
_OBJECT = re.compile(rb"\s*:\s*(\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})")


class _Details(msgspec.Struct):
    cached_tokens: Number | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: Number | None = None
    completion_tokens: Number | None = None
    total_tokens: Number | None = None
    prompt_tokens_details: _Details | None = None


_usage = msgspec.json.Decoder(_Usage).decode
_timings = msgspec.json.Decoder(dict[str, Number]).decode


def without_borders(data: bytes) -> bytes:
    """A piece of a chunked body without the lines between its chunks.

    JSON and event streams hold no such line themselves: in a string a line end is escaped.
    """
    return _CHUNK_BORDER.sub(b"", data)


def read_usage(opening: bytes, ending: bytes) -> dict[str, float]:
    """OpenAI's `usage` and llama.cpp's `timings`, flat; empty where the server told neither."""
    found: dict[str, float] = {}
    told = _last_object(ending, b'"usage"') or _last_object(opening, b'"usage"')
    if told:
        try:
            usage = _usage(told)
        except (msgspec.MsgspecError, RecursionError):
            return found
        if usage.prompt_tokens is not None:
            found["prompt_tokens"] = usage.prompt_tokens
        if usage.completion_tokens is not None:
            found["completion_tokens"] = usage.completion_tokens
        if usage.total_tokens is not None:
            found["total_tokens"] = usage.total_tokens
        details = usage.prompt_tokens_details
        if details is not None and details.cached_tokens is not None:
            found["cached_tokens"] = details.cached_tokens
    told = _last_object(ending, b'"timings"')
    if told:
        try:
            found.update(_timings(told))
        except msgspec.MsgspecError:
            return found
        if "cache_n" in found:
            found.setdefault("cached_tokens", found["cache_n"])
    return found


def _last_object(data: bytes, key: bytes) -> bytes:
    """The last JSON object under `key`, or nothing; in a string the key's quotes are escaped."""
    at = data.rfind(key)
    while at >= 0:
        if match := _OBJECT.match(data, at + len(key)):
            return match[1]
        at = data.rfind(key, 0, at)
    return b""
