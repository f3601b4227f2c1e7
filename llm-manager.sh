#!/bin/sh
# Start LLM-Manager on Linux or macOS; the first start installs what it needs into .venv beside this file.
#
#   ./llm-manager.sh                 the program, in the foreground (Ctrl+C = quit)
#   ./llm-manager.sh ps              any other arguments go to main.py: see README.md
#   ./llm-manager.sh test [ARGS]     all checks and tests; ARGS go to pytest
#   ./llm-manager.sh test --all      the same with a browser, a screen and no skips (Debian, root)
set -eu

script=$0
while [ -L "$script" ]; do # called through a symbolic link
    target=$(readlink "$script")
    case $target in
        /*) script=$target ;;
        *) script=$(dirname "$script")/$target ;;
    esac
done
home=$(CDPATH='' cd -- "$(dirname -- "$script")" && pwd -P)

# Asked by running it: a name on the PATH may be a stub, or too old.
is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    if [ -n "${LLM_MANAGER_PYTHON:-}" ]; then
        set -- "$LLM_MANAGER_PYTHON"
    else
        set -- "$home/.venv/bin/python" python3.13 python3.12 python3.11 python3
    fi
    found=none
    for python in "$@"; do
        if is_new_enough "$python"; then
            unset LLM_MANAGER_PYTHON # it names the Python below .venv; from here on .venv counts
            return
        fi
        if version=$("$python" --version 2>&1); then found="$version as $python"; fi
    done
    echo "LLM-Manager needs Python 3.11 or newer (found: $found)." \
        "Install one, or name it: LLM_MANAGER_PYTHON=/path/to/python3 ./llm-manager.sh" >&2
    case ${LC_ALL:-${LC_MESSAGES:-${LANG:-}}} in
        zh*) cat "$home/scripts/no-python.zh.txt" >&2 ;;
    esac
    exit 1
}

if [ "${1:-}" = test ]; then
    shift
    if [ "${1:-}" = --all ]; then "$home/tests/setup-debian.sh"; fi
    find_python
    "$python" "$home/scripts/install.py" --tests
    exec "$home/.venv/bin/python" "$home/scripts/run_tests.py" "$@"
fi

find_python
"$python" "$home/scripts/install.py"
exec "$home/.venv/bin/python" "$home/main.py" "$@"
