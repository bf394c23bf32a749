#!/usr/bin/env bash
# setup-venv.sh VENV [EXTRAS [VERSION]]: bring the virtual environment VENV up to date.
#
# It holds tbdiag (editable) with EXTRAS, such as "dev", at the versions of constraints.txt, on Python VERSION or the
# first that `need_python` finds. Once set up, a call costs some milliseconds and no network.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

venv=$1 extras=${2:-} version=${3:-}
stamp=$venv/.tbdiag-stamp

# What the environment was made from. Settings of the linters and of pytest do not enter: changing them installs nothing.
describe() {
    pwd
    printf '%s\n' "$extras"
    {
        awk '/^\[/ { keep = !/^\[+tool\.(ruff|mypy|pytest)[.\]]/ } keep' pyproject.toml
        cat constraints.txt scripts/setup-venv.sh
        grep '^__version__' tbdiag/__init__.py
    } | cksum
}

runs() { "$venv/bin/python" -c pass 2>/dev/null; }

up_to_date() { [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && runs; }

# Made in this folder: a virtual environment that was moved starts, but its commands point to where it was.
made_here() { [ -f "$stamp" ] && [ "$(head -n 1 "$stamp")" = "$PWD" ] && runs; }

choose_python() {
    if [ -n "$version" ]; then
        python=$(find_python_version "$version") || die "Python $version is not on this machine"
    else
        python=$(need_python)
    fi
}

# Debian keeps what `python3 -m venv` needs in a package of its own.
need_ensurepip() {
    local package probe='from ensurepip import version'
    "$python" -c "$probe" 2>/dev/null && return
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if can_apt; then apt_install "$package" || true; fi
    "$python" -c "$probe" 2>/dev/null ||
        die "$python cannot make a virtual environment: install the package $package (as root: apt-get install $package)"
}

create() {
    choose_python
    need_ensurepip
    say "setup: $venv on $("$python" --version)"
    "$python" -m venv --clear "$venv"
}

install() {
    say "setup: $venv: installing tbdiag${extras:+ with [$extras]} and what it needs"
    # The build of tbdiag itself obeys the pins too: pip before 25.3 reads the first name for it, later ones the second.
    PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 \
        "$venv/bin/python" -m pip install -qq --no-input --editable ".${extras:+[$extras]}" </dev/null ||
        die "$venv could not be set up: see pip's message above"
}

wanted=$(describe)
if up_to_date; then exit; fi
if command -v flock >/dev/null; then
    exec 9>"$venv.lock"
    flock 9 # a second `make` in this folder waits for the first …
    if up_to_date; then exit; fi # … and finds its work done
fi
made_here || create
install
printf '%s\n' "$wanted" >"$stamp"
