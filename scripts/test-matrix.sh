#!/usr/bin/env bash
# test-matrix.sh [PYTEST ARGUMENT…]: run the whole test suite on every supported Python of this machine.
#
# PYTHONS="3.12" limits the versions. Each has an environment of its own, .venv-3.12; the last lines sum up.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

PATH=$PATH:/usr/sbin # where Debian puts mosquitto, and not on every user's PATH
log=$(mktemp)
trap 'rm -f "$log"' EXIT

available() { .venv-"$1"/bin/python -c pass 2>/dev/null || find_python_version "$1" >/dev/null; }

# Runs the suite on Python $1. The workers are as many as the processors; an idle one takes over waiting tests.
run_tests() {
    scripts/setup-venv.sh ".venv-$1" dev "$1" || {
        echo 'its environment could not be set up' >"$log"
        return 1
    }
    .venv-"$1"/bin/python -m pytest -q -n auto --dist worksteal ${patience[@]+"${patience[@]}"} "${@:2}" </dev/null 2>&1 | tee "$log"
}

need_python >/dev/null
versions=${PYTHONS:-3.11 3.12 3.13}
# Twenty repetitions of a slow scenario are one test that takes longer than a hung one may.
patience=()
[ -z "${TBDIAG_REPEAT:-}" ] || patience=(-o faulthandler_timeout=0)

summary='' failed=0 ran=0
for version in $versions; do
    if ! available "$version"; then
        summary+="Python $version: not run, no such interpreter on this machine"$'\n'
        continue
    fi
    ran=$((ran + 1))
    : >"$log"
    say "Python $version: pytest"
    run_tests "$version" "$@" || failed=$((failed + 1))
    summary+="Python $version: $(tail -n 1 "$log")"$'\n'
done

printf '\n%s' "$summary"
[ "$ran" -gt 0 ] || die "none of these runs on this machine: Python ${versions// /, }; PYTHONS=… names another"
[ "$failed" -eq 0 ] || die "the tests fail on $failed of $ran Python versions"
