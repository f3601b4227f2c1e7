"""The dashboard in a real browser, in front of the real program with fake model servers."""

from __future__ import annotations

import base64
import hashlib
import http.client
import shutil
import subprocess
import tarfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.waiting import until_sync
from tests.webui.program import HOME, Program

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium (Debian: chromium)"),
    pytest.mark.timeout(60),
]

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
AXE = "axe-core@4.14.1"
AXE_HASH = (
    "sha512-"
    "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NP"
    "jCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
)
NASTY = '<img src=x onerror="window.pwned=1">'


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    program = Program(tmp_path_factory.mktemp("dashboard"), host="0.0.0.0")
    program.model("chat", "Chat", "print=3", aliases=["talk"])
    program.model("slow", "Chat", "slow_load=600")
    program.model("big", "Base", mb=13000)
    program.model("vectors", "Embedding", mb=500)
    program.model("order", "Reranker", mb=500)
    program.model("broken", "Chat", "crash_before_bind", mb=100)
    program.model("flood", "Chat", "flood=10000", mb=100)
    program.model("nowhere", "Chat", device="tpu")
    program.model(NASTY, "Chat", mb=100)
    program.write_config()
    program.start()
    yield program
    program.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Tabs:
    """Opens pages and notes what no page may do: errors, other hosts, dialogs."""

    def __init__(self, browser: Any, program: Program) -> None:
        self.browser = browser
        self.program = program
        self.faults: list[str] = []
        self.contexts: list[Any] = []

    def context(self, width: int = 1280, scheme: str = "light", language: str = "en-US") -> Any:
        context = self.browser.new_context(
            viewport={"width": width, "height": 860}, color_scheme=scheme, locale=language
        )
        context.set_default_timeout(15_000)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.contexts.append(context)
        return context

    def open(self, path: str = "/", context: Any = None, **wishes: Any) -> Any:
        page = (context or self.context(**wishes)).new_page()
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.faults.append(f"page error: {error}"))
        page.on("request", self._asked)
        page.on("dialog", self._dialog)
        page.goto(self.program.address + path, wait_until="domcontentloaded")
        page.wait_for_selector("#link[data-link=live]")
        return page

    def _said(self, message: Any) -> None:
        expected = ("ERR_", "status of 503")  # a lost connection, a model that fails
        if message.type in ("error", "warning") and not any(e in message.text for e in expected):
            self.faults.append(f"console: {message.text}")

    def _dialog(self, dialog: Any) -> None:
        self.faults.append("a dialog")
        dialog.dismiss()

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.program.address, "data:", "blob:")):
            self.faults.append(f"another host: {request.url}")


@pytest.fixture
def tabs(browser: Any, program: Program) -> Iterator[Tabs]:
    tabs = Tabs(browser, program)
    yield tabs
    for context in tabs.contexts:
        context.close()
    program.stop_all()
    assert tabs.faults == []


def row(page: Any, name: str) -> Any:
    return page.locator(".model").filter(has=page.get_by_role("link", name=name, exact=True))


def has_state(page: Any, name: str, word: str) -> None:
    playwright.expect(row(page, name).locator(".state")).to_contain_text(word, timeout=15_000)


def fits(page: Any) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


# ---- every control ------------------------------------------------------------------------------


def test_start_pin_and_stop_a_model(tabs: Tabs, program: Program) -> None:
    page = tabs.open()
    row(page, "chat").get_by_role("button", name="Start: chat").click()
    has_state(page, "chat", "Ready")
    assert program.state("chat") == "ready"
    assert page.locator(".legend").filter(has_text="chat").count() == 1
    row(page, "chat").get_by_role("button", name="Pin").click()
    playwright.expect(row(page, "chat")).to_contain_text("pinned")
    assert '"pinned": true' in (program.folder / "config.json").read_text()
    row(page, "chat").get_by_role("button", name="Unpin").click()
    playwright.expect(row(page, "chat")).to_contain_text("unloads in")
    row(page, "chat").get_by_role("button", name="Stop: chat").click()
    has_state(page, "chat", "Not loaded")


