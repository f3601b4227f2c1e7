"""What the last bytes of a stream of server-sent events say about its end."""

from __future__ import annotations

import json
import re

from core.errors import LLMManagerError

_EVENT_END = (b"\n\n", b"\r\n\r\n", b"\r\r")
_DONE = re.compile(rb"(?:\A|[\r\n])data: ?\[DONE\]")
_OPENAI = re.compile(rb'"(?:chat\.completion\.chunk|text_completion)"')


def is_complete(ending: bytes) -> bool:
    """A stream with this ending was not cut off, as far as its text can tell.

    OpenAI's streams end with `[DONE]`, others at least with a whole event.
    """
    if not ending or _DONE.search(ending):
        return True
    return ending.endswith(_EVENT_END) and not _OPENAI.search(ending)


def error_event(error: LLMManagerError, ending: bytes) -> bytes:
    """An event that tells `error`, to be written after `ending`; an open event is ended first."""
    begun = b"" if ending.endswith(_EVENT_END) else b"\n\n"
    return begun + b"event: error\ndata: %b\n\n" % json.dumps(error.as_json()).encode("ascii")
