"""The errors that a caller can act on; `status` and `code` are what an HTTP client gets."""

from __future__ import annotations

from typing import ClassVar


class LLMManagerError(Exception):
    """Base of all: a sentence for a person, a stable code for a program.

    `retry_after`: seconds after which another try makes sense, or None where waiting does not help.
    """

    status: ClassVar[int] = 500
    code: str = "internal_error"
    type: ClassVar[str] = "server_error"

    def __init__(
        self, message: str, *, param: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after

    def as_json(self) -> dict[str, dict[str, str | None]]:
        """The OpenAI error shape."""
        return {
            "error": {
                "message": self.message,
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }


class BadRequest(LLMManagerError):
    status = 400
    code = "bad_request"
    type = "invalid_request_error"


class InvalidJSON(BadRequest):
    code = "invalid_json"


class MissingModel(BadRequest):
    code = "missing_model"


class EndpointNotSupported(BadRequest):
    """The model's interface does not serve this path; the message is the plugin's own."""

    code = "endpoint_not_supported"


class ModelNotFound(LLMManagerError):
    status = 404
    code = "model_not_found"
    type = "invalid_request_error"


class NotFound(LLMManagerError):
    status = 404
    code = "not_found"
    type = "invalid_request_error"


class MethodNotAllowed(LLMManagerError):
    status = 405
    code = "method_not_allowed"
    type = "invalid_request_error"

    def __init__(self, message: str, allow: str = "POST") -> None:
        super().__init__(message)
        self.allow = allow


class HostNotAllowed(LLMManagerError):
    """The Host header names a stranger: a DNS rebinding attack, or a name to declare."""

    status = 403
    code = "host_not_allowed"
    type = "permission_error"


class OriginNotAllowed(LLMManagerError):
    """A web page of another origin tried to drive the program."""

    status = 403
    code = "origin_not_allowed"
    type = "permission_error"


class RequestTooSlow(LLMManagerError):
    """The client stopped sending its body, or sends it so slowly that it will not end."""

    status = 408
    code = "request_too_slow"
    type = "invalid_request_error"


class BodyTooLarge(LLMManagerError):
    status = 413
    code = "body_too_large"
    type = "invalid_request_error"


class QueueFull(LLMManagerError):
    status = 429
    code = "queue_full"
    type = "rate_limit_error"


class UpstreamError(LLMManagerError):
    """The server broke the answer before its first byte."""

    status = 502
    code = "upstream_error"


class ServerUnreachable(UpstreamError):
    """The server takes no connection: nothing of the request has reached it."""


class InsufficientMemory(LLMManagerError):
    status = 503
    code = "insufficient_memory"


class NoDevice(LLMManagerError):
    status = 503
    code = "no_device"


class ModelFailed(LLMManagerError):
    """It did not start, or it died; the message carries the last lines of its log."""

    status = 503
    code = "model_failed"


class ModelStopped(LLMManagerError):
    """Somebody stopped it while this request stood in line."""

    status = 503
    code = "model_stopped"


class StartTimeout(LLMManagerError):
    status = 504
    code = "start_timeout"


class ConfigError(LLMManagerError):
    """A config file with problems; `problems` holds every one of them."""

    code = "config_error"

    def __init__(self, message: str, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems
