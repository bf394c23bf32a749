# Shared by the scripts beside this file, which source it: words to the reader, and the search for a Python.
# shellcheck shell=bash

say() { printf '%s\n' "$*" >&2; }

die() {
    say "error: $*"
    exit 1
}

# True when `apt-get install` may be used: Debian or a relative of it, as root.
can_apt() { [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; }

apt_install() {
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120)
    say "apt-get install $*"
    "${apt[@]}" update </dev/null >/dev/null || true # a broken source need not be the one that is wanted
    "${apt[@]}" install --yes --no-install-recommends "$@" </dev/null >/dev/null
}

# Prints the real path of interpreter $1 when it starts and is version $2 (such as 3.12; empty: any from 3.11 on).
# Starting it is the only proof: a pyenv shim exists for versions that it then refuses to run.
probe_python() {
    "$1" - "$2" 2>/dev/null <<'PY'
import sys
want = sys.argv[1]
have = "%d.%d" % sys.version_info[:2]
if sys.version_info < (3, 11) or (want and want != have):
    sys.exit(1)
print(sys.executable)
PY
}

# Prints a runnable Python of version $1: from PATH, else one that pyenv keeps without offering it there.
find_python_version() {
    local candidate
    for candidate in "python$1" "${PYENV_ROOT:-${HOME:-}/.pyenv}/versions/$1".*/bin/python; do
        probe_python "$candidate" "$1" && return
    done
    return 1
}

# Prints the Python to build on: the oldest supported one that runs, so that nothing newer slips in.
find_python() {
    local version
    for version in 3.11 3.12 3.13; do
        find_python_version "$version" && return
    done
    probe_python python3 ""
}

# As `find_python`, after installing one where there is none and that is possible.
need_python() {
    find_python && return
    if can_apt; then apt_install python3 python3-venv || true; fi
    find_python || die "tbdiag needs Python 3.11 or newer, and no python3.11, python3.12, python3.13 or python3" \
        "on this machine is one that runs: install one, then type the same command again"
}
