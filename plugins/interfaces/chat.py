"""Chat models: /v1/chat/completions, and /v1/completions which their servers have as well."""

from __future__ import annotations

from typing import Any

from plugins.interfaces.Base_Class import InterfacePlugin


class ChatInterface(InterfacePlugin):
    def __init__(self, model_manager: Any = None) -> None:
        super().__init__("Chat", model_manager)

    def health_check(
        self, model_alias: str, port: int, start_time: float, timeout_seconds: float
    ) -> tuple[bool, str]:
        body = {
            "model": model_alias,
            "messages": [{"role": "user", "content": "hi"}],
            "max_tokens": 1,
        }
        return self.ask(port, "/v1/chat/completions", body, expect="choices")

    def get_supported_endpoints(self) -> set[str]:
        return {"v1/chat/completions", "v1/completions"}

    def validate_request(self, path: str, model_alias: str) -> tuple[bool, str]:
        return self.serves_only_its_endpoints(path, model_alias)
