"""Reranker models: /v1/rerank, also by the names under which llama.cpp and vLLM serve it."""

from __future__ import annotations

from typing import Any

from plugins.interfaces.Base_Class import InterfacePlugin


class RerankerInterface(InterfacePlugin):
    def __init__(self, model_manager: Any = None) -> None:
        super().__init__("Reranker", model_manager)

    def health_check(
        self, model_alias: str, port: int, start_time: float, timeout_seconds: float
    ) -> tuple[bool, str]:
        body = {"model": model_alias, "query": "hi", "documents": ["hi"], "top_n": 1}
        return self.ask(port, "/v1/rerank", body, expect="results")

    def get_supported_endpoints(self) -> set[str]:
        return {"v1/rerank", "rerank"}

    def validate_request(self, path: str, model_alias: str) -> tuple[bool, str]:
        return self.serves_only_its_endpoints(path, model_alias)
