"""Whatever the core can say has its Chinese, and the tables hold nothing that nobody says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.sentences.setting_up import PYTHON
from core.sentences.translate import (
    LONGEST,
    Sentence,
    in_chinese,
    in_english,
    known,
    table,
)

ROOT = Path(__file__).resolve().parents[2]
SPOKEN = [
    path.relative_to(ROOT).as_posix()
    for part in ("core", "plugins")
    for path in sorted((ROOT / part).rglob("*.py"))
]
NOT_SHOWN = {
    "core/cli.py": "the command line speaks English",
    "core/commands.py": "the command line speaks English",
    "core/client.py": "the command line speaks English",
    "core/provided.py": "the command line speaks English",
    "core/config/migrate.py": "the command line speaks English",
    "core/listening.py": "said before there is a dashboard",
    "core/tray_texts.py": "has both languages itself",
    "core/log.py": "formats of the log file",
    "core/launchers/leftovers.py": "said in the log at the start",
    "core/launchers/guardian.py": "a process of its own, which writes to the model's log",
    "core/config/diff.py": "said in the log",
    "core/loop.py": "said in the log",
    **dict.fromkeys(
        [f"core/sentences/{name}.py" for name in ("running", "requests", "setting_up")],
        "the tables themselves",
    ),
}
"""Files whose sentences nobody sees in dashboard or tray, and why."""
NOT_SENTENCES = {
    "core/config/schema.py": r".*\.|LLM-Manager config\.json|no words for 7",  # the reference
    "core/config/store.py": r"There is no config file.*|7 cannot be read: 7\.",
    "core/app.py": r"ending.*|LLM-Manager 7 is listening.*|7 \(7 of 7 MB free\)|none (online|"
    r"configured)|(dashboard|config|log|devices|models|warning|note) .*|(watcher|reload) \w+",
    "core/model_controller.py": r"(stopped|put to sleep) by a person|its config entry changed|"
    r"start 7",
    "core/scheduling/decide.py": r"7 needs its memory",
    "core/scheduling/idling.py": r"idle for 7 min",
    "core/admin_api.py": r"restart of the auto-start models|event: 7.*|event: snapshot.*",
    "core/tray.py": r"restart of the auto-start models|tray end",
    "core/instance.py": r"7 (output|exit|stop|doubts)|starting 7, variant 7, port 7|no memory",
    "core/health.py": r"owner of 7|health check",
    "core/bridge.py": r"7 in 7: 7",
    "core/output.py": r"\[LLM-Manager\] 7.*",
    "core/probe_process.py": r"device probe's stderr",
    "core/launchers/job_object.py": r"job of 7",
    "core/launchers/guarded.py": r"a Job Object does this on Windows",
    "core/launchers/output.py": r"pipes have no readiness on Windows",
    "core/server_events.py": r": still here",
    "core/tray_backend.py": r"tray post",
    "core/tray_windows.py": r"tray icon",
    "core/autostart.py": r"\[Desktop Entry\].*",
    "core/client_connection.py": r"Content-Length: 7",
    "core/exchange.py": r"HTTP/1\.1 7 7",
    "core/upstream.py": r"HTTP/1\.1\r\nHost: 7\r",
    "core/api_server.py": r"GET, HEAD, OPTIONS, POST|: not HTTP \(%s\)",
    "core/admin_logs.py": r"text/plain; charset=utf-8|attachment; filename.*",
    "plugins/devices/rtx_4060.py": r"rtx 4060",
    "core/plugin_system.py": r"a plugin file ends in \.py, begins with no _ .*",
}
"""Per file: names, formats, and reasons that only the log tells; `7` is a value in them."""
PUT_TOGETHER = {"texts", "answered in 7 s: 7"}
"""What a function makes of two of its texts."""


def sentences(path: str) -> Iterator[tuple[int, str]]:
    """Every text of a file that is made of words, with 7 for each value in it."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    skipped = set()
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant()):  # a docstring
                skipped.add(node.value)
            case ast.Call() if ast.unparse(node.func).split(".")[0] in ("log", "logger", "re"):
                skipped |= {inner for each in node.args for inner in ast.walk(each)}
            case ast.Assert(msg=ast.expr()):
                skipped |= set(ast.walk(node.msg))
            case ast.JoinedStr():
                skipped |= set(node.values)
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.JoinedStr):
            parts = (v.value if isinstance(v, ast.Constant) else "7" for v in node.values)
            text = "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        yield node.lineno, text.strip(" \n")


