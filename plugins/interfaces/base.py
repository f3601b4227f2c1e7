"""Base models, which only continue a text: /v1/completions."""

from __future__ import annotations

from typing import Any

from plugins.interfaces.Base_Class import InterfacePlugin


class BaseInterface(InterfacePlugin):
    def __init__(self, model_manager: Any = None) -> None:
        super().__init__("Base", model_manager)

    def health_check(
        self, model_alias: str, port: int, start_time: float, timeout_seconds: float
    ) -> tuple[bool, str]:
        body = {"model": model_alias, "prompt": "hi", "max_tokens": 1}
        return self.ask(port, "/v1/completions", body, expect="choices")

    def get_supported_endpoints(self) -> set[str]:
        return {"v1/completions"}

    def validate_request(self, path: str, model_alias: str) -> tuple[bool, str]:
        return self.serves_only_its_endpoints(path, model_alias)
