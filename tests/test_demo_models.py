"""The demo models for real: their scripts, made on this machine, answering over HTTP."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from core.launchers.ports import free_port

DEMO = Path(__file__).parent.parent / "Model_startup_script" / "demo"
PATIENCE = 15.0  # seconds, for a busy machine

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX only: starts the .sh scripts"),
    pytest.mark.skipif(
        importlib.util.find_spec("xllamacpp") is None or importlib.util.find_spec("gguf") is None,
        reason="the demo packages are not installed (requirements-demo.lock)",
    ),
]


@contextmanager
def running(name: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The script's process and its base URL, once it is ready; started from `folder`."""
    port = free_port(())
    url = f"http://127.0.0.1:{port}"
    output = folder / f"{name}.log"
    with output.open("w") as log:
        process = subprocess.Popen(
            [DEMO / f"{name}.sh"],
            cwd=folder,
            env=os.environ | {"LLM_PORT": str(port), "LLM_MANAGER_PYTHON": sys.executable},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        wait_until_ready(process, url, output)
        yield process, url
    finally:
        process.kill()
        process.wait()


def wait_until_ready(process: subprocess.Popen[str], url: str, output: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=PATIENCE):
                return
        except urllib.error.HTTPError as error:  # 503 while it loads
            error.close()
        except OSError:
            pass
        time.sleep(0.02)
    pytest.fail(f"not ready, exit code {process.poll()}:\n{output.read_text()}")


def post(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    return urllib.request.urlopen(request, timeout=PATIENCE)


def test_chat_streams_a_readable_sentence(tmp_path: Path) -> None:
    body = {"messages": [{"role": "user", "content": "Hello"}], "stream": True, "temperature": 0}
    with (
        running("demo-chat", tmp_path) as (_, url),
        post(f"{url}/v1/chat/completions", body) as answer,
    ):
        events = [line.decode().strip() for line in answer if line.startswith(b"data: ")]
    assert events[-1] == "data: [DONE]"
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-1]]
    assert {chunk["model"] for chunk in chunks} == {"demo-chat"}
    pieces = [chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks]
    assert sum(map(bool, pieces)) > 3
    assert "".join(pieces).startswith("The server ")
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_embedding_finds_the_similar_text(tmp_path: Path) -> None:
    texts = ["the dog sleeps", "the dog sleeps in the sun", "token memory"]
    with (
        running("demo-embedding", tmp_path) as (_, url),
        post(f"{url}/v1/embeddings", {"input": texts}) as answer,
    ):
        dog, dog_in_the_sun, other = (item["embedding"] for item in json.load(answer)["data"])
    assert len(dog) == 64
    assert cosine(dog, dog_in_the_sun) > cosine(dog, other) + 0.2


def cosine(a: list[float], b: list[float]) -> float:
    product = sum(x * y for x, y in zip(a, b, strict=True))
    return product / math.hypot(*a) / math.hypot(*b)


def test_reranker_scores_every_document(tmp_path: Path) -> None:
    body = {"query": "the dog", "documents": ["the dog sleeps", "token memory", "the cold river"]}
    with (
        running("demo-reranker", tmp_path) as (_, url),
        post(f"{url}/v1/rerank", body) as answer,
    ):
        results = json.load(answer)["results"]
    assert sorted(result["index"] for result in results) == [0, 1, 2]
    scores = [result["relevance_score"] for result in results]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 3


def test_a_stop_does_not_wait_for_open_streams(tmp_path: Path) -> None:
    endless = {
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
        "ignore_eos": True,
        "max_tokens": 1_000_000,
    }
    with running("demo-chat", tmp_path) as (process, url):
        with post(f"{url}/v1/chat/completions", endless) as answer:
            assert answer.readline().startswith(b"data: ")
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 0


def test_one_process_is_the_whole_model(tmp_path: Path) -> None:
    """The shell is gone: what LLM-Manager started is the server itself."""
    with running("demo-chat", tmp_path) as (process, _):
        if sys.platform == "linux":
            command = Path(f"/proc/{process.pid}/cmdline").read_text().split("\0")
            assert "demo_server.py" in command


def make_model(*arguments: str | Path, python: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *python, DEMO / "make_model.py", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_two_first_starts_at_once_make_one_whole_file(tmp_path: Path) -> None:
    out = tmp_path / "cache" / "chat.gguf"
    both = [make_model("chat", out) for _ in range(2)]
    assert all("Made chat.gguf" in process.communicate()[0] for process in both)
    assert [path.name for path in out.parent.iterdir()] == ["chat.gguf"]

    made = out.stat()
    assert make_model("chat", out).communicate()[0] == ""  # up to date
    assert out.stat().st_ino == made.st_ino

    os.utime(out, (0, 0))  # older than its recipe
    assert "Made chat.gguf" in make_model("chat", out).communicate()[0]


def test_a_missing_package_is_one_sentence_with_the_cure(tmp_path: Path) -> None:
    without_packages = ("-I", "-S")
    maker = make_model("chat", tmp_path / "chat.gguf", python=without_packages)
    assert "-m pip install gguf numpy xllamacpp" in maker.communicate()[0]
    assert maker.returncode == 3

    server = run_server(tmp_path / "chat.gguf", python=without_packages)
    assert server.returncode == 3
    assert "'xllamacpp' is missing" in server.stdout
    assert "-m pip install xllamacpp" in server.stdout


def test_a_missing_system_library_is_named(tmp_path: Path) -> None:
    reason = "libgomp.so.1: cannot open shared object file"
    (tmp_path / "xllamacpp.py").write_text(f"raise ImportError({reason!r})")
    server = run_server(tmp_path / "chat.gguf", environment={"PYTHONPATH": str(tmp_path)})
    assert server.returncode == 3
    assert reason in server.stdout
    assert "libgomp1" in server.stdout


def test_a_broken_model_file_ends_the_server(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_text("not a model")
    server = run_server(tmp_path / "broken.gguf")
    assert server.returncode == 1
    assert "did not start" in server.stdout


def run_server(
    model: Path, *, python: tuple[str, ...] = (), environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *python, DEMO / "demo_server.py", "-m", model, "--port", "0"],
        env=os.environ | (environment or {}),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