def test_abort_a_load_that_is_shown_honestly(tabs: Tabs) -> None:
    page = tabs.open("/models/slow")
    page.locator("#panel").get_by_role("button", name="Start: slow").click()
    has_state(page, "slow", "Loading")
    playwright.expect(row(page, "slow").locator(".stage")).to_contain_text("health check")
    playwright.expect(row(page, "slow").locator(".last-line")).to_contain_text("listening on port")
    assert page.locator("rect.part.load").count() == 1
    row(page, "slow").get_by_role("button", name="Abort: slow").click()
    has_state(page, "slow", "Not loaded")


def test_a_start_that_evicts_asks_first(tabs: Tabs, program: Program) -> None:
    program.post("/api/models/chat/start?wait=1")
    page = tabs.open("/models/big")
    playwright.expect(page.locator(".hint")).to_contain_text("Starting it unloads: chat")
    row(page, "big").get_by_role("button", name="Start: big").click()
    playwright.expect(page.locator("#ask-text")).to_contain_text("chat")
    page.locator("#ask [value=no]").click()
    assert program.state("big") == "stopped"
    row(page, "big").get_by_role("button", name="Start: big").click()
    page.locator("#ask [value=yes]").click()
    has_state(page, "big", "Ready")
    has_state(page, "chat", "Not loaded")


def test_a_failure_says_why_with_its_last_lines(tabs: Tabs) -> None:
    page = tabs.open("/models/broken")
    row(page, "broken").get_by_role("button", name="Start: broken").click()
    has_state(page, "broken", "Failed")
    playwright.expect(row(page, "broken").locator(".why")).to_contain_text("exit code 3")
    playwright.expect(page.locator(".failure pre")).to_contain_text("fatal: something broke")
    has_state(page, "nowhere", "Cannot start")
    playwright.expect(row(page, "nowhere").locator(".why")).to_contain_text("tpu")


def test_unload_all_and_restart_auto_start(tabs: Tabs, program: Program) -> None:
    program.post("/api/models/vectors/start?wait=1")
    page = tabs.open()
    page.get_by_role("button", name="Restart auto-start").click()
    page.get_by_role("button", name="Unload all").click()
    page.locator("#ask [value=yes]").click()
    has_state(page, "vectors", "Not loaded")


def test_search_filter_sort_and_copy(tabs: Tabs, program: Program) -> None:
    program.post("/api/models/order/start?wait=1")
    page = tabs.open()
    visible = ".model:not([hidden]) .name"
    page.keyboard.press("/")
    page.keyboard.type("talk")
    playwright.expect(page.locator(visible)).to_have_text(["chat"])
    page.locator("#model-search").fill("no such model")
    playwright.expect(page.locator("#no-match")).to_be_visible()
    page.locator("#model-search").fill("")
    page.locator("#model-filter").select_option("loaded")
    playwright.expect(page.locator(visible)).to_have_text(["order"])
    page.locator("#model-filter").select_option("")
    page.locator("#model-sort").select_option("name")
    playwright.expect(page.locator(visible).first).to_have_text(NASTY)
    page.locator("#model-sort").select_option("memory")
    playwright.expect(page.locator(visible).first).to_have_text("order")
    page.locator("#model-sort").select_option("file")
    row(page, "chat").get_by_text("talk").click()
    playwright.expect(page.locator(".toast").first).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "talk"


def test_language_and_appearance_are_remembered(tabs: Tabs) -> None:
    page = tabs.open(language="de-DE")
    page.get_by_role("button", name="中文").click()
    page.wait_for_selector("html[lang=zh-CN]")
    page.get_by_role("button", name="深色").click()
    page.reload()
    page.wait_for_selector("html[lang=zh-CN][data-theme=dark]")
    page.get_by_role("button", name="English").click()
    page.wait_for_selector("html[lang=en]")
    page.get_by_role("button", name="Understood").click()
    playwright.expect(page.locator(".banner.info")).to_be_hidden()
    page.reload()
    page.wait_for_selector("#link[data-link=live]")
    playwright.expect(page.locator(".banner.info")).to_be_hidden()


