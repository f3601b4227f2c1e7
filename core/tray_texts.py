"""What the tray says, in English and Chinese, and which of the two this system speaks."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from core.sentences.translate import in_chinese, in_english

Language = Literal["en", "zh"]
TITLE, BODY = 63, 255
"""Windows keeps 64 and 256 places of a notification, the last one for the end of the string."""

TEXTS: Mapping[str, tuple[str, str]] = {
    "open": ("Open dashboard", "打开控制台"),
    "models": ("Models ({loaded} of {all} loaded)", "模型（已加载 {loaded}/{all}）"),
    "no_models": ("No models configured", "没有配置模型"),
    "more": ("{count} more in the dashboard", "控制台中还有 {count} 个"),
    "restart_autostart": ("Restart auto-start models", "重启自动启动的模型"),
    "stop_all": ("Unload all models", "卸载全部模型"),
    "logs": ("Open logs folder", "打开日志文件夹"),
    "notifications": ("Notifications", "通知"),
    "autostart": ("Start with the system", "开机自动启动"),
    "quit": ("Quit", "退出"),
    "start": ("Start", "启动"),
    "wake": ("Wake up", "唤醒"),
    "stop": ("Unload", "卸载"),
    "abort": ("Abort", "中止"),
    "stop_now": ("Unload without waiting", "立即卸载，不再等待"),
    "stopped": ("stopped", "未运行"),
    "starting": ("starting", "启动中"),
    "ready": ("ready", "就绪"),
    "draining": ("finishing", "收尾中"),
    "sleeping": ("sleeping", "休眠"),
    "waking": ("waking", "唤醒中"),
    "stopping": ("stopping", "停止中"),
    "failed": ("failed", "失败"),
    "waiting": ("waiting for room", "等待资源"),
    "requests": ("requests: {count}", "请求 {count}"),
    "seconds": ("{count} s", "{count} 秒"),
    "devices": ("Devices: {names}", "设备：{names}"),
    "no_devices": ("no device online", "没有在线设备"),
    "loading": ("Loading: {names}", "加载中：{names}"),
    "loaded": ("Loaded: {names}", "已加载：{names}"),
    "nothing_loaded": ("nothing loaded", "未加载模型"),
    "failing": ("Failed: {names}", "失败：{names}"),
    "bad_config": ("The config file has problems", "配置文件有错误"),
    "failed_title": ("{model} failed", "{model} 失败"),
    "ready_title": ("{model} is ready", "{model} 已就绪"),
    "ready_body": ("Loaded in {seconds} s", "加载用时 {seconds} 秒"),
    "config_title": ("Config file not applied", "配置文件未生效"),
    "autostart_title": ("Start with the system could not be changed", "无法更改开机自动启动"),
}
"""English, Chinese."""


@dataclass(frozen=True, slots=True)
class Texts:
    """The catalogue in one language: `texts("seconds", count=3)`."""

    language: Language

    def __call__(self, key: str, **values: object) -> str:
        return TEXTS[key][self.language == "zh"].format(**values)

    def sentence(self, text: str) -> str:
        """A sentence of the program, in this language where it is one of ours."""
        return in_chinese(text) if self.language == "zh" else in_english(text)


def system_language(env: Mapping[str, str]) -> Language:
    """The language of this user's desktop; English where it is neither of the two."""
    if sys.platform == "win32":
        import ctypes

        primary = ctypes.windll.kernel32.GetUserDefaultUILanguage() & 0x3FF
        return "zh" if primary == 0x04 else "en"
    return _posix_language(env)


def _posix_language(env: Mapping[str, str]) -> Language:
    """What gettext would choose: LANGUAGE is heeded unless the locale is C."""
    names = ("LC_ALL", "LC_MESSAGES", "LANG")
    locale = next((env[name] for name in names if env.get(name)), "C")
    if locale.partition(".")[0] in ("C", "POSIX"):
        return "en"
    wanted = (env.get("LANGUAGE") or locale).split(":")[0]
    return "zh" if wanted.lower().startswith("zh") else "en"


def clip(text: str, limit: int) -> str:
    """At most `limit` UTF-16 units, as Windows counts them; what is cut ends in an ellipsis."""
    if _units(text) <= limit:
        return text
    while text and _units(text) >= limit:
        text = text[:-1]
    return text + "…"


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
