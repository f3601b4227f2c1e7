#!/bin/sh
# A GGUF model on llama.cpp's llama-server. Copy this file, then edit the two paths.
# LLM-Manager says where to listen (LLM_HOST, LLM_PORT) and which GPUs to use (CUDA_VISIBLE_DEVICES).

server=/path/to/llama-server
model=/path/to/model.gguf

for file in "$server" "$model"; do
    [ -f "$file" ] || { echo "Edit $0: there is no file $file." >&2; exit 1; }
done

# Embedding model: add --embedding. Reranker: add --reranking.
exec "$server" --host "$LLM_HOST" --port "$LLM_PORT" --model "$model" \
    --alias "$LLM_MODEL" --ctx-size 8192 --n-gpu-layers 99
