#!/bin/sh
# Start Mission Dashboard: make a virtual environment, install what requirements.txt pins, become the server.
#
#   ./start_mission_dashboard.sh [options of the server]
#
#   PYTHON=python3.12              the Python to make the environment with (3.10 or newer)
#   MISSION_DASHBOARD_VENV=folder  where the environment lies, .venv beside this script unless set
set -eu

fail() {
    printf 'Mission Dashboard cannot start: %s\n' "$*" >&2
    exit 1
}

say() {
    printf '%s\n' "$*" >&2
}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        command -v "$PYTHON" >/dev/null 2>&1 || fail "PYTHON is set to '$PYTHON', which is not there."
        is_new_enough "$PYTHON" || fail "PYTHON is set to '$PYTHON', which is not Python 3.10 or newer."
        return
    fi
    for PYTHON in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
        if command -v "$PYTHON" >/dev/null 2>&1 && is_new_enough "$PYTHON"; then
            return
        fi
    done
    fail "it needs Python 3.10 or newer; install it, or set PYTHON to the path of one."
}

make_environment() {
    # What is no environment is not ours to clear.
    if [ -n "$(ls -A "$venv")" ] && [ ! -e "$venv/pyvenv.cfg" ]; then
        fail "$venv is neither empty nor a virtual environment; delete it or set MISSION_DASHBOARD_VENV."
    fi
    find_python
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$PYTHON has no venv module; on Debian and Ubuntu, install the package python3-venv."
    say "Making a virtual environment in $venv ..."
    "$PYTHON" -m venv --clear "$venv" ||
        fail "the virtual environment could not be made in $venv; is the disk full?"
}

install_requirements() {
    say "Installing the packages of requirements.txt; this takes a minute, once ..."
    : >"$stamp.unfinished"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        --require-hashes -r "$requirements" ||
        fail "the packages could not be installed (see above); is the network reachable?"
    wanted_state >"$stamp.unfinished"
    mv "$stamp.unfinished" "$stamp"
}

# What an environment is made of: these requirements, and the very Python, which the system may have upgraded.
wanted_state() {
    printf '%s %s\n' "$(cksum <"$requirements")" "$(readlink -f "$venv/bin/python" || true)"
}

is_ready() {
    [ -x "$venv/bin/python" ] && [ -r "$stamp" ] && [ "$(cat "$stamp")" = "$(wanted_state)" ]
}

# An install that was cut short may have left half a package, which pip would take for a whole one.
is_usable() {
    [ ! -e "$stamp.unfinished" ] && is_new_enough "$venv/bin/python" &&
        "$venv/bin/python" -m pip --version >/dev/null 2>&1
}

prepare() {
    { mkdir -p "$venv" && [ -w "$venv" ]; } 2>/dev/null ||
        fail "$venv cannot be written; set MISSION_DASHBOARD_VENV to a folder you may write."
    # Two starts at once: the second waits, then finds the work done. The lock is on a file that is there
    # anyway and that nobody replaces meanwhile; where flock is missing, starts must not overlap.
    exec 9<"$requirements"
    if command -v flock >/dev/null 2>&1 && ! flock -n 9; then
        say "Another start is installing; waiting for it ..."
        flock 9
    fi
    if ! is_ready; then
        is_usable || make_environment
        install_requirements
    fi
    exec 9<&-
}

script=$(readlink -f -- "$0" 2>/dev/null) || script=$0
here=$(CDPATH='' cd -- "$(dirname -- "$script")" && pwd -P) || fail "its folder cannot be entered."
requirements=$here/requirements.txt
venv=${MISSION_DASHBOARD_VENV:-$here/.venv}
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
case ${PYTHON:-} in /*) ;; */*) PYTHON=$PWD/$PYTHON ;; esac
# The server's own folders (data, logs) and its .env are the same from wherever it is started.
cd "$here"
stamp=$venv/.requirements

[ -r "$requirements" ] || fail "$requirements is not there; is the clone complete?"
is_ready || prepare

# The server takes the place of this script, so signals and the exit status are the server's own.
exec "$venv/bin/python" src/mission_dashboard/mission_dashboard.py "$@"
