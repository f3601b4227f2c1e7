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


class _Answer(msgspec.Struct):
    usage: _Usage | None = None
    timings: dict[str, Number] | None = None


_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_usage = msgspec.json.Decoder(_Usage).decode
_decode_timings = msgspec.json.Decoder(dict[str, Number]).decode


def without_borders(data: bytes) -> bytes:
    """A piece of a chunked body without the lines between its chunks.

    JSON and event streams hold no such line themselves: in a string a line end is escaped.
    """
    return _CHUNK_BORDER.sub(b"", data)


def read_usage(opening: bytes, ending: bytes) -> dict[str, float]:
    """OpenAI's `usage` and llama.cpp's `timings`, flat; empty where the server told neither."""
    answer = _whole(ending) if ending.startswith(b"{") else None
    if answer is None:
        answer = _parts(opening, ending)
    found: dict[str, float] = {}
    if usage := answer.usage:
        if usage.prompt_tokens is not None:
            found["prompt_tokens"] = usage.prompt_tokens
        if usage.completion_tokens is not None:
            found["completion_tokens"] = usage.completion_tokens
        if usage.total_tokens is not None:
            found["total_tokens"] = usage.total_tokens
        details = usage.prompt_tokens_details
        if details is not None and details.cached_tokens is not None:
            found["cached_tokens"] = details.cached_tokens
    if timings := answer.timings:
        found.update(timings)
        if "cache_n" in timings:
            found.setdefault("cached_tokens", timings["cache_n"])
    return found


def _whole(data: bytes) -> _Answer | None:
    """The usual small answer is one JSON object and all of it is there."""
    try:
        return _decode_answer(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _parts(opening: bytes, ending: bytes) -> _Answer:
    """Of a stream, or of an answer whose middle was not kept."""
    answer = _Answer()
    try:
        if told := _last_object(ending, b'"usage"') or _last_object(opening, b'"usage"'):
            answer.usage = _decode_usage(told)
        if told := _last_object(ending, b'"timings"'):
            answer.timings = _decode_timings(told)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return answer
    return answer


def _last_object(data: bytes, key: bytes) -> bytes:
    """The last JSON object under `key`, or nothing; in a string the key's quotes are escaped."""
    at = data.rfind(key)
    while at >= 0:
        if match := _OBJECT.match(data, at + len(key)):
            return match[1]
        at = data.rfind(key, 0, at)
    return b""
