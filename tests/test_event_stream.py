"""Ends of event streams."""

from __future__ import annotations

import json

import pytest

from core.errors import UpstreamError
from core.event_stream import error_event, is_complete

CHUNK = b'data: {"object":"chat.completion.chunk"}\n\n'


@pytest.mark.parametrize(
    ("ending", "complete"),
    [
        (b"", True),
        (b"data: x\n\n", True),
        (b"data: x\r\n\r\n", True),
        (b"data: x\n", False),
        (b"data: {", False),
        (CHUNK, False),
        (CHUNK + b"data: [DONE]\n\n", True),
        (CHUNK + b"data:[DONE]", True),
        (CHUNK + b'data: {"content":"data: [DONE]"}\n\n', False),
    ],
)
def test_a_stream_without_framing_tells_its_end_itself(ending: bytes, complete: bool) -> None:
    assert is_complete(ending) is complete


@pytest.mark.parametrize("ending", [b"", b"data: {", b"data: x\n", b"data: x\n\n"])
def test_the_error_is_an_event_of_its_own(ending: bytes) -> None:
    text = ending + error_event(UpstreamError("a\nb"), ending)
    last = text.strip(b"\n").rpartition(b"\n\n")[2].strip(b"\n")
    first, second = last.split(b"\n")
    assert first == b"event: error"
    assert json.loads(second.removeprefix(b"data: ")) == UpstreamError("a\nb").as_json()
    assert text.endswith(b"\n\n")
