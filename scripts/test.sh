#!/bin/sh
# Runs every check. `make test` calls it with the Python of the development environment.
# Under CI=true nothing may be skipped for want of a program: what is missing is a failure.
set -eu
cd "$(dirname "$0")/.."
python="$1"

say() { printf '\n== %s\n' "$*"; }

say "Python: style and types"
"$python" -m ruff check .
"$python" -m mypy

if command -v npm >/dev/null 2>&1; then
    say "JavaScript: style, types, tests"
    [ -f node_modules/.stamp ] && [ node_modules/.stamp -nt package-lock.json ] || {
        npm ci --silent --no-audit --no-fund
        touch node_modules/.stamp
    }
    npm run --silent lint
    npm run --silent typecheck
    npm run --silent test
elif [ "${CI:-}" = true ]; then
    echo "Node.js is missing: the JavaScript checks cannot run." >&2
    exit 1
else
    say "JavaScript checks skipped: install Node.js 20 or newer to run them"
fi

if ! command -v chromium >/dev/null 2>&1 && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    say "Installing Chromium for the browser tests"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null || true
fi

say "Python: tests"
# Most tests wait for processes they started, so three at a time keep two cores busy. A worker that has done its share
# takes over some of another's: files differ too much in length to be shared out whole.
"$python" -m pytest -q --timeout 300 --durations 10 -n "${TEST_WORKERS:-3}" --dist worksteal --reruns 1 -r R
