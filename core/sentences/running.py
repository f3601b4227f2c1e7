"""What is said of models on their way: the line, loading, health, failures. English, Chinese."""

from __future__ import annotations

RUNNING: tuple[tuple[str, str], ...] = (
    # stages
    ("starting", "正在启动进程"),
    ("waking", "正在唤醒"),
    ("draining", "等待回答结束"),
    ("stopping", "正在结束进程"),
    # the line and the scheduler
    ("it is no longer configured", "配置中已没有这个模型"),
    (
        "an older request for another model needs its memory",
        "另一个模型有更早的请求在等这部分内存",
    ),
    ("all {#n} places are taken", "{n} 个并发名额已用完"),
    ("it is loading", "正在加载"),
    ("it is stopping and starts again after that", "正在停止，随后会重新启动"),
    ("the devices are being read for the first time", "正在首次读取设备"),
    ("{model} is loading on the same device", "{model} 正在同一设备上加载"),
    ("memory is being given back", "等待内存释放"),
    ("waiting for {models} to become idle", "等待 {models} 空闲"),
    ("no variant has all its devices online: {~each}", "没有一个运行方案的设备全部在线：{each}"),
    ("variant '{name}' needs {devices}", "方案“{name}”需要 {devices}"),
    ("it can never fit: {~each}", "设备容量不足：{each}"),
    (
        "variant '{name}' needs {#mb} MB on '{device}', which has {#total} MB in all",
        "方案“{name}”需要 {device} 上的 {mb} MB，而该设备一共只有 {total} MB",
    ),
    (
        "{#mb} MB are needed on '{device}' and only {#free} MB are free",
        "{device} 上需要 {mb} MB，只有 {free} MB 空闲",
    ),
    (
        "{~each} (the rest is held by pinned models or other programs)",
        "{each}（其余由固定的模型或其他程序占用）",
    ),
    # why a model cannot be started at all
    ("the script {path} does not exist", "脚本 {path} 不存在"),
    ("{devices} is offline or unknown", "{devices} 离线或不存在"),
    # health
    ("waiting for port {#port}", "等待端口 {port}"),
    ("health check {#n}: {~said}", "第 {n} 次健康检查：{said}"),
    ("connection refused", "连接被拒绝"),
    ("no answer within {#s} s", "{s} 秒内没有回答"),
    ("no proper answer: {error}", "回答无效：{error}"),
    ("answered in {#s} s", "{s} 秒后回答"),
    (
        "{~took}, but refused the test request: {said}",
        "{took}，但拒绝了测试请求：{said}",
    ),
    ("answered in {#s} s: {said}", "{s} 秒后回答：{said}"),
    (
        "200 without '{key}': this is not the server it should be",
        "回答 200，但缺少“{key}”：不是预期的服务器",
    ),
    ("does not serve {path} for '{model}': {said}", "不为“{model}”提供 {path}：{said}"),
    ("loading: {said}", "正在加载：{said}"),
    ("error: {said}", "错误：{said}"),
    # ports
    (
        "nobody listens on 127.0.0.1:{#port}, but its processes on {places}: does the script use "
        "LLM_PORT and LLM_HOST?",
        "127.0.0.1:{port} 没有程序监听，但它的进程监听了 {places}："
        "脚本使用 LLM_PORT 和 LLM_HOST 了吗？",
    ),
    ("nobody listens on 127.0.0.1:{#port}", "127.0.0.1:{port} 没有程序监听"),
    (
        "nobody of this tree listens on port {#port}: it has ended",
        "端口 {port} 上已没有这个模型的进程：它已结束",
    ),
    (
        "port {#port} is answered by {~who}, not by the server that was started",
        "端口 {port} 由 {who} 应答，不是刚启动的服务器",
    ),
    ("port {#port} is taken by {~who}", "端口 {port} 已被 {who} 占用"),
    ("port {#port} cannot be used: {why}", "端口 {port} 无法使用：{why}"),
    ("no free port is left on this machine", "本机已没有空闲端口"),
    ("another program", "其他程序"),
    ("a program", "某个程序"),
    ("{~name} (pid {#pid})", "{name}（PID {pid}）"),
    # the end of a life
    ("not ready after {#s} s ({~stage})", "{s} 秒后仍未就绪（{stage}）"),
    ("the server ended by itself ({~how})", "服务器自行退出（{how}）"),
    ("exit code {#code}", "退出码 {code}"),
    ("signal {#number}", "信号 {number}"),
    ("nobody answers at port {#port} any longer", "端口 {port} 不再应答"),
    ("it did not {~what} in time", "未能按时{what}"),
    ("it did not {~what}: {why}", "未能{what}：{why}"),
    ("wake up", "唤醒"),
    ("go to sleep", "进入休眠"),
    ("engine '{name}': {why}", "引擎“{name}”：{why}"),
    # the launch
    ("the folder {path} does not exist", "文件夹 {path} 不存在"),
    ("cannot start {program}: {~why}", "无法启动 {program}：{why}"),
    ("the program {program} is not on the PATH", "PATH 中没有程序 {program}"),
    ("{path} is a folder, not a script", "{path} 是文件夹，不是脚本"),
    ("{path} does not exist", "{path} 不存在"),
    (
        "{path} is not executable; try: chmod +x '{same}'",
        "{path} 没有执行权限，可运行 chmod +x '{same}'",
    ),
    (
        "{path} is to be run by {interpreter}, which does not exist",
        "{path} 要由 {interpreter} 运行，但它不存在",
    ),
    ("{path} cannot be read: {why}", "无法读取 {path}：{why}"),
    (
        "{path} has Windows line endings; save it with LF line endings",
        "{path} 使用 Windows 换行符，请用 LF 换行符保存",
    ),
    (
        "a batch file is started in its own folder, without arguments",
        "批处理文件只在自己的文件夹中启动，且不带参数",
    ),
    (
        "{path} cannot be started safely: rename it, without '%'",
        "{path} 无法安全启动，请改名并去掉“%”",
    ),
    (
        "cmd.exe cannot work in a network folder; give it a drive letter",
        "cmd.exe 不能在网络文件夹中工作，请映射一个盘符",
    ),
    (
        "Windows cannot run this kind of file; a start-up script is a .bat or .exe file",
        "Windows 无法运行这种文件，启动脚本应为 .bat 或 .exe",
    ),
    ("the process cannot be resumed (status {code})", "进程无法恢复运行（状态 {code}）"),
    # devices
    ("no NVIDIA driver on this machine", "本机没有 NVIDIA 驱动"),
    ("NVIDIA driver: {error}", "NVIDIA 驱动：{error}"),
    ("the Python package nvidia-ml-py is not installed", "未安装 Python 包 nvidia-ml-py"),
    ("no such GPU here (there is: {names})", "本机没有这块 GPU（现有：{names}）"),
    ("the device probe {~what}", "设备探测进程{what}"),
    ("gave no answer within {#s} s", "在 {s} 秒内没有回答"),
    ("talks nonsense: {error}", "的回答无法解析：{error}"),
    ("crashed with {signal}", "崩溃（{signal}）"),
    ("ended the process (exit code {code})", "结束了进程（退出码 {code}）"),
    ("cannot start: {error}", "无法启动：{error}"),
    # the tray icon
    ("on", "已显示"),
    ("off ({~why})", "未显示（{why}）"),
    ("headless", "以无界面方式运行"),
    (
        "on (icon only: a menu needs Debian's python3-gi and gir1.2-ayatanaappindicator3-0.1)",
        "已显示（只有图标：菜单需要 Debian 的 python3-gi 和 gir1.2-ayatanaappindicator3-0.1）",
    ),
    ("it ended by itself", "它自行退出"),
    (
        "no desktop: neither DISPLAY nor WAYLAND_DISPLAY is set",
        "没有桌面：未设置 DISPLAY 或 WAYLAND_DISPLAY",
    ),
    (
        "macOS shows icons only from the main thread, which serves requests here",
        "macOS 只允许主线程显示图标，而主线程在这里处理请求",
    ),
    ("no panel of this desktop shows tray icons", "这个桌面没有能显示托盘图标的面板"),
    ("the desktop session ended", "桌面会话已结束"),
    ("no taskbar: {error}", "没有任务栏：{error}"),
    ("it did not take the icon", "它没有接受图标"),
    (
        "Windows starts no command of more than {limit} characters at logon, and this one has"
        " {length}: use shorter paths",
        "Windows 登录时不会启动超过 {limit} 个字符的命令，而这条命令有 {length} 个字符："
        "请使用更短的路径",
    ),
)
