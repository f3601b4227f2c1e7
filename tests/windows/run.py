"""Run a Windows Python under wine: `python -m tests.windows.run [--locale zh_CN.UTF-8] ARGS...`.

Without arguments: pytest over everything that makes sense there.
"""

from __future__ import annotations

import sys

from tests.windows import prefix, wine


def main(arguments: list[str]) -> int:
    locale = "C.UTF-8"
    if arguments[:1] == ["--locale"]:
        locale = arguments[1]
        del arguments[:2]
    if not arguments:
        arguments = ["-m", "pytest", "tests"]
    if lacking := wine.missing():
        print(f"not installed: {lacking} (tests/setup-debian.sh installs them)")
        return 1
    with wine.alone():
        prefix.prepare()
        env = wine.environment(locale)
        return wine.run([str(wine.PYTHON / "python.exe"), *arguments], env, seconds=1800)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
