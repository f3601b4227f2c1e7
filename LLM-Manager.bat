@echo off
rem Start LLM-Manager on Windows: double-click this file.
rem The first start installs what it needs into .venv beside this file.
rem
rem   LLM-Manager.bat                  tray icon and server, without a console window
rem   LLM-Manager.bat ps               any other arguments go to main.py: see README.md
rem   LLM-Manager.bat test [ARGS]      all checks and tests; ARGS go to pytest

setlocal EnableExtensions DisableDelayedExpansion
rem "Active code page: 936", and a full stop behind it in some languages.
set "CODE_PAGE="
for /f "tokens=2 delims=:" %%C in ('chcp') do for /f "delims=. " %%D in ("%%C") do set "CODE_PAGE=%%D"
chcp 65001 >nul
rem Into a pipe or a file Python writes in another code page otherwise.
set "PYTHONUTF8=1"

rem A double click as administrator starts in System32.
if "%~1"=="" cd /d "%~dp0"

rem Asked by running it: the "python" of a fresh Windows only points to the Store.
set "CHECK=import sys; sys.exit(sys.version_info < (3, 11))"
if defined LLM_MANAGER_PYTHON goto python_is_named

set "PYTHON=py -3"
%PYTHON% -c "%CHECK%" >nul 2>nul
if %errorlevel%==0 goto install

rem That may be a batch file, from which this one would not get back without its own cmd.
set "PYTHON=cmd /d /c python"
%PYTHON% -c "%CHECK%" >nul 2>nul
if %errorlevel%==0 goto install

set PYTHON="%~dp0.venv\Scripts\python.exe"
%PYTHON% -c "%CHECK%" >nul 2>nul
if %errorlevel%==0 goto install
goto no_python

:python_is_named
set PYTHON="%LLM_MANAGER_PYTHON%"
rem From here on the Python in .venv counts.
set "LLM_MANAGER_PYTHON="
%PYTHON% -c "%CHECK%" >nul 2>nul
if not %errorlevel%==0 goto no_python

:install
set "TESTS="
if "%~1"=="test" set "TESTS=--tests"
%PYTHON% "%~dp0scripts\install.py" %TESTS%
if not %errorlevel%==0 goto failed

if "%~1"=="" goto double_click
if "%~1"=="test" goto test
"%~dp0.venv\Scripts\python.exe" "%~dp0main.py" %*
set "STATUS=%errorlevel%"
goto end

:double_click
start "" ".venv\Scripts\pythonw.exe" main.py
set "STATUS=0"
goto end

:test
"%~dp0.venv\Scripts\python.exe" "%~dp0scripts\run_tests.py" %*
set "STATUS=%errorlevel%"
goto end

:no_python
echo.
echo LLM-Manager needs Python 3.11 or newer, and found none on this computer.
echo Install it from https://www.python.org/downloads/ ^(tick "Add python.exe to PATH"^),
echo then start LLM-Manager again. Or name a Python in LLM_MANAGER_PYTHON.
echo.
type "%~dp0scripts\no-python.zh.txt"
echo.

:failed
rem Keep the window of a double click open, so that the message can be read.
if "%~1"=="" pause
set "STATUS=1"

:end
rem The console goes on with the code page that it had.
if defined CODE_PAGE chcp %CODE_PAGE% >nul
exit /b %STATUS%
