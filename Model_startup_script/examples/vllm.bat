@echo off
rem A model on vLLM, which does not run on Windows itself: this starts it in WSL 2.
rem Copy this file, then edit the two paths; both are paths inside WSL.

chcp 65001 >nul
set "VLLM=/path/to/venv/bin/vllm"
set "MODEL=/path/to/model-folder"

wsl.exe --exec test -x "%VLLM%" -a -d "%MODEL%"
if not %errorlevel%==0 (
    echo Edit "%~nx0": WSL has no program "%VLLM%" or no folder "%MODEL%".
    exit /b 1
)

rem vLLM takes this share of each GPU, whatever the model needs: keep it in step with memory_mb in
rem config.json. Embedding model or reranker: add --runner pooling.
wsl.exe --exec "%VLLM%" serve "%MODEL%" --host %LLM_HOST% --port %LLM_PORT% ^
    --served-model-name "%LLM_MODEL%" --gpu-memory-utilization 0.9