def test_the_door_to_the_network_is_closed_with_one_click(tabs: Tabs, program: Program) -> None:
    page = tabs.open()
    file = program.folder / "config.json"
    before = file.read_text()
    page.locator(".banner").get_by_role("button", name="This machine only").click()
    waiting = page.locator(".banner").filter(has_text="Waiting for a restart")
    playwright.expect(waiting).to_contain_text("host")
    playwright.expect(waiting).to_contain_text("only this machine")
    playwright.expect(page.locator("[data-act=only-here]")).to_have_count(0)
    assert '"host": "127.0.0.1"' in file.read_text()
    file.write_text(before)
    playwright.expect(page.locator("[data-act=only-here]")).to_be_visible()


def test_panels_have_addresses_and_the_back_button(tabs: Tabs, program: Program) -> None:
    page = tabs.open()
    page.get_by_role("link", name="chat", exact=True).click()
    playwright.expect(page.locator("#panel-title")).to_contain_text("chat")
    assert page.url.endswith("/models/chat")
    for tab, text in (("Log", "Wrap"), ("Requests", "No requests"), ("Try it", "curl")):
        page.locator(".tabs").get_by_role("link", name=tab).click()
        playwright.expect(page.locator("#panel")).to_contain_text(text)
    page.get_by_role("button", name="Widen").click()
    playwright.expect(page.locator(".board")).to_be_hidden()
    page.get_by_role("button", name="Widen").click()
    page.go_back()
    playwright.expect(page.locator(".tabs [aria-current]")).to_have_text("Requests")
    page.keyboard.press("Escape")
    playwright.expect(page.locator("#panel")).to_have_count(0)
    for link, text in (("Log", "listening"), ("Plugins", "fake.py"), ("Config", "config.json")):
        page.locator(".pages").get_by_role("link", name=link).click()
        playwright.expect(page.locator("#panel")).to_contain_text(text)
    page.goto(program.address + "/models/nobody")
    playwright.expect(page.locator("#panel")).to_contain_text("There is no such model")
    tabs.faults = [fault for fault in tabs.faults if "404" not in fault]


def test_the_keyboard_alone_opens_a_panel_and_comes_back(tabs: Tabs) -> None:
    page = tabs.open()
    focused = "document.activeElement.%s"
    page.keyboard.press("Tab")
    assert page.evaluate(focused % "className") == "skip"
    row(page, "chat").get_by_role("link", name="Log: chat").focus()
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#panel-title")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate(focused % "id") == "panel-close"
    page.keyboard.press("Enter")
    playwright.expect(row(page, "chat").get_by_role("link", name="Log: chat")).to_be_focused()
    page.locator(".pages").get_by_role("link", name="Config").focus()
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#panel-title")).to_be_focused()
    page.keyboard.press("Escape")
    playwright.expect(page.locator(".pages").get_by_role("link", name="Config")).to_be_focused()


def test_plugins_are_reloaded(tabs: Tabs) -> None:
    page = tabs.open("/plugins")
    with page.expect_response("**/api/plugins/reload") as answer:
        page.get_by_role("button", name="Reload").click()
    assert answer.value.status == 202


def test_a_broken_config_is_named_and_mended(tabs: Tabs, program: Program) -> None:
    page = tabs.open("/config")
    file = program.folder / "config.json"
    good = file.read_text()
    file.write_text(good.replace('"mode": "Chat"', '"mood": "Chat"', 1))
    playwright.expect(page.locator(".banner.bad")).to_contain_text("mood")
    playwright.expect(page.locator("#panel .failure")).to_contain_text("mood")
    file.write_text(good)
    playwright.expect(page.locator(".banner.bad")).to_have_count(0)


def test_a_request_in_flight_can_be_cancelled(tabs: Tabs, program: Program) -> None:
    page = tabs.open("/requests")
    body = {"model": "chat", "messages": [], "stream": True, "max_tokens": 5000, "fake_delay": 0.05}
    client = threading.Thread(target=_read_all, args=(program, body), daemon=True)
    client.start()
    flight = page.locator("#flights tbody tr")
    playwright.expect(flight).to_contain_text("/v1/chat/completions")
    has_state(page, "chat", "Serving")
    flight.get_by_role("button", name="Cancel this request").click()
    playwright.expect(page.locator("#flights")).to_contain_text("Nothing is in flight")
    client.join(10)
    assert not client.is_alive()
    playwright.expect(page.locator("#panel tbody")).to_contain_text("client left")


