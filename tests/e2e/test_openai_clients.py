"""The two official OpenAI clients and the demo models: a real engine behind the whole program."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.program import HOME, Program, program
from tests.fakes.scripts import write_script

openai = pytest.importorskip("openai", reason="the package openai is not installed")

NPM_VERSION = "7.55.0"
NPM_FOLDER = HOME / ".cache" / "npm-openai"
CLIENT = HOME / "tests" / "fakes" / "openai_client.mjs"
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX only: starts the .sh scripts"),
    pytest.mark.skipif(
        importlib.util.find_spec("xllamacpp") is None or importlib.util.find_spec("gguf") is None,
        reason="the demo packages are not installed (requirements-demo.lock)",
    ),
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The shipped config with one more model, whose server cannot start."""
    folder = tmp_path_factory.mktemp("demo")
    config = json.loads((HOME / "config.json").read_text(encoding="utf-8"))
    del config["$schema"]
    for key, value in config["program"].items():
        if key.endswith("_plugin_dir"):
            config["program"][key] = str(HOME / value)
    config["program"]["script_dirs"] = [str(HOME / "Model_startup_script" / "demo")]
    for name in ("demo-chat", "demo-embedding", "demo-reranker"):
        variant = config[name]["CPU"]
        variant["bat_path"] = str(HOME / variant["bat_path"].replace("\\", "/"))
    write_script(folder, "crash_before_bind", name="broken")
    variant = {"required_devices": ["cpu"], "bat_path": "broken.bat", "memory_mb": {"cpu": 1}}
    config["broken"] = {"aliases": ["broken"], "mode": "Chat", "CPU": variant}
    path = folder / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    with program(path, folder / "logs", LLM_MANAGER_HOST="127.0.0.1") as running:
        yield running


@pytest.fixture
def client(demo: Program) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{demo.url}/v1", api_key="none", max_retries=0) as one:
        yield one


def test_chat(client: Any) -> None:
    answer = client.chat.completions.create(model="demo-chat", messages=HELLO, temperature=0)
    assert answer.choices[0].message.content.startswith("The server ")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_with_its_usage(client: Any) -> None:
    options = {"include_usage": True}
    stream = client.chat.completions.create(
        model="demo-chat", messages=HELLO, temperature=0, stream=True, stream_options=options
    )
    chunks = list(stream)
    pieces = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    assert sum(map(bool, pieces)) > 3
    whole = client.chat.completions.create(model="demo-chat", messages=HELLO, temperature=0)
    assert "".join(pieces) == whole.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_embeddings(client: Any) -> None:
    texts = ["the dog sleeps", "the dog sleeps in the sun", "token memory"]
    answer = client.embeddings.create(model="demo-embedding", input=texts)
    dog, sun, other = (each.embedding for each in answer.data)
    assert dot(dog, sun) > dot(dog, other) + 0.2


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def test_the_list_of_models(client: Any) -> None:
    ids = [each.id for each in client.models.list()]
    assert ids == ["demo-chat", "demo-embedding", "demo-reranker", "broken"]
    one = client.models.retrieve("demo-chat")
    assert (one.id, one.object) == ("demo-chat", "model")


def test_each_error_has_its_class(client: Any) -> None:
    with pytest.raises(openai.NotFoundError, match="nobody") as unknown:
        client.chat.completions.create(model="nobody", messages=HELLO)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody")
    with pytest.raises(openai.BadRequestError, match="demo-chat") as wrong:
        client.embeddings.create(model="demo-chat", input="Hello")
    assert wrong.value.code == "endpoint_not_supported"
    with pytest.raises(openai.InternalServerError, match="exit code 3") as broken:
        client.chat.completions.create(model="broken", messages=HELLO)
    assert (broken.value.status_code, broken.value.code) == (503, "model_failed")
    assert "fatal: something broke inside" in broken.value.message


def test_rerank(demo: Program) -> None:
    documents = ["the dog sleeps", "token memory", "the cold river"]
    body = {"model": "demo-reranker", "query": "the dog", "documents": documents}
    status, answer = demo.ask("POST", "/v1/rerank", body)
    assert status == 200
    scores = [each["relevance_score"] for each in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert sorted(each["index"] for each in answer["results"]) == [0, 1, 2]


@pytest.fixture(scope="module")
def script() -> Path:
    """The script beside an installed `openai` of npm: node looks for packages from there up."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("npm and node are not installed")
    NPM_FOLDER.mkdir(parents=True, exist_ok=True)
    installed = NPM_FOLDER / "node_modules" / "openai" / "package.json"
    if not installed.is_file() or json.loads(installed.read_text())["version"] != NPM_VERSION:
        command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(NPM_FOLDER)]
        done = subprocess.run(
            [*command, f"openai@{NPM_VERSION}"], capture_output=True, text=True, timeout=150
        )
        if done.returncode:
            pytest.skip(f"npm cannot install openai: {done.stderr.strip().splitlines()[-1]}")
    return Path(shutil.copy(CLIENT, NPM_FOLDER))


@pytest.mark.timeout(240)
def test_the_client_of_npm(demo: Program, script: Path) -> None:
    done = subprocess.run(
        ["node", str(script), f"{demo.url}/v1"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["chat"].startswith("The server ")
    assert seen["stream"] == seen["chat"]
    assert seen["streamUsage"] == seen["chatUsage"] | {
        "prompt_tokens_details": seen["streamUsage"]["prompt_tokens_details"]
    }
    assert seen["dimensions"] == [64, 64]
    assert seen["ids"] == ["demo-chat", "demo-embedding", "demo-reranker", "broken"]
    assert seen["retrieved"] == "demo-reranker"
    errors = {kind: seen[kind] for kind in ("unknown", "wrong", "broken")}
    assert {kind: (e["name"], e["status"], e["code"]) for kind, e in errors.items()} == {
        "unknown": ("NotFoundError", 404, "model_not_found"),
        "wrong": ("BadRequestError", 400, "endpoint_not_supported"),
        "broken": ("InternalServerError", 503, "model_failed"),
    }
    assert "exit code 3" in seen["broken"]["message"]
