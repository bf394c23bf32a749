#!/usr/bin/env bash
# audit.sh: look for known vulnerabilities in the versions of constraints.txt, with pip-audit in an environment of its own.
#
# It asks a database on the network. A package that the database does not know is a failure: what was not looked up is not
# clean.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

venv=.venv-audit
if ! "$venv/bin/pip-audit" --version >/dev/null 2>&1; then
    python=$(need_python)
    "$python" -m venv --clear "$venv"
    "$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-input 'pip-audit>=2.9' </dev/null ||
        die "pip-audit could not be installed: see pip's message above"
fi
"$venv/bin/pip-audit" --requirement constraints.txt --no-deps --disable-pip --strict --progress-spinner off ||
    die "a version has a known vulnerability, or the database did not answer for it: see above"