@pytest.mark.parametrize("path", [path for path in SPOKEN if path not in NOT_SHOWN])
def test_every_sentence_of_the_core_has_its_chinese(path: str) -> None:
    silent = re.compile(NOT_SENTENCES.get(path, r"(?!)"), re.DOTALL)
    missing = [
        f"{path}:{line} {text!r}"
        for line, text in sentences(path)
        if len(re.findall(r"[A-Za-z]{2,}", text)) >= 2 and " " in text  # else a name, a format
        if not silent.fullmatch(text) and known(text) is None and known(f"7 {text}") is None
    ]
    assert missing == [], "add them to core/sentences, or say in NOT_SENTENCES why not"


def test_nothing_in_the_tables_is_said_by_nobody() -> None:
    said = {text for path in SPOKEN if path not in NOT_SHOWN for _, text in sentences(path)}
    said |= {f"7 {text}" for text in said} | {text.partition(": ")[2] for text in said}
    said |= {english for english, _ in PYTHON} | PUT_TOGETHER
    shapes = {english: Sentence.of(english, chinese).shape for english, chinese in table()}
    for shape in shapes.values():
        inner = [match.groups() for match in map(shape.fullmatch, said) if match]
        said.update(text for texts in inner for text in texts)
    unused = {e for e, shape in shapes.items() if not any(map(shape.fullmatch, said))}
    assert unused == set()


def test_no_value_is_lost_on_the_way() -> None:
    unsaid = {"before", "same"}  # the other language's half; a path that stands there twice
    for english, chinese in table():
        places = set(re.findall(r"\{[~#]?(\w+)\}", english)) - unsaid
        assert set(re.findall(r"\{(\w+)\}", chinese)) - unsaid == places, english
        assert re.search(r"[\u4e00-\u9fff（]", chinese), english


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("waiting for a, b to become idle", "等待 a, b 空闲"),
        ("health check 3: loading: 503 busy", "第 3 次健康检查：正在加载：503 busy"),
        (
            "not ready after 300 s (health check 9: connection refused)",
            "300 秒后仍未就绪（第 9 次健康检查：连接被拒绝）",
        ),
        (
            "A: gpu is offline or unknown; B: the script /x does not exist",
            "A：gpu 离线或不存在；B：脚本 /x 不存在",
        ),
        (
            "$.a.port: expected a whole number from 1 to 65535 or null, found true",
            "$.a.port：应为 1 到 65535 之间的整数或 null，实际是 true",
        ),
        ('$.a.mood: unknown key; did you mean "mode"?', '$.a.mood：未知的键，是不是 "mode"？'),
        (
            "no variant has all its devices online: variant 'A' needs 'tpu'; variant 'B' needs 'x'",
            "没有一个运行方案的设备全部在线：方案“A”需要 'tpu'；方案“B”需要 'x'",
        ),
        (
            "模型 'e' 是 'Embedding' 模式, 只支持 /v1/embeddings / "
            "model 'e' is a Embedding model and serves only /v1/embeddings",
            "e 是 Embedding 模型，只提供 /v1/embeddings",
        ),
        (
            "'m' did not start: the server ended by itself (exit code 3)\n"
            "last lines of its log:\nit is loading",
            "m 未能启动：服务器自行退出（退出码 3）\n最后几行日志：\nit is loading",
        ),
        ("nothing that we ever say", "nothing that we ever say"),
        ("", ""),
        ("it is loading" + "!" * LONGEST, "it is loading" + "!" * LONGEST),
    ],
)
def test_sentences_in_chinese(english: str, chinese: str) -> None:
    assert in_chinese(english) == chinese


def test_english_readers_see_one_language_too() -> None:
    both = "启动脚本不存在 / the start-up script of 'm' (A) does not exist: /x/y.sh"
    assert in_english(both) == "the start-up script of 'm' (A) does not exist: /x/y.sh"
    half = "model 'e' is a X model and serves only /v1/a, /v1/b"
    assert in_english(f"模型 'e' 是 'X' 模式, 只支持 /v1/a, /v1/b / {half}") == half
    for text in ("it is loading", "/a/b / c", "中文", "模型未就绪"):
        assert in_english(text) == text


@pytest.mark.parametrize("part", [": ", "; ", " at ", "expected a, found ", "/ model 'x' is a "])
def test_a_text_made_to_be_slow_is_not(part: str) -> None:
    """A shape that tries everything would take longer than any test may."""
    text = (part * LONGEST)[:LONGEST]
    assert in_chinese(text) != ""
    assert in_english("模" + text) != ""
