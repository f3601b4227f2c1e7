#!/bin/sh
# Pin every package of pyproject.toml, with checksums and for all platforms, in the three lock files.
# Needs uv (https://docs.astral.sh/uv/). Versions stay as they are unless asked: scripts/lock.sh --upgrade
set -eu
cd "$(dirname "$0")/.."

lock() { # FILE [--extra NAME ...]
    file=$1
    shift
    uv pip compile pyproject.toml --quiet --universal --generate-hashes --no-header --output-file "$file" "$@"
}

lock requirements.lock "$@"                                     # the program
lock requirements-demo.lock --extra demo "$@"                   # and its demo models
lock requirements-test.lock --extra demo --extra test "$@"      # and its tests
