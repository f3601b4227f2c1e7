"""Make the pictures of the README: `python -m scripts.screenshots`.

The real program with fake model servers on fake devices, in Debian's Chromium; takes half a minute.
"""
# ruff: noqa: T201  (a program for a terminal)

from __future__ import annotations

import contextlib
import http.client
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

HOME = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HOME))

from tests.webui.program import Program  # noqa: E402

IMAGES = HOME / "docs" / "images"
LARGEST = 200_000
"""Bytes."""


def furnish(program: Program) -> None:
    """A machine as many have it."""
    program.devices = {
        "rtx 4090": {"total": 24564, "used": 1130},
        "rtx 4060": {"total": 8188, "used": 620},
        "cpu": {"total": 64000, "used": 13900},
    }
    big, small = {"device": "rtx 4090"}, {"device": "rtx 4060"}

    def model(name: str, mode: str, *fake: str, mb: int, **options: Any) -> None:
        env = {"FAKE_MEMORY": str(mb), "FAKE_CHUNK_DELAY": "0.02"}
        program.model(name, mode, *fake, mb=mb, env=env, **options)

    big, small = {"device": "rtx 4090"}, {"device": "rtx 4060"}
    model("qwen3-14b", "Chat", "print=60", mb=12800, aliases=["qwen3", "default"], **big)
    model("gemma-3-4b-it", "Chat", "slow_load=60", mb=4300, aliases=["gemma"], **small)
    model("deepseek-coder-6.7b", "Base", mb=14200, **big)
    model("bge-m3", "Embedding", mb=1400, aliases=["bge"], pinned=True, **small)
    model("bge-reranker-v2-m3", "Reranker", mb=1200, **small)
    model("mistral-nemo-12b", "Chat", "crash_before_bind", mb=3000, **big)
    model("llama-3.3-70b", "Chat", mb=41000, device="cpu")
    program.write_config()


def busy(program: Program) -> None:
    """Some life: loaded models, a load under way, a failure, a request that streams."""
    program.post("/api/models/qwen3-14b/start?wait=1")
    program.post("/api/models/bge-m3/start?wait=1")
    for _ in range(3):
        program.post("/v1/embeddings", {"model": "bge", "input": ["a", "b", "c"]})
    program.post("/api/models/bge-reranker-v2-m3/start?wait=1")
    time.sleep(12)
    program.post("/api/models/mistral-nemo-12b/start")
    body = {"model": "qwen3", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
    body |= {"max_tokens": 2000, "fake_delay": 0.05}
    threading.Thread(target=_ask, args=(program, body), daemon=True).start()
    time.sleep(8)
    program.post("/api/models/gemma-3-4b-it/start")
    time.sleep(4)


def _ask(program: Program, body: object) -> None:
    with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
        program.post("/v1/chat/completions", body)


def shoot(browser: Browser, address: str, name: str, path: str, **wishes: Any) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 820}, **wishes)
    page = context.new_page()
    page.goto(address + path, wait_until="domcontentloaded")
    page.wait_for_selector("#link[data-link=live]")
    page.wait_for_selector(".chart canvas")
    if path.endswith("/try"):
        page.locator("#panel [type=submit]").click()
        page.locator("#panel .try-answer").get_by_text("t12").wait_for()
    page.wait_for_timeout(800)
    target = IMAGES / name
    page.screenshot(path=target)
    context.close()
    Image.open(target).convert("RGB").save(target, optimize=True)
    size = target.stat().st_size
    print(f"{target.relative_to(HOME)}: {size // 1000} kB")
    assert size < LARGEST, "the picture is too large for a README"


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        program = Program(Path(folder))
        furnish(program)
        program.start()
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            busy(program)
            light: dict[str, Any] = {"color_scheme": "light", "reduced_motion": "reduce"}
            dark: dict[str, Any] = {"color_scheme": "dark", "reduced_motion": "reduce"}
            shoot(browser, program.address, "dashboard.png", "/", locale="en-US", **light)
            shoot(browser, program.address, "dashboard.zh.png", "/", locale="zh-CN", **light)
            shoot(
                browser, program.address, "dashboard-dark.png", "/models/qwen3-14b/try",
                locale="en-US", **dark,
            )  # fmt: skip
        finally:
            browser.close()
            program.stop()


if __name__ == "__main__":
    main()
