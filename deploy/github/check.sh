#!/usr/bin/env bash
# check.sh: what the GitHub Action runs. Reads its inputs from the environment, see action.yml.
set -uo pipefail

if [ -n "${VERSION:-}" ]; then
    python -m pip install --quiet --disable-pip-version-check "$VERSION" || exit 3
fi
[ -n "${TBDIAG_TOKEN:-}" ] || unset TBDIAG_TOKEN

flags=()
[ -n "${AT:-}" ] && flags+=(--at "$AT")
[ -n "${CRITICAL_DAYS:-}" ] && flags+=(--critical-days "$CRITICAL_DAYS")
[ "${STRICT:-false}" = true ] && flags+=(--strict)

# One run gives the verdict and the exit code; the others only show the same in another form.
if [ -n "${FLEET:-}" ]; then
    [ "${ONLY_TLS:-false}" = true ] && flags+=(--only-tls)
    command=(tbdiag fleet "$FLEET" --no-history "${flags[@]}")
    "${command[@]}" -f json -o tbdiag.json
    code=$?
    [ $code -le 1 ] && "${command[@]}" -f markdown >>"${GITHUB_STEP_SUMMARY:-/dev/stdout}"
    [ $code -le 1 ] && "${command[@]}" -f junit -o tbdiag.xml
else
    [ "${ONLY_TLS:-false}" = true ] && flags+=(--no-connect)
    [ -n "${CAFILE:-}" ] && flags+=(--cafile "$CAFILE")
    command=(tbdiag check "${TARGET:?target or fleet is required}" "${flags[@]}")
    "${command[@]}" -f json -o tbdiag.json
    code=$?
    [ $code -le 1 ] && "${command[@]}" -f github
fi

# verdict and primary hold words of our own only: a rule id has no line break.
if [ -s tbdiag.json ] && [ -n "${GITHUB_OUTPUT:-}" ]; then
    python - >>"$GITHUB_OUTPUT" <<'PYTHON'
import json

with open("tbdiag.json", encoding="utf-8") as file:
    report = json.load(file)
causes = report.get("causes", [])
failed = [c["rule"] for c in causes if c["verdict"] in ("failed", "error")]
print("verdict=" + report["verdict"])
print("primary=" + (report.get("primary") or (failed[0] if failed else "")))
PYTHON
fi
exit $code
