#!/usr/bin/env bash
# setup-thingsboard.sh: bring .venv-thingsboard up to date: ThingsBoard's own clients, at the versions of
# constraints-thingsboard.txt, for the tests that run them against the sandbox.
#
# It costs some milliseconds once done. Where it cannot be done, it says so, and those tests skip.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

venv=.venv-thingsboard
stamp=$venv/.tbdiag-stamp
wanted=$(pwd && cat constraints-thingsboard.txt scripts/setup-thingsboard.sh | cksum)

up_to_date() { [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && "$venv/bin/python" -c pass 2>/dev/null; }

# Gives up early: these tests are worth less than the time of somebody without a network.
install() {
    local python
    python=$(find_python) || return 1
    say "setup: $venv: installing ThingsBoard's own clients on $("$python" --version)"
    rm -f "$stamp"
    "$python" -m venv --clear "$venv" &&
        PIP_DISABLE_PIP_VERSION_CHECK=1 "$venv/bin/python" -m pip install -qq --no-input --retries 1 --timeout 20 \
            --constraint constraints-thingsboard.txt tb-mqtt-client thingsboard-gateway </dev/null
}

if up_to_date; then exit; fi
if command -v flock >/dev/null; then
    exec 9>"$venv.lock"
    flock 9 # a second `make` in this folder waits for the first …
    if up_to_date; then exit; fi # … and finds its work done
fi
if install; then
    printf '%s\n' "$wanted" >"$stamp"
else
    say "skipped: tests with ThingsBoard's own clients: they could not be installed, see the message above"
fi
