"""The clock of the machine that runs tbdiag."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from tbdiag.context import Case
from tbdiag.evidence import CaEvidence, Certificate, HandshakeEvidence, VerifyEvidence
from tbdiag.registry import Fault, rule
from tbdiag.rules._words import moment, quoted

WRITTEN = datetime(2025, 1, 1, tzinfo=UTC)
"""tbdiag was written after this: a clock that says an earlier time is wrong."""


@rule(
    "clock.skew",
    stage="tls.verify",
    needs=VerifyEvidence,
    reference="RFC 5280 section 4.1.2.5; RFC 8633 section 2.1",
)
def skew(case: Case, evidence: VerifyEvidence) -> Iterable[Fault]:
    """The clock of this machine is wrong.

    Nothing that was presented is valid yet, the CA included, or the clock shows a time before
    tbdiag was written. Devices without a battery-backed clock start in the past until NTP has
    answered, and refuse every certificate meanwhile (--at shows what such a device decides).
    """
    future = [c for c in _seen(case) if c.not_yet_valid(evidence.at)]
    impossible = evidence.at < WRITTEN and case.options.at is None
    if not future or not (impossible or _all_of_the_path(case, future)):
        return
    newest = max(future, key=lambda c: c.not_before)
    yield Fault(
        message=f"{_whose(case)} says {moment(evidence.at)}, but {len(future)} certificate(s) are "
        f"valid only later, {quoted(newest)} from {moment(newest.not_before)}.",
        cause=f"{_whose(case)} is behind, so certificates appear not valid yet.",
        fix="Set the clock: sudo timedatectl set-ntp true. On a device, wait for NTP (ESP-IDF: "
        "esp_sntp, Arduino: configTime) before the TLS connection.",
        subject=moment(evidence.at),
    )


def _whose(case: Case) -> str:
    return "This machine's clock" if case.options.at is None else "The clock set with --at"


def _seen(case: Case) -> tuple[Certificate, ...]:
    ca, shown = case.get(CaEvidence), case.get(HandshakeEvidence)
    anchors = ca.certificates if ca and not ca.public else ()
    return (*(shown.certificate_list if shown else ()), *anchors)


def _all_of_the_path(case: Case, future: list[Certificate]) -> bool:
    """Whether the server's certificate and every CA certificate seen lie in the future."""
    shown = case.get(HandshakeEvidence)
    seen = _seen(case)
    above = [c for c in seen if c.is_ca or c.self_signed]
    leaf = shown.certificate_list[0] if shown and shown.certificate_list else None
    return leaf in future and len(above) > 0 and all(c in future for c in above) and len(seen) > 1
