#!/bin/sh
# The demo embedding model: 64 numbers per text, made on this machine at its first start.
# LLM-Manager says where to listen (LLM_HOST, LLM_PORT). Started by hand: http://127.0.0.1:8082

cd "$(dirname "$0")" || exit

python=${LLM_MANAGER_PYTHON:-../../.venv/bin/python}
command -v "$python" >/dev/null || python=python3
model=../../.cache/demo/embedding.gguf

"$python" make_model.py embedding "$model" || exit

# "exec": the server takes the place of this shell, so a stop reaches it directly.
exec "$python" demo_server.py --host "${LLM_HOST:-127.0.0.1}" --port "${LLM_PORT:-8082}" \
    --model "$model" --alias demo-embedding --embedding
