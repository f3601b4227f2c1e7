"""What the scheduler refuses, and what failed, as errors that a client can act on. Pure."""

from __future__ import annotations

from core.domain import Failure
from core.errors import (
    InsufficientMemory,
    LLMManagerError,
    ModelFailed,
    ModelNotFound,
    NoDevice,
    StartTimeout,
)

SHOWN_LINES = 8
"""Lines of the server's log in an error message."""


def refusal(
    name: str,
    code: str,
    reason: str,
    retry_after: float | None,
    failure: Failure | None,
    now: float,
) -> LLMManagerError:
    """The error for a refused demand; `code` is the scheduler's word."""
    text = f"'{name}' cannot be loaded: {reason}"
    if code == "model_not_found":
        return ModelNotFound(text, param="model")
    if code == "no_device":
        return NoDevice(text)
    if code == "insufficient_memory":
        return InsufficientMemory(text, retry_after=retry_after)
    return failed(name, failure, now)


def failed(name: str, failure: Failure | None, now: float) -> LLMManagerError:
    """The last failure as an answer: why, the exit code, the last lines, when to try again."""
    if failure is None:
        return ModelFailed(f"'{name}' did not start")
    text = f"'{name}' did not start: {failure.reason}"
    if failure.log_tail:
        text += "\nlast lines of its log:\n" + "\n".join(failure.log_tail[-SHOWN_LINES:])
    kind = StartTimeout if failure.code == "start_timeout" else ModelFailed
    return kind(text, retry_after=max(1.0, failure.retry_at - now))
