"""Start LLM-Manager, or one of its commands: `python main.py --help`."""

# Kept readable for very old Pythons, which get a sentence instead of a syntax error.
import sys

if __name__ == "__main__":  # not when a child process of ours imports its parent's main module
    if sys.version_info < (3, 11):  # noqa: UP036
        version = ".".join(map(str, sys.version_info[:2]))
        sys.exit("LLM-Manager needs Python 3.11 or newer; this is Python " + version + ".")
    try:
        from core.cli import main
    except ModuleNotFoundError as error:
        package = (error.name or "core").partition(".")[0]
        if package in {"core", "plugins", "webui"} or package in sys.stdlib_module_names:
            raise  # a fault of ours or of this Python: installing would not help
        command = "LLM-Manager.bat" if sys.platform == "win32" else "./llm-manager.sh"
        sys.exit(
            "LLM-Manager cannot start: the Python package '" + package + "' is missing. "
            "Run " + command + ": it installs what is needed and starts the program."
        )
    sys.exit(main())
