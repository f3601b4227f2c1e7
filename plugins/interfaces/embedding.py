"""Embedding models: /v1/embeddings."""

from __future__ import annotations

from typing import Any

from plugins.interfaces.Base_Class import InterfacePlugin


class EmbeddingInterface(InterfacePlugin):
    def __init__(self, model_manager: Any = None) -> None:
        super().__init__("Embedding", model_manager)

    def health_check(
        self, model_alias: str, port: int, start_time: float, timeout_seconds: float
    ) -> tuple[bool, str]:
        body = {"model": model_alias, "input": "hi"}
        return self.ask(port, "/v1/embeddings", body, expect="data")

    def get_supported_endpoints(self) -> set[str]:
        return {"v1/embeddings"}

    def validate_request(self, path: str, model_alias: str) -> tuple[bool, str]:
        return self.serves_only_its_endpoints(path, model_alias)