def _read_all(program: Program, body: object) -> None:
    try:
        program.post("/v1/chat/completions", body)
    except (OSError, ValueError, http.client.HTTPException):
        return


# ---- try it, first run --------------------------------------------------------------------------


def test_try_chat_with_numbers_and_calls_to_copy(tabs: Tabs) -> None:
    page = tabs.open("/models/chat/try")
    page.locator("#panel textarea").first.fill("it's me")
    page.get_by_role("button", name="Send", exact=True).click()
    playwright.expect(page.locator("#panel .try-answer")).to_contain_text("t4")
    playwright.expect(page.locator("#panel .try-numbers")).to_contain_text("First token")
    assert "it'\\''s me" in page.locator("[data-call=curl]").inner_text()
    page.get_by_role("button", name="Copy Python").click()
    playwright.expect(page.locator(".toast").first).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    compile(copied, "copied", "exec")
    assert "it's me" in copied
    page.get_by_role("button", name="/v1/completions").click()
    page.get_by_role("button", name="Send", exact=True).click()
    playwright.expect(page.locator("#panel .try-answer")).to_contain_text("t4")
    for kind in ("curl", "python"):
        assert "completions" in page.locator(f"[data-call={kind}]").inner_text()


@pytest.mark.parametrize(
    ("model", "answer"), [("vectors", "3 dimensions"), ("order", "Eagles"), ("broken", "exit code")]
)
def test_try_the_other_interfaces(tabs: Tabs, model: str, answer: str) -> None:
    page = tabs.open(f"/models/{model}/try")
    page.get_by_role("button", name="Send", exact=True).click()
    playwright.expect(page.locator("#panel .try-answer")).to_contain_text(answer)
    compile(page.locator("[data-call=python]").inner_text(), "copied", "exec")


def test_a_chinese_page_says_everything_in_chinese(tabs: Tabs) -> None:
    page = tabs.open("/models/broken/try", language="zh-CN")
    page.get_by_role("button", name="发送", exact=True).click()
    answer = page.locator("#panel .try-answer")
    playwright.expect(answer).to_contain_text("broken 未能启动：服务器自行退出（退出码 3）")
    playwright.expect(answer).to_contain_text("最后几行日志：")
    playwright.expect(answer).to_contain_text("fatal: something broke")
    has_state(page, "broken", "失败")
    playwright.expect(row(page, "broken").locator(".why")).to_have_text(
        "服务器自行退出（退出码 3）"
    )
    playwright.expect(row(page, "nowhere").locator(".why")).to_have_text("A：tpu 离线或不存在")
    row(page, "slow").get_by_role("button", name="启动: slow").click()
    playwright.expect(row(page, "slow").locator(".stage")).to_contain_text("次健康检查：正在加载")


