"""What is said to somebody whose request or click was refused. English, Chinese."""

from __future__ import annotations

REQUESTS: tuple[tuple[str, str], ...] = (
    ("last lines of its log:", "最后几行日志："),
    ("'{name}' cannot be loaded: {~why}", "无法加载 {name}：{why}"),
    ("'{name}' did not start: {~why}", "{name} 未能启动：{why}"),
    ("'{name}' did not start", "{name} 未能启动"),
    ("'{name}' was stopped while this request waited", "请求排队时 {name} 被停止"),
    ("'{name}' is no longer configured", "配置中已没有 {name}"),
    ("'{name}' is not running", "{name} 没有运行"),
    ("the engine of '{name}' cannot sleep", "{name} 的引擎不支持休眠"),
    ("LLM-Manager is ending", "LLM-Manager 正在退出"),
    ("{#n} requests already wait for '{name}'", "已有 {n} 个请求在等待 {name}"),
    ("'{name}' stays as it was: {~why}", "{name} 保持原样：{why}"),
    ("the address stays as it was: {~why}", "地址保持原样：{why}"),
    ("{source} decides the address: change it there.", "地址由 {source} 决定，请在那里修改。"),
    ("request {#n} is over", "请求 {n} 已结束"),
    # the way to a model
    ("There is no model {name}; near to it: {names}.", "没有模型 {name}，相近的有：{names}。"),
    (
        "There is no model {name}; GET /v1/models lists them.",
        "没有模型 {name}，GET /v1/models 可列出所有模型。",
    ),
    ("no interface plugin provides the mode '{mode}'", "没有接口插件提供“{mode}”模式"),
    ("no engine plugin is named '{name}'", "没有名为“{name}”的引擎插件"),
    ("interface plugin '{name}': {error}", "接口插件“{name}”：{error}"),
    (
        "{before} / model '{name}' is a {mode} model and serves only {paths}",
        "{name} 是 {mode} 模型，只提供 {paths}",
    ),
    (
        "{before} / the start-up script of '{name}' ({variant}) does not exist: {path}",
        "{name}（{variant}）的启动脚本不存在：{path}",
    ),
    ("there is nothing at {path}: did you mean {meant}?", "{path} 不存在，是不是 {meant}？"),
    ("there is nothing at {path}", "{path} 不存在"),
    ("there is no file {name} yet", "还没有文件 {name}"),
    ("{path} takes {methods}", "{path} 只接受 {methods}"),
    ("only 100-continue can be expected", "Expect 只支持 100-continue"),
    ("{kind} inside LLM-Manager", "LLM-Manager 内部错误（{kind}）"),
    # who may ask
    (
        "the name {host} is not known here: use an IP address or localhost, or add it to "
        '"allowed_hosts" in the "program" section of the config',
        "主机名 {host} 未获允许：请用 IP 地址或 localhost 访问，"
        "或把它加入配置 program 部分的 allowed_hosts",
    ),
    (
        "a page from {origin} may not do this: if you trust it, add it to "
        '"cors_origins" in the "program" section of the config',
        "来自 {origin} 的网页无权这样做：如果信任它，请把它加入配置 program 部分的 cors_origins",
    ),
    ("another site", "其他网站"),
    ("the request is for another host than its Host header", "请求目标的主机与 Host 头不一致"),
    ("only paths are accepted as the target of a request", "请求目标只能是路径"),
    ("the path of the request is ambiguous", "请求路径有歧义"),
    (
        "The path has dot segments or characters that do not belong there.",
        "路径中含有点段或不允许的字符。",
    ),
    # the body
    ("the body is too large", "请求体过大"),
    ("the body is larger than {#n} MiB", "请求体超过 {n} MiB"),
    ("the body cannot be read: {error}", "无法读取请求体：{error}"),
    (
        "the body came too slowly: {#n} bytes in {#s} s",
        "请求体到达得太慢：{s} 秒内 {n} 字节",
    ),
    ('the body names no "model"', "请求体没有指定 model"),
    ("the body is not {~kind}: {~error}", "请求体不是{kind}：{error}"),
    ("a JSON object", " JSON 对象"),
    ("a form", "表单"),
    ("the form has no boundary", "表单没有分隔符"),
    ("a part of the form has no head", "表单的某一部分没有头"),
    ("the form has two fields named {name}", "表单中有两个名为 {name} 的字段"),
    ("the form does not begin with its boundary", "表单没有以分隔符开头"),
    ("a boundary of the form is not on a line of its own", "表单的分隔符没有独占一行"),
    ("the form does not end with its boundary", "表单没有以分隔符结尾"),
    # the server behind
    ("The server of {name} gave no answer: {~why}.", "{name} 的服务器没有回答：{why}。"),
    ("The server of {name} broke the answer: {~why}.", "{name} 的服务器中断了回答：{why}。"),
    ("The server at {address} takes no connection: {error}", "{address} 的服务器拒绝连接：{error}"),
    ("The server is being stopped.", "服务器正在停止。"),
    ("{~why} before its answer began", "回答开始前{why}"),
    ("it closed the connection", "连接被对方关闭"),
    ("its connection broke", "连接中断"),
    ("it is being stopped", "它正在停止"),
    ("it changed the protocol", "它改用了其他协议"),
    ("its answer is not HTTP/1", "它的回答不是 HTTP/1"),
    ("its answer has wrong chunks", "它的回答分块有误"),
    ("the head of its answer is too large", "回答的头部过大"),
    ("its answer has more than {#n} header fields", "回答的头部超过 {n} 个字段"),
    ("its answer has a wrong Content-Length", "回答的 Content-Length 有误"),
    ("its answer has a wrong Transfer-Encoding", "回答的 Transfer-Encoding 有误"),
    (
        "its answer has both Content-Length and Transfer-Encoding",
        "回答同时带有 Content-Length 和 Transfer-Encoding",
    ),
    ("the head of its answer has bare line ends", "回答头部的换行符不完整"),
)
