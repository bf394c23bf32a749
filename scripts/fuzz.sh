#!/usr/bin/env bash
# fuzz.sh [TARGET …]: run the targets of fuzz/ (all of them), each for FUZZ_SECONDS (60).
#
# atheris guides them by coverage; where it cannot be installed hypothesis makes the inputs up. Inputs that fail are kept in
# fuzz/found/.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

venv=.venv-fuzz
if scripts/setup-venv.sh "$venv" dev,fuzz; then
    exec "$venv/bin/python" -m fuzz "$@"
fi
say "fuzz: without atheris"
exec scripts/dev.sh python -m fuzz "$@"
