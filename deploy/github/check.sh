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

# One run gives everything: a second one would connect, and publish, as the device once more.
if [ -n "${FLEET:-}" ]; then
    [ "${ONLY_TLS:-false}" = true ] && flags+=(--only-tls)
    command=(tbdiag fleet "$FLEET" --no-history "${flags[@]}")
    "${command[@]}" -f markdown --also json=tbdiag.json --also junit=tbdiag.xml \
        >>"${GITHUB_STEP_SUMMARY:-/dev/stdout}"
else
    [ "${ONLY_TLS:-false}" = true ] && flags+=(--no-connect)
    [ -n "${CAFILE:-}" ] && flags+=(--cafile "$CAFILE")
    command=(tbdiag check "${TARGET:?target or fleet is required}" "${flags[@]}")
    "${command[@]}" -f github --also json=tbdiag.json
fi
code=$?

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
