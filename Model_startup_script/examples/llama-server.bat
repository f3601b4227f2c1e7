@echo off
rem A GGUF model on llama.cpp's llama-server. Copy this file, then edit the two paths.
rem LLM-Manager says where to listen (LLM_HOST, LLM_PORT) and which GPUs to use (CUDA_VISIBLE_DEVICES).

chcp 65001 >nul
set "SERVER=C:\path\to\llama-server.exe"
set "MODEL=C:\path\to\model.gguf"

if not exist "%SERVER%" (
    echo Edit "%~nx0": there is no file "%SERVER%".
    exit /b 1
)
if not exist "%MODEL%" (
    echo Edit "%~nx0": there is no file "%MODEL%".
    exit /b 1
)

rem Embedding model: add --embedding. Reranker: add --reranking.
"%SERVER%" --host %LLM_HOST% --port %LLM_PORT% --model "%MODEL%" ^
    --alias "%LLM_MODEL%" --ctx-size 8192 --n-gpu-layers 99
