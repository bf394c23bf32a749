#!/usr/bin/env bash
# system-packages.sh: install the programs that some tests run against, or say which tests do without.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

PATH=$PATH:/usr/sbin # where Debian puts mosquitto, and not on every user's PATH

# program, Debian package, the tests that need it
programs='mosquitto mosquitto tests against a real broker
mosquitto_pub mosquitto-clients tests that compare with mosquitto_pub
openssl openssl tests that compare with the openssl command
coap-client-openssl libcoap3-bin tests that compare with libcoap
promtool prometheus tests that check the metrics
chromium chromium tests that open the HTML report'

missing() {
    local program package tests
    while read -r program package tests; do
        command -v "$program" >/dev/null || printf '%s %s %s\n' "$program" "$package" "$tests"
    done <<<"$programs"
}

absent=$(missing)
if [ -z "$absent" ]; then exit; fi
why="this user is not root on a Debian system"
if can_apt; then
    why="apt-get could not install it"
    # shellcheck disable=SC2046 # one word per package
    apt_install $(cut -d ' ' -f 2 <<<"$absent") || true
    absent=$(missing)
fi
while read -r program package tests; do
    if [ -n "$program" ]; then say "skipped: $tests: $program is missing and $why (package $package)"; fi
done <<<"$absent"
