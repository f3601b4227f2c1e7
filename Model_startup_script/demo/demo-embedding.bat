@echo off
rem The demo embedding model: 64 numbers per text, made on this machine at its first start.
rem LLM-Manager says where to listen (LLM_HOST, LLM_PORT). Started by hand: http://127.0.0.1:8082

chcp 65001 >nul
cd /d "%~dp0"
if not defined LLM_HOST set "LLM_HOST=127.0.0.1"
if not defined LLM_PORT set "LLM_PORT=8082"

set "PYTHON=..\..\.venv\Scripts\python.exe"
if not exist "%PYTHON%" set "PYTHON=python"
if defined LLM_MANAGER_PYTHON set "PYTHON=%LLM_MANAGER_PYTHON%"
set "MODEL=..\..\.cache\demo\embedding.gguf"

"%PYTHON%" make_model.py embedding "%MODEL%"
if not %errorlevel%==0 exit /b %errorlevel%

"%PYTHON%" demo_server.py --host %LLM_HOST% --port %LLM_PORT% ^
    --model "%MODEL%" --alias demo-embedding --embedding
