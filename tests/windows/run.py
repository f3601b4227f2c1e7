"""Tests on a Windows Python under wine, for Linux: `python -m tests.windows.run [ARGUMENTS]`.

(nothing)                    everything that makes sense there; then what depends on the code
                             page once more, on a Chinese Windows
-m pytest tests/test_x.py    whatever a Windows Python is to run
--locale zh_CN.UTF-8 ...     the same on a Chinese Windows

The first run makes that Windows: a minute, and 150 MB of downloads. `llm-manager.sh test --all`
has this among its steps.
"""

from __future__ import annotations

import sys

from tests.windows import prefix, wine

CHINESE = "zh_CN.UTF-8"
ELSEWHERE = {
    "tests/test_architecture.py": "reads the source, which is the same everywhere",
    "tests/test_docs.py": "reads the documents",
    "tests/bench": "measures Linux",
    "tests/gpu": "needs a GPU",
    "tests/webui/test_browser.py": "its browser is one of Linux",
    **dict.fromkeys(
        (
            "tests/config/test_load.py",
            "tests/scheduling",
            "tests/test_access.py",
            "tests/test_exchange.py",
            "tests/test_framing.py",
        ),
        "thousands of cases that only compute",
    ),
}
DEPENDS_ON_THE_CODE_PAGE = (
    "tests/test_output.py",
    "tests/test_log.py",
    "tests/test_launch_batch.py",
    "tests/test_tray_shell.py",
    "tests/launchers/test_base.py",
    "tests/launchers/test_job_object.py",
    "tests/e2e/test_windows.py",
)
PYTEST = (
    *("-m", "pytest", "-p", "no:cacheprovider", "-m", "not soak", "--durations=10"),
    *("-n", "2", "--dist", "loadfile", "-o", "faulthandler_timeout=200"),
)
SILENCE = 300.0
"""Seconds; longer than a test may take that hangs (conftest.py), so pytest itself hangs then."""


def main(arguments: list[str]) -> int:
    if lacking := wine.missing():
        print(f"not installed: {lacking} (tests/setup-debian.sh installs them)")
        return 1
    locale = "C.UTF-8"
    if arguments[:1] == ["--locale"]:
        locale = arguments[1]
        del arguments[:2]
    with wine.alone():
        prefix.prepare()
        if arguments:
            return python(arguments, locale)
        for path, reason in ELSEWHERE.items():
            print(f"not run on Windows: {path} ({reason})")
        ignored = [f"--ignore={path}" for path in ELSEWHERE]
        return python([*PYTEST, "tests", *ignored], locale) or python(
            [*PYTEST, *DEPENDS_ON_THE_CODE_PAGE], CHINESE
        )


def python(arguments: list[str], locale: str) -> int:
    print("$ python (win32,", locale + ")", *arguments, flush=True)
    with wine.screen() as display:
        env = wine.environment(locale, LLM_MANAGER_TEST_ALL="1", DISPLAY=display)
        return wine.run([str(wine.PYTHON / "python.exe"), *arguments], env, silence=SILENCE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