def test_first_run_sends_the_first_request(
    browser: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    program = Program(tmp_path)
    program.model("demo-chat", "Chat")
    program.write_config()
    program.start()
    request.addfinalizer(program.stop)
    tabs = Tabs(browser, program)
    page = tabs.open()
    page.get_by_text("Add a model of your own").click()
    playwright.expect(page.locator(".welcome-own pre")).to_contain_text("bat_path")
    page.get_by_role("button", name="Send the first request").click()
    playwright.expect(page.locator("#welcome .try-answer")).to_contain_text("demo-chat")
    page.locator("#welcome").get_by_role("button", name="Close").click()
    playwright.expect(page.locator("#welcome")).to_be_hidden()
    tabs.contexts[0].close()
    assert tabs.faults == []


# ---- logs ---------------------------------------------------------------------------------------


def test_log_follows_pauses_finds_and_wraps(tabs: Tabs, program: Program) -> None:
    program.post("/api/models/chat/start?wait=1")
    page = tabs.open("/models/chat/log")
    lines = page.locator(".log-row")
    playwright.expect(lines.filter(has_text="starting -> ready").first).to_be_visible()
    page.locator(".log-search").fill("000001")
    playwright.expect(page.locator(".log-row mark").last).to_have_text("000001")
    page.get_by_label("Matches only").check()
    playwright.expect(lines.filter(has_not_text="000001")).to_have_count(0)
    page.get_by_label("Matches only").uncheck()
    page.locator(".log-search").fill("")
    page.get_by_label("Wrap").check()
    page.get_by_label("Wrap").uncheck()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert "line 000002" in Path(download.value.path()).read_text()


def test_a_flood_keeps_the_page_and_the_program_responsive(tabs: Tabs, program: Program) -> None:
    program.post("/api/models/flood/start?wait=1")
    page = tabs.open("/models/flood/log")
    count = page.locator(".log-count")
    until_sync(lambda: int(count.inner_text().split()[0] or 0) > 5000)
    slowest = page.evaluate(
        """() => new Promise((done) => {
            let last = performance.now(), worst = 0, left = 60;
            const step = (now) => {
                worst = Math.max(worst, now - last); last = now;
                left-- ? requestAnimationFrame(step) : done(worst);
            };
            requestAnimationFrame(step);
        })"""
    )
    assert slowest < 1000
    page.locator(".log-view").hover()
    page.mouse.wheel(0, -4000)
    follow = page.get_by_role("button", name="Follow")
    playwright.expect(follow).to_contain_text("new lines")
    follow.click()
    playwright.expect(follow).to_be_hidden()
    assert page.locator(".log-row").count() < 200


def test_100000_lines_do_not_lag(tabs: Tabs) -> None:
    page = tabs.open("/models/chat/log")
    worst = page.evaluate(
        """async () => {
            const version = document.querySelector("script[type=module]").src;
            const { LogView } = await import(new URL("log.js", version));
            const log = new LogView(document.querySelector("[data-log-view]"));
            const red = (n) => `\\x1b[31mline ${n}\\x1b[0m of many`;
            const lines = Array.from({ length: 100000 }, (_, n) => red(n));
            log.add({ reset: true, lines, skipped: 0 });
            const view = document.querySelector(".log-view");
            let worst = 0;
            for (let step = 0; step < 40; step++) {
                view.scrollTop = (step * 977 % 40) / 40 * view.scrollHeight;
                const began = performance.now();
                await new Promise(requestAnimationFrame);
                worst = Math.max(worst, performance.now() - began);
            }
            return worst;
        }"""
    )
    assert worst < 500
    assert page.locator(".log-row .ansi-1").count() > 10
    assert page.locator(".log-row").count() < 200


# ---- looks --------------------------------------------------------------------------------------

PAGES = ("/", "/models/chat", "/models/broken", "/models/chat/log", "/models/chat/try")
MORE = ("/models/chat/requests", "/requests", "/log", "/plugins", "/config")


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, from its package, whose hash is known."""
    folder = HOME / ".cache" / "axe"
    archive = folder / f"{AXE.replace('@', '-')}.tgz"
    if not archive.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("npm is missing: it fetches axe-core, which checks accessibility")
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [npm, "pack", AXE], cwd=folder, capture_output=True, timeout=50, check=False
        )
        if done.returncode:
            pytest.skip("npm cannot fetch axe-core")
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    assert f"sha512-{digest}" == AXE_HASH
    with tarfile.open(archive) as tar:
        file = tar.extractfile("package/axe.min.js")
        assert file is not None
        return file.read().decode()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize(
    ("scheme", "language"),
    [("light", "zh-CN"), ("dark", "en-US"), ("light", "en-US"), ("dark", "zh")],
)
def test_every_page_fits_and_is_accessible(
    tabs: Tabs, program: Program, axe: str, width: int, scheme: str, language: str
) -> None:
    program.post("/api/models/chat/start?wait=1")
    try:
        program.post("/api/models/broken/start?wait=1")
    except urllib.request.HTTPError:
        pass  # it is meant to fail
    context = tabs.context(width, scheme, language)
    page = tabs.open(PAGES[0], context)
    page.evaluate(axe)
    for path in (*PAGES, *MORE):
        if path != "/":
            page.evaluate("path => htmx.ajax('GET', path, '#detail')", path)
            page.wait_for_selector(f"#panel[data-url='{path}']")
        page.wait_for_selector("#link[data-link=live]")
        assert fits(page), path
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        faults = [
            f"{path} {v['id']}: {[n['html'][:160] for n in v['nodes']][:3]}"
            for v in found["violations"]
        ]
        assert faults == []


@pytest.mark.parametrize("width", [768, 2560])
def test_other_widths_fit(tabs: Tabs, width: int) -> None:
    context = tabs.context(width)
    for path in ("/", "/models/chat"):
        assert fits(tabs.open(path, context)), path


def test_names_and_errors_are_text(tabs: Tabs, program: Program) -> None:
    page = tabs.open()
    playwright.expect(page.get_by_role("link", name=NASTY, exact=True)).to_be_visible()
    page.get_by_role("link", name=NASTY, exact=True).click()
    playwright.expect(page.locator("#panel-title")).to_contain_text(NASTY)
    page.locator("#panel").get_by_role("button", name="Start").click()
    has_state(page, NASTY, "Ready")
    page.locator(".tabs").get_by_role("link", name="Log").click()
    playwright.expect(page.locator(".log-row").filter(has_text=NASTY).first).to_be_visible()
    assert page.evaluate("window.pwned") is None
    assert page.locator("img[src=x]").count() == 0


def test_focus_and_typed_text_survive_updates(tabs: Tabs, program: Program) -> None:
    page = tabs.open()
    page.locator("#model-search").fill("cha")
    button = row(page, "chat").get_by_role("link", name="Log: chat")
    button.focus()
    program.post("/api/models/chat/start?wait=1")
    has_state(page, "chat", "Ready")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Log: chat"
    assert page.locator("#model-search").input_value() == "cha"


# ---- many tabs, restarts ------------------------------------------------------------------------


def streams(pages: list[Any]) -> list[bool]:
    return [
        page.evaluate("document.getElementById('link').dataset.link") == "live" for page in pages
    ]


def test_eight_tabs_all_work(tabs: Tabs, program: Program) -> None:
    context = tabs.context()
    pages = [tabs.open("/models/chat/log", context) for _ in range(8)]
    program.post("/api/models/chat/start?wait=1")
    for page in pages:
        has_state(page, "chat", "Ready")
    assert all(streams(pages))
    pages[0].get_by_role("button", name="Stop: chat").first.click()
    for page in pages:
        has_state(page, "chat", "Not loaded")


def test_a_hidden_tab_closes_its_stream(tabs: Tabs, program: Program) -> None:
    page = tabs.open()
    hide: Callable[[bool], Any] = lambda hidden: page.evaluate(  # noqa: E731
        """hidden => {
            Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )
    hide(True)
    playwright.expect(page.locator("#link")).to_have_text("Paused")
    program.post("/api/models/chat/start?wait=1")
    hide(False)
    has_state(page, "chat", "Ready")


def test_updates_resume_after_a_restart_and_tabs_do_not_delay_the_end(
    browser: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    program = Program(tmp_path)
    program.model("chat", "Chat")
    program.write_config()
    port = int(program.start().rpartition(":")[2])
    tabs = Tabs(browser, program)
    context = tabs.context()
    request.addfinalizer(context.close)
    pages = [tabs.open("/models/chat/log", context) for _ in range(6)]
    seventh = urllib.request.urlopen(program.address + "/live", timeout=20)
    program.stop()
    seventh.read()  # its last chunk has come: it was not cut off by the end of a patience
    playwright.expect(pages[-1].locator("#link")).to_contain_text("Connection lost")
    program.start(port)
    request.addfinalizer(program.stop)
    program.post("/api/models/chat/start?wait=1")
    for page in pages:
        has_state(page, "chat", "Ready")
    assert tabs.faults == []


def test_rendering_starts_nothing(tabs: Tabs, program: Program) -> None:
    before = [m["starts"] for m in program.get("/api/models")["models"]]
    page = tabs.open()
    for path in (*PAGES, *MORE, "/models/big/try", "/api/models/big/preview"):
        page.request.get(program.address + path)
    assert [m["starts"] for m in program.get("/api/models")["models"]] == before
    assert until_sync(lambda: program.state("big")) == "stopped"
