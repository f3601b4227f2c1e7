#!/bin/sh
# A model on vLLM. Copy this file, then edit the two paths.
# LLM-Manager says where to listen (LLM_HOST, LLM_PORT) and which GPUs to use (CUDA_VISIBLE_DEVICES).

vllm=/path/to/venv/bin/vllm
model=/path/to/model-folder

for path in "$vllm" "$model"; do
    [ -e "$path" ] || { echo "Edit $0: there is no $path." >&2; exit 1; }
done

# vLLM takes this share of each GPU, whatever the model needs: keep it in step with memory_mb in
# config.json. Embedding model or reranker: add --runner pooling.
exec "$vllm" serve "$model" --host "$LLM_HOST" --port "$LLM_PORT" \
    --served-model-name "$LLM_MODEL" --gpu-memory-utilization 0.9
