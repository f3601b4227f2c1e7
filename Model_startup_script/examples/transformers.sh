#!/bin/sh
# A chat model on Hugging Face transformers (pip install "transformers[serving]").
# Copy this file, edit the path, and say in config.json which model to load at the first request:
#     "upstream_model": "/path/to/model-folder"

transformers=/path/to/venv/bin/transformers

[ -x "$transformers" ] || { echo "Edit $0: there is no $transformers." >&2; exit 1; }

# LLM-Manager says where to listen (LLM_HOST, LLM_PORT) and which GPUs to use (CUDA_VISIBLE_DEVICES).
exec "$transformers" serve --host "$LLM_HOST" --port "$LLM_PORT"
