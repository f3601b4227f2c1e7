"""What is said of the config file, the plugins and the port. English, Chinese."""

from __future__ import annotations

SETTING_UP: tuple[tuple[str, str], ...] = (
    # the file
    ("not valid JSON at {~place}: {~error} ({~hint})", "{place}不是有效的 JSON：{error}（{hint}）"),
    ("not valid JSON at {~place}: {~error}", "{place}不是有效的 JSON：{error}"),
    ("not valid YAML at {~place}: {error}", "{place}不是有效的 YAML：{error}"),
    ("not valid YAML: {error}", "不是有效的 YAML：{error}"),
    ("line {#line}, column {#column}", "第 {line} 行第 {column} 列"),
    (
        "a backslash in JSON is written \\\\; in paths a / works as well",
        "JSON 中反斜杠写作 \\\\，路径也可以用 /",
    ),
    ("is a quotation mark missing?", "是否少了引号？"),
    ("a comma too many, or a comment?", "是否多了逗号，或写了注释？"),
    ("text after the closing brace", "右花括号之后还有内容"),
    ("the file is nested too deeply", "文件嵌套过深"),
    ("a value cannot be read: {~error}", "有一个值无法读取：{error}"),
    ("{value} is not a number in JSON", "{value} 不是 JSON 数字"),
    ("this key stands here more than once", "这个键出现了多次"),
    ("{#n} more keys stand in their object more than once", "另有 {n} 个键在各自的对象中出现多次"),
    ("line {#line}: {key} stands here twice", "第 {line} 行：{key} 出现了两次"),
    (
        "{path} is not UTF-8 (line {#line}): save it as UTF-8.",
        "{path} 不是 UTF-8（第 {line} 行），请存为 UTF-8。",
    ),
    ("{path} cannot be read: {why}.", "无法读取 {path}：{why}。"),
    ("{path} has {~count}:", "{path} 有{count}："),
    ("a problem", "一处错误"),
    (
        "{path} cannot be replaced: another program holds it open, or it may not be written to",
        "无法替换 {path}：它正被其他程序打开，或不允许写入",
    ),
    ("{#n} problems", " {n} 处错误"),
    ("{option} can be changed in {file} only, by hand.", "{option} 只能在 {file} 中手动修改。"),
    (
        "{file} is not JSON: change {option} there by hand.",
        "{file} 不是 JSON，请在其中手动修改 {option}。",
    ),
    # its shape
    ("expected an object of models, found {~what}", "应为由模型组成的对象，实际是 {what}"),
    ("expected an object with a model, found {~what}", "应为描述模型的对象，实际是 {what}"),
    ("expected an object, found {~what}", "应为对象，实际是 {what}"),
    ("expected a text as key, found {~what}", "键应为文本，实际是 {what}"),
    ("expected {~wanted}, found {~what}", "应为{wanted}，实际是 {what}"),
    ("is missing: expected {~wanted}", "缺少此项，应为{wanted}"),
    ("is missing: which script starts the model?", "缺少此项：用哪个脚本启动模型？"),
    ("is not as config.schema.json says of {kind}", "与 config.schema.json 中的 {kind} 不符"),
    ("unknown key; {~advice}", "未知的键，{advice}"),
    ("did you mean {key}?", "是不是 {key}？"),
    ("known are {keys}", "可用的有 {keys}"),
    ('unknown section; did you mean "program"?', "未知的部分，是不是 program？"),
    (
        "belongs to an old config format: `python main.py migrate FILE` reads it",
        "属于旧的配置格式，可用 `python main.py migrate FILE` 转换",
    ),
    ("belongs into a variant: an object in the model", "应写在运行方案中，即模型内的对象"),
    (
        "has no variant: an object with required_devices, bat_path and memory_mb",
        "没有运行方案：需要一个带 required_devices、bat_path 和 memory_mb 的对象",
    ),
    ("{one} and {other} both have the name {name}", "{one} 和 {other} 使用了同一个名称 {name}"),
    ("the file holds no model", "文件中没有模型"),
    (
        "{#port} is also the port of {~user}: both cannot run at the same time",
        "端口 {port} 也属于{user}：两者不能同时运行",
    ),
    ("the program itself", "本程序自身"),
    ("names a device twice: case does not matter", "设备重复：名称不区分大小写"),
    ("{device} is not in required_devices", "{device} 不在 required_devices 中"),
    ("says nothing of {device}: 0 MB are reserved there", "没有写 {device}：将在其上预留 0 MB"),
    ("has bat_path and script_path: give one of them", "bat_path 和 script_path 只能写一个"),
    ("there is no file {path}: the model cannot be started", "没有文件 {path}：模型无法启动"),
    ("{script} names a folder, not a script", "{script} 是文件夹，不是脚本"),
    (
        "{script} lies outside the folder of the config file; to allow it, add {folder} "
        "to script_dirs in program",
        "{script} 不在配置文件所在的文件夹内；如需允许，把 {folder} 加入 program 的 script_dirs",
    ),
    (
        "{script} {letter} is not allowed in the name of a script on Windows",
        "{script}：Windows 上脚本名不能含有 {letter}",
    ),
    (
        "{script} a name must not end with a dot or a blank on Windows",
        "{script}：Windows 上名称不能以点或空格结尾",
    ),
    (
        "{script} {name} is the name of a Windows device, not of a script",
        "{script}：{name} 是 Windows 设备名，不能用作脚本名",
    ),
    ("has no effect any more", "已不再起作用"),
    # what a value has to be
    ("true or false", " true 或 false"),
    ("a whole number from {#low} to {#high}", " {low} 到 {high} 之间的整数"),
    ("a number from {#low} to {#high}", " {low} 到 {high} 之间的数"),
    (
        "a text that is not blank, has no control characters and at most 500 letters",
        "非空、不含控制字符、不超过 500 字的文本",
    ),
    ("a name without = and NUL", "不含 = 和 NUL 的名称"),
    ("a text without NUL", "不含 NUL 的文本"),
    ("a text", "文本"),
    ("{~wanted} or null", "{wanted}或 null"),
    ("one of {values}", "以下之一：{values}"),
    ("a list of one or more {~items}", "至少有一项的{items}列表"),
    ("a list of {~items}", "{items}列表"),
    ("texts", "文本"),
    ("an object of name and value, each {~wanted}", "由名称和值组成的对象，每个值为{wanted}"),
    ("a huge number", "过大的数"),
    ("a list", "列表"),
    ("an empty list", "空列表"),
    ("an object", "对象"),
    ("an empty object", "空对象"),
    # plugins
    ("cannot read the folder {path}: {why}", "无法读取文件夹 {path}：{why}"),
    (
        "it is a link to {path}, outside of the plugin folder",
        "它是指向插件文件夹之外的链接：{path}",
    ),
    ("cannot be read: {why}", "无法读取：{why}"),
    (
        "every user of this machine may write to it: chmod o-w '{path}'",
        "本机任何用户都能改写它，可运行 chmod o-w '{path}'",
    ),
    ("gives the same name to two plugins", "两个插件使用了同一个名称"),
    (
        "needs the Python package '{name}', which is not installed: {command}",
        "需要 Python 包“{name}”，但尚未安装：{command}",
    ),
    ("line {#line}: {~error}", "第 {line} 行：{error}"),
    ("has no class that inherits from {base}", "没有继承自 {base} 的类"),
    ("discover() must return a list of plugins", "discover() 必须返回插件列表"),
    (
        "discover() must return {base} objects, not {found}",
        "discover() 必须返回 {base} 对象，而不是 {found}",
    ),
    (
        'class {name} has no name: call super().__init__("name") in its __init__',
        '类 {name} 没有名称：请在 __init__ 中调用 super().__init__("名称")',
    ),
    ("class {name} lacks {methods}", "类 {name} 缺少 {methods}"),
    (
        "validate_request() must return (bool, str), not {answer}",
        "validate_request() 必须返回 (bool, str)，而不是 {answer}",
    ),
    (
        "validate_request() refuses its own endpoint {path}",
        "validate_request() 拒绝了它自己的端点 {path}",
    ),
    (
        'get_supported_endpoints() must return a set such as {"v1/x"}',
        'get_supported_endpoints() 必须返回集合，例如 {"v1/x"}',
    ),
    (
        "get_supported_endpoints() must name at least one path, as text",
        "get_supported_endpoints() 必须以文本给出至少一个路径",
    ),
    (
        "is_online() must return True or False, not None",
        "is_online() 必须返回 True 或 False，而不是 None",
    ),
    (
        "get_memory_info() must return (total, available, used) in MB, not {answer}",
        "get_memory_info() 必须返回以 MB 计的 (总量, 可用, 已用)，而不是 {answer}",
    ),
    (
        "get_memory_info() returned impossible numbers: {answer}",
        "get_memory_info() 返回了不可能的数值：{answer}",
    ),
    ("the name '{name}' is given by {file} already", "名称“{name}”已被 {file} 使用"),
)

PYTHON: tuple[tuple[str, str], ...] = (
    ("Expecting value", "缺少值"),
    ("Expecting ',' delimiter", "缺少逗号"),
    ("Expecting ':' delimiter", "缺少冒号"),
    ("Expecting property name enclosed in double quotes", "缺少用双引号括起的键"),
    ("Illegal trailing comma before end of object", "对象末尾多了逗号"),
    ("Illegal trailing comma before end of array", "数组末尾多了逗号"),
    ("Unterminated string starting at", "字符串没有结束引号"),
    ("Invalid control character at", "字符串中有控制字符"),
    ("Invalid \\escape", "无效的转义"),
    ("Invalid \\uXXXX escape", "无效的 \\uXXXX 转义"),
    ("Extra data", "多余的内容"),
)
"""What Python's JSON reader says of a broken file."""
