#!/bin/sh
# The demo chat model: a tiny language model, made on this machine at its first start.
# LLM-Manager says where to listen (LLM_HOST, LLM_PORT). Started by hand: http://127.0.0.1:8081

cd "$(dirname "$0")" || exit

python=${LLM_MANAGER_PYTHON:-../../.venv/bin/python}
command -v "$python" >/dev/null || python=python3
model=../../.cache/demo/chat.gguf

"$python" make_model.py chat "$model" || exit

# "exec": the server takes the place of this shell, so a stop reaches it directly.
exec "$python" demo_server.py --host "${LLM_HOST:-127.0.0.1}" --port "${LLM_PORT:-8081}" \
    --model "$model" --alias demo-chat --ctx-size 4096 --parallel 2
