#!/bin/sh
# Install what the tests need beyond Python packages: a browser, a screen with a tray, fonts, wine (Debian, root).
set -eu

packages="python3-venv libgomp1 curl nginx-light gcc libc6-dev
    chromium fonts-wqy-microhei fonts-noto-color-emoji
    wine wine64 locales
    xvfb xdotool trayer scrot x11-utils dbus dunst python3-gi gir1.2-ayatanaappindicator3-0.1"
command -v npm >/dev/null || packages="$packages nodejs npm"

missing=
for package in $packages; do
    case $(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null) in
        installed) ;;
        *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
    echo "Run this as root, it installs the Debian packages:$missing" >&2
    exit 1
fi
echo "Installing the Debian packages:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086  (a list of words)
apt-get install -qq --yes --no-install-recommends $missing >/dev/null
