"""llama.cpp's own HTTP server, out of the Python package xllamacpp, with llama-server's options.

A real inference server that one `pip install` brings to every machine; see --help.
"""
# ruff: noqa: T201  (a program for a terminal)

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import time
from pathlib import Path
from types import ModuleType

MISSING = 3  # exit code: a package or system library is not installed


def main() -> int:
    options = parse_arguments()
    engine = import_engine()
    started = time.monotonic()
    print(f"Loading {options.model} ...", flush=True)
    try:
        # Loads and listens; answers "503 Loading model" until it is ready.
        server = engine.Server(parameters(engine, options))
    except RuntimeError as error:
        print(f"The model server did not start; the lines above say why. ({error})", flush=True)
        return 1
    print(
        f"Ready on {server.listening_address} after {time.monotonic() - started:.1f} s.", flush=True
    )

    # Not by closing the server: it would wait for each client that still reads a stream.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    while True:
        time.sleep(3600)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-m", "--model", required=True, help="GGUF file")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("-a", "--alias", help="the name in /v1/models and in answers")
    parser.add_argument("-c", "--ctx-size", type=int, help="tokens of context, all slots together")
    parser.add_argument("-np", "--parallel", type=int, default=1, help="answers at the same time")
    parser.add_argument("--embedding", action="store_true", help="serve /v1/embeddings only")
    parser.add_argument("--reranking", action="store_true", help="serve /v1/rerank only")
    return parser.parse_args()


def parameters(engine: ModuleType, options: argparse.Namespace) -> object:
    p = engine.CommonParams()
    p.model.path = options.model
    p.hostnames = [options.host]
    p.port = options.port
    p.n_parallel = options.parallel
    p.embedding = options.embedding or options.reranking
    if options.alias:
        p.model_alias = {options.alias}
    if options.ctx_size:
        p.n_ctx = options.ctx_size
    if options.reranking:
        p.pooling_type = engine.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
    return p


def import_engine() -> ModuleType:
    """xllamacpp, or the end of the program with a sentence that says what to install."""
    if sys.platform == "win32":  # where the package msvc-runtime puts Microsoft's runtime libraries
        os.add_dll_directory(str(Path(sys.prefix, "Scripts").resolve()))
    pip = f'"{sys.executable}" -m pip install'
    try:
        return importlib.import_module("xllamacpp")
    except ModuleNotFoundError:
        print(f"The Python package 'xllamacpp' is missing. Install it with: {pip} xllamacpp")
    except ImportError as error:  # installed, but a shared library that it needs is not
        cure = "the system package libgomp1 (Debian, Ubuntu) or libgomp (Fedora)"
        if sys.platform == "win32":
            cure = f"Microsoft's runtime libraries, with: {pip} msvc-runtime"
        print(f"xllamacpp cannot be loaded ({error}). Install {cure}.")
    sys.exit(MISSING)


if __name__ == "__main__":
    sys.exit(main())
