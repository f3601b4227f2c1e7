"""Statuses and codes are what clients rely on: a table of all of them."""

from __future__ import annotations

import pytest

from core import errors
from core.errors import ConfigError, LLMManagerError, MethodNotAllowed

TABLE = {
    "BadRequest": (400, "bad_request", "invalid_request_error"),
    "InvalidJSON": (400, "invalid_json", "invalid_request_error"),
    "MissingModel": (400, "missing_model", "invalid_request_error"),
    "EndpointNotSupported": (400, "endpoint_not_supported", "invalid_request_error"),
    "HostNotAllowed": (403, "host_not_allowed", "permission_error"),
    "OriginNotAllowed": (403, "origin_not_allowed", "permission_error"),
    "ModelNotFound": (404, "model_not_found", "invalid_request_error"),
    "NotFound": (404, "not_found", "invalid_request_error"),
    "MethodNotAllowed": (405, "method_not_allowed", "invalid_request_error"),
    "RequestTooSlow": (408, "request_too_slow", "invalid_request_error"),
    "BodyTooLarge": (413, "body_too_large", "invalid_request_error"),
    "QueueFull": (429, "queue_full", "rate_limit_error"),
    "LLMManagerError": (500, "internal_error", "server_error"),
    "ConfigError": (500, "config_error", "server_error"),
    "UpstreamError": (502, "upstream_error", "server_error"),
    "ServerUnreachable": (502, "upstream_error", "server_error"),
    "InsufficientMemory": (503, "insufficient_memory", "server_error"),
    "ModelFailed": (503, "model_failed", "server_error"),
    "ModelStopped": (503, "model_stopped", "server_error"),
    "NoDevice": (503, "no_device", "server_error"),
    "StartTimeout": (504, "start_timeout", "server_error"),
}
ALL = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, LLMManagerError)
}


def test_no_code_was_added_lost_or_renamed() -> None:
    assert {n: (k.status, k.code, k.type) for n, k in ALL.items()} == TABLE


@pytest.mark.parametrize("name", TABLE)
def test_the_openai_shape(name: str) -> None:
    error = ALL[name]("what happened")
    assert error.as_json() == {
        "error": {
            "message": "what happened",
            "type": TABLE[name][2],
            "param": None,
            "code": TABLE[name][1],
        }
    }
    assert str(error) == "what happened"


def test_what_more_an_error_can_say() -> None:
    error = LLMManagerError("no", param="model", retry_after=2.5)
    assert error.as_json()["error"]["param"] == "model"
    assert error.retry_after == 2.5
    assert MethodNotAllowed("no", allow="GET").allow == "GET"
    assert ConfigError("no", ("$.a: wrong",)).problems == ("$.a: wrong",)
