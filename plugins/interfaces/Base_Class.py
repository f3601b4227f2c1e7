"""Interface plugins: which API a Model speaks, and how to see that its server does."""

from __future__ import annotations

import http.client
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any

__all__ = ["InterfacePlugin"]

ANSWER_BYTES = 1 << 20
"""More than this of an answer to a health check is not read."""


class InterfacePlugin(ABC):
    """One API kind; `mode` in a model's config names it, in any case.

    A subclass calls `super().__init__("Name", model_manager)` and gives the three abstract methods.
    """

    connect_limit = 2.0
    """Seconds until a connection of a health check stands."""
    answer_limit = 30.0
    """Seconds until its answer: the first token of a large model on a slow machine takes a while,
    and asking again before it came would only begin the work anew."""

    def __init__(self, interface_name: str, model_manager: Any = None) -> None:
        self.interface_name = interface_name
        self.model_manager = model_manager

    @abstractmethod
    def health_check(
        self, model_alias: str, port: int, start_time: float, timeout_seconds: float
    ) -> tuple[bool, str]:
        """Make one attempt to see whether the server on `port` of this machine works; may block.

        Called again and again, in a thread, until it says True or `timeout_seconds` after
        `start_time` (as `time.time()` tells it). The message is what it saw, for a person.
        `model_alias` is the name by which the server itself knows the model.
        """

    @abstractmethod
    def get_supported_endpoints(self) -> Collection[str]:
        """The paths it serves, such as "v1/chat/completions"."""

    @abstractmethod
    def validate_request(self, path: str, model_alias: str) -> tuple[bool, str]:
        """Whether a request to `path` may go to this model; if not, the sentence for the client.

        Called once when the plugin is loaded, with each of its own endpoints.
        """

    # What the shipped plugins are made of; yours may use it too.

    def serves_only_its_endpoints(self, path: str, model_alias: str) -> tuple[bool, str]:
        """A `validate_request` that allows the supported endpoints and nothing else."""
        endpoints = sorted(self.get_supported_endpoints())
        if path.strip("/") in endpoints:
            return True, ""
        listed = ", ".join(f"/{endpoint}" for endpoint in endpoints)
        return False, (
            f"模型 '{model_alias}' 是 '{self.interface_name}' 模式, 只支持 {listed} / "
            f"model '{model_alias}' is a {self.interface_name} model and serves only {listed}"
        )

    def ask(
        self, port: int, path: str, body: Mapping[str, Any], *, expect: str
    ) -> tuple[bool, str]:
        """A `health_check`: one real request; healthy if the answer is JSON with the key `expect`.

        A server that refuses exactly this request (400, 422) or wants a key (401, 403) is up all
        the same: its clients get its own words. 404, 501 and 5xx are not.
        """
        began = time.monotonic()
        try:
            status, answer = self._post(port, path, body)
        except ConnectionRefusedError:
            return False, "connection refused"
        except TimeoutError:
            return False, f"no answer within {time.monotonic() - began:.0f} s"
        except (OSError, http.client.HTTPException) as error:
            return False, f"no proper answer: {type(error).__name__} {error}".rstrip()
        took = f"answered in {time.monotonic() - began:.2f} s"
        said = f"{status} {_words(answer)}".rstrip()
        if status == 200:
            if _has(answer, expect):
                return True, took
            return False, f"200 without '{expect}': this is not the server it should be"
        if status in (400, 422) and isinstance(answer, dict | list):
            return True, f"{took}, but refused the test request: {said}"
        if status in (401, 403, 429):
            return self._open_health(port, f"{took}: {said}")
        if status in (404, 405, 501):
            return False, f"does not serve {path} for '{body.get('model')}': {said}"
        return False, f"loading: {said}" if status == 503 else f"error: {said}"

    def _post(self, port: int, path: str, body: Mapping[str, Any]) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=self.connect_limit)
        try:
            connection.connect()
            connection.sock.settimeout(self.answer_limit)
            headers = {"Content-Type": "application/json", "Connection": "close"}
            connection.request("POST", path, json.dumps(body).encode(), headers)
            return _read(connection.getresponse())
        finally:
            connection.close()

    def _open_health(self, port: int, seen: str) -> tuple[bool, str]:
        """The request was not let in: the public /health still tells whether it is loading."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=self.connect_limit)
        try:
            connection.request("GET", "/health", headers={"Connection": "close"})
            status, answer = _read(connection.getresponse())
        except (OSError, http.client.HTTPException):
            return True, seen
        finally:
            connection.close()
        return (False, f"loading: 503 {_words(answer)}") if status == 503 else (True, seen)


def _read(response: http.client.HTTPResponse) -> tuple[int, Any]:
    """Status and answer: the JSON value, or the text if it is none."""
    data = response.read(ANSWER_BYTES)
    try:
        return response.status, json.loads(data)
    except ValueError:
        return response.status, data.decode("utf-8", "replace")


def _has(answer: Any, key: str) -> bool:
    return isinstance(answer, dict) and key in answer


def _words(answer: Any) -> str:
    """The sentence inside an error answer, whichever server's shape it has; one short line."""
    for key in ("error", "message", "detail"):
        if isinstance(answer, dict) and key in answer:
            answer = answer[key]
    return " ".join(str(answer).split())[:200]
