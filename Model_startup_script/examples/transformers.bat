@echo off
rem A chat model on Hugging Face transformers (pip install "transformers[serving]").
rem Copy this file, edit the path, and say in config.json which model to load at the first request:
rem     "upstream_model": "C:/path/to/model-folder"

chcp 65001 >nul
set "TRANSFORMERS=C:\path\to\venv\Scripts\transformers.exe"

if not exist "%TRANSFORMERS%" (
    echo Edit "%~nx0": there is no "%TRANSFORMERS%".
    exit /b 1
)

rem LLM-Manager says where to listen (LLM_HOST, LLM_PORT) and which GPUs to use (CUDA_VISIBLE_DEVICES).
"%TRANSFORMERS%" serve --host %LLM_HOST% --port %LLM_PORT%
