"""Every text of the dashboard in its two languages, and which of them a browser wants."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from core.sentences.translate import in_chinese, in_english

LANGUAGES = ("zh", "en")

TEXTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        # the frame
        "skip": ("跳到模型列表", "Skip to the models"),
        "nav": ("页面", "Pages"),
        "overview": ("总览", "Overview"),
        "program_log": ("日志", "Log"),
        "plugins": ("插件", "Plugins"),
        "config": ("配置", "Config"),
        "live": ("实时", "Live"),
        "connecting": ("连接中", "Connecting"),
        "lost": ("连接中断，正在重试", "Connection lost, retrying"),
        "paused": ("已暂停", "Paused"),
        "language": ("English", "中文"),
        "language_hint": ("Switch to English", "切换到中文"),
        "theme": ("外观", "Appearance"),
        "theme_auto": ("跟随系统", "As the system"),
        "theme_light": ("浅色", "Light"),
        "theme_dark": ("深色", "Dark"),
        "close": ("关闭", "Close"),
        "widen": ("放大面板", "Widen the panel"),
        "copied": ("已复制", "Copied"),
        "copy": ("复制", "Copy"),
        "cancel": ("取消", "Cancel"),
        "not_reached": ("LLM-Manager 没有回应。", "LLM-Manager does not answer."),
        # summary
        "summary": ("概况", "At a glance"),
        "loaded": ("已加载", "Loaded"),
        "of": ("共", "of"),
        "serving_now": ("正在响应", "Serving"),
        "in_line": ("排队", "In line"),
        "problems": ("问题", "Problems"),
        "base_url": ("接口地址", "Address for clients"),
        "restart_auto": ("重启自启模型", "Restart auto-start"),
        "restart_auto_hint": (
            "等正在进行的回答结束后，重新加载所有自动启动的模型",
            "Load all auto-start models again, once their running answers are done",
        ),
        "stop_all": ("全部卸载", "Unload all"),
        "stop_all_ask": (
            "卸载所有模型？正在进行的回答会被中断。",
            "Unload all models? Running answers are cut off.",
        ),
        # banners
        "reachable": (
            "局域网中的其他设备可以访问此地址，且无需密钥。",
            "Other machines of the network can reach this address, without a key.",
        ),
        "only_here": ("仅限本机", "This machine only"),
        "only_here_hint": (
            "把 host 127.0.0.1 写入配置文件，下次启动后生效",
            "Write host 127.0.0.1 to the config file; takes effect at the next start",
        ),
        "only_here_ask": (
            "下次启动后只能在运行它的机器上打开。继续？",
            "From the next start on it opens only on the machine that it runs on. Go on?",
        ),
        "after_restart": ("重启 LLM-Manager 后生效：", "Waiting for a restart of LLM-Manager:"),
        "closing": ("届时只有本机可以访问。", "Then only this machine can reach it."),
        "copy_path": ("复制路径", "Copy its path"),
        "hide": ("知道了", "Understood"),
        "config_broken": (
            "配置文件有错误，仍在使用旧配置。",
            "The config file has problems; the old one stays in force.",
        ),
        "config_warns": ("配置警告", "The config has warnings"),
        "plugin_broken": ("有插件未能加载。", "Some plugins did not load."),
        "details": ("详情", "Details"),
        "tray": ("托盘图标", "Tray icon"),
        # devices
        "devices": ("设备", "Devices"),
        "devices_reading": ("正在首次读取设备…", "Reading the devices for the first time…"),
        "devices_none": ("没有设备。", "There are no devices."),
        "devices_none_more": (
            "在 plugins/devices 中放一个设备插件。",
            "Put a device plugin into plugins/devices.",
        ),
        "offline": ("离线", "offline"),
        "free": ("空闲", "free"),
        "free_of": ("空闲，共", "free of"),
        "others": ("其他程序", "other programs"),
        "loading_mem": ("加载中", "loading"),
        "use": ("利用率", "use"),
        "temperature": ("温度", "temperature"),
        "power": ("功率", "power"),
        "history": ("最近 15 分钟的内存", "Memory over the last 15 minutes"),
        "in_use": ("已用", "in use"),
        "ours": ("本程序", "ours"),
        # models
        "models": ("模型", "Models"),
        "search_models": ("搜索模型", "Search models"),
        "all": ("全部", "All"),
        "filter": ("按状态筛选", "Filter by state"),
        "f_loaded": ("已加载", "Loaded"),
        "f_busy": ("忙碌", "Busy"),
        "f_problem": ("有问题", "Problems"),
        "f_off": ("未加载", "Not loaded"),
        "sort": ("排序", "Sort"),
        "s_file": ("按配置顺序", "As in the config"),
        "s_name": ("按名称", "By name"),
        "s_state": ("按状态", "By state"),
        "s_memory": ("按内存", "By memory"),
        "no_match": ("没有符合条件的模型。", "No model matches."),
        "no_models": ("还没有配置模型。", "No models are configured yet."),
        "no_models_more": (
            "在配置文件中添加一个，保存即生效：",
            "Add one to the config file; it takes effect when you save:",
        ),
        "start": ("启动", "Start"),
        "stop": ("停止", "Stop"),
        "abort": ("中止", "Abort"),
        "kill": ("立即结束", "End now"),
        "pin": ("固定（永不被挤出）", "Pin: never evicted"),
        "unpin": ("取消固定", "Unpin"),
        "pinned": ("已固定", "pinned"),
        "try": ("试用", "Try it"),
        "log": ("日志", "Log"),
        "requests": ("请求", "Requests"),
        "settings": ("设置", "Settings"),
        "copy_name": ("复制名称", "Copy the name"),
        "running": ("进行中", "running"),
        "waiting": ("等待", "waiting"),
        "unloads_in": ("{} 后卸载", "unloads in {}"),
        "never_unloads": ("不自动卸载", "stays loaded"),
        "port": ("端口", "port"),
        "usual_load": ("通常", "usually"),
        "retry_in": ("{} 后可重试", "next try in {}"),
        "last_lines": ("最后几行日志", "Last lines of its log"),
        "start_unloads": ("启动它会卸载：", "Starting it unloads:"),
        "start_waits": ("启动需要等待：", "A start would wait:"),
        "start_refused": ("现在无法启动：", "It cannot start now:"),
        "start_anyway": ("启动并卸载", "Start and unload"),
        "start_fits": ("现在启动不影响其他模型。", "Starting it now disturbs no other model."),
        # states
        "st_stopped": ("未加载", "Not loaded"),
        "st_starting": ("加载中", "Loading"),
        "st_ready": ("就绪", "Ready"),
        "st_serving": ("响应中", "Serving"),
        "st_draining": ("收尾中", "Finishing"),
        "st_sleeping": ("休眠", "Asleep"),
        "st_waking": ("唤醒中", "Waking"),
        "st_stopping": ("停止中", "Stopping"),
        "st_failed": ("失败", "Failed"),
        "st_waiting": ("等待空间", "Waiting for room"),
        "st_unable": ("无法启动", "Cannot start"),
        # requests
        "in_flight": ("进行中的请求", "Requests in flight"),
        "none_in_flight": ("没有进行中的请求。", "Nothing is in flight."),
        "finished": ("最近的请求", "Recent requests"),
        "none_finished": ("还没有请求。", "No requests yet."),
        "client": ("客户端", "Client"),
        "endpoint": ("接口", "Endpoint"),
        "time": ("时间", "Time"),
        "pieces": ("数据块", "Chunks"),
        "tokens": ("词元", "Tokens"),
        "speed": ("词元/秒", "Tokens/s"),
        "when": ("何时", "When"),
        "result": ("结果", "Result"),
        "model": ("模型", "Model"),
        "ago": ("{}前", "{} ago"),
        "client_closed": ("客户端离开", "client left"),
        "upstream_broken": ("服务器中断", "server broke off"),
        "ok": ("成功", "ok"),
        "cancel_request": ("中断此请求", "Cancel this request"),
        # panel
        "facts": ("设置（当前生效）", "Settings in force"),
        "aliases": ("名称", "Names"),
        "mode": ("接口类型", "Interface"),
        "engine": ("引擎", "Engine"),
        "variants": ("运行方案", "Variants"),
        "alive_time": ("空闲卸载", "Unload when idle"),
        "never": ("从不", "never"),
        "auto_start": ("自动启动", "Starts by itself"),
        "start_timeout": ("启动时限", "Start timeout"),
        "stop_timeout": ("停止时限", "Stop timeout"),
        "priority": ("优先级", "Priority"),
        "concurrency": ("并发上限", "Concurrency"),
        "queue_limit": ("排队上限", "Queue limit"),
        "no_limit": ("不限", "no limit"),
        "upstream_model": ("服务器端名称", "Name sent to the server"),
        "environment": ("环境变量", "Environment"),
        "any_port": ("任意空闲端口", "any free one"),
        "yes": ("是", "yes"),
        "no": ("否", "no"),
        "starts": ("启动次数", "Starts"),
        "process": ("进程", "Process"),
        "edit_in": (
            "修改：编辑配置文件，保存即生效",
            "To change it, edit the config file and save",
        ),
        "unknown_model": ("没有这个模型：", "There is no such model:"),
        "unknown_model_more": (
            "它可能已从配置中删除或改名。",
            "It may have been removed from the config, or renamed.",
        ),
        # log
        "find": ("查找", "Find"),
        "search_log": ("在日志中查找", "Find in the log"),
        "only_matches": ("只看匹配行", "Matches only"),
        "wrap": ("自动换行", "Wrap"),
        "previous": ("上一个", "Previous"),
        "next": ("下一个", "Next"),
        "follow": ("跟随最新", "Follow"),
        "new_lines": ("行新日志", "new lines"),
        "download": ("下载", "Download"),
        "log_empty": ("还没有输出。", "Nothing was printed yet."),
        "skipped": (
            "行过快，未显示（下载可见全部）",
            "lines too fast to show (all are in the download)",
        ),
        "lines": ("行", "lines"),
        "matches": ("处匹配", "matches"),
        # try it
        "try_kind": ("调用", "Call"),
        "message": ("消息", "Message"),
        "prompt": ("提示文本", "Prompt"),
        "query": ("查询", "Query"),
        "documents": ("文档（每行一篇）", "Documents, one per line"),
        "inputs": ("文本（每行一条）", "Texts, one per line"),
        "body": ("请求 JSON", "Request JSON"),
        "max_tokens": ("最大词元数", "Max tokens"),
        "send": ("发送", "Send"),
        "stop_answer": ("停止", "Stop"),
        "answer": ("回答", "Answer"),
        "answer_here": ("回答会显示在这里。", "The answer appears here."),
        "first_token": ("首个词元", "First token"),
        "total_time": ("总用时", "Total"),
        "dimensions": ("维", "dimensions"),
        "same_call": ("同样的调用", "The same call"),
        "no_try": ("此接口没有可试用的调用。", "This interface has no call to try."),
        "hello": ("你好！请用一句话介绍一下自己。", "Hello! Introduce yourself in one sentence."),
        "once": ("从前有座山，", "Once upon a time"),
        "rr_query": ("哪种动物会飞？", "Which animal can fly?"),
        "rr_docs": (
            "猫会爬树。\n鹰在天上飞。\n鱼在水里游。",
            "Cats climb.\nEagles fly.\nFish swim.",
        ),
        "embed_text": ("今天天气很好\n阳光明媚", "The weather is fine today\nSunshine everywhere"),
        # plugins and config
        "plugins_more": (
            "文件夹中的改动在 2 秒内自动生效。",
            "Changes in the folders take effect within 2 seconds.",
        ),
        "reload": ("重新读取", "Reload"),
        "kind_devices": ("设备", "Devices"),
        "kind_interfaces": ("接口", "Interfaces"),
        "kind_engines": ("引擎", "Engines"),
        "plugin_ok": ("已加载", "loaded"),
        "plugin_old": ("旧版本仍在使用", "the old version stays in use"),
        "plugin_failed": ("未加载", "not loaded"),
        "folder_empty": ("文件夹里没有插件。", "There is no plugin in this folder."),
        "config_ok": ("配置文件没有问题。", "The config file has no problems."),
        "warnings": ("提醒", "Warnings"),
        "file": ("文件", "File"),
        "address": ("地址", "Address"),
        "version": ("版本", "Version"),
        "log_file": ("日志文件", "Log file"),
        "log_level": ("日志级别", "Log level"),
        "monitoring": ("设备监控", "Device monitoring"),
        "allowed_hosts": ("允许的主机名", "Allowed hosts"),
        "cors_origins": ("允许的来源", "CORS origins"),
        "none": ("无", "none"),
        # first run
        "welcome": ("欢迎使用 LLM-Manager", "Welcome to LLM-Manager"),
        "welcome_more": (
            "一个地址，按需启动本机的所有模型。先用自带的演示模型试一次：",
            "One address that starts this machine's models when they are needed. "
            "Try it with a demo model:",
        ),
        "first_request": ("发送第一个请求", "Send the first request"),
        "demo_note": (
            "演示模型很小，输出没有意义；第一次会在本机生成，不需要下载模型。",
            "The demo model is tiny and talks nonsense; it is made on this machine at first use.",
        ),
        "own_model": ("添加自己的模型", "Add a model of your own"),
        "own_1": (
            "写一个启动脚本，监听环境变量 LLM_PORT（示例在 Model_startup_script/examples）。",
            "Write a script that starts your server on $LLM_PORT "
            "(examples: Model_startup_script/examples).",
        ),
        "own_2": ("在配置文件中添加一项：", "Add an entry to the config file:"),
        "own_3": (
            "保存。几秒后模型会出现在这里，第一个请求会启动它。",
            "Save. It appears here within seconds, and its first request starts it.",
        ),
        "unit_s": ("秒", "s"),
        "unit_min": ("分", "min"),
    }
)


class Texts:
    """The texts of one language: `texts["start"]`."""

    def __init__(self, language: str) -> None:
        self.language = language if language in LANGUAGES else "en"
        self._index = LANGUAGES.index(self.language)

    def __getitem__(self, key: str) -> str:
        return TEXTS[key][self._index]

    def sentence(self, text: str) -> str:
        """A sentence of the program in this language; what a stranger said stays as it is."""
        return in_chinese(text) if self.language == "zh" else in_english(text)


def preferred_language(accept: str) -> str:
    """The language that a browser's Accept-Language likes best; English for everybody else."""
    best, weight = "en", 0.0
    for part in accept.split(","):
        tag, _, quality = part.strip().partition(";")
        language = tag.strip().lower().partition("-")[0]
        try:
            q = float(quality.strip().removeprefix("q=") or 1)
        except ValueError:
            q = 0.0
        if language in LANGUAGES and q > weight:
            best, weight = language, q
    return best
