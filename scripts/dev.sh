#!/usr/bin/env bash
# dev.sh COMMAND…: run a command of the development environment (ruff, mypy, python …), set up first where needed.
#
# It is the first environment that `make test` uses too, so that `make check` needs none of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

python=$(need_python)
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
venv=.venv-$version
scripts/setup-venv.sh "$venv" dev "$version"
PATH=$PWD/$venv/bin:$PATH exec "$@"
