"""How rules name certificates, dates and commands in sentences."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from datetime import datetime

from tbdiag.context import Case
from tbdiag.evidence import CaEvidence, Certificate
from tbdiag.protocol.x509 import encode_pem

SHOWN_NAMES = 6


def day(moment: datetime) -> str:
    """A date as sentences write it: `2026-11-21`."""
    return f"{moment:%Y-%m-%d}"


def moment(when: datetime) -> str:
    """A date and time of day: `2026-11-21 13:05 UTC`."""
    return f"{when:%Y-%m-%d %H:%M} UTC"


def quoted(certificate: Certificate) -> str:
    """The certificate's short name in quotes."""
    return f'"{certificate.name}"'


def issuer_name(certificate: Certificate) -> str:
    """The common name of the issuer, else its whole name, in quotes."""
    from tbdiag.protocol.x509_names import common_names

    names = common_names(certificate.issuer_der)
    return f'"{names[-1] if names else certificate.issuer}"'


def identified(certificate: Certificate) -> str:
    """Name, role, end and key identifier: enough to tell two of the same name apart."""
    key = certificate.subject_key_identifier
    detail = [certificate.role, f"until {day(certificate.not_after)}"]
    detail.append(f"key id {key[:16]}" if key else f"serial {certificate.serial_number[:16]}")
    return f"{quoted(certificate)} ({', '.join(detail)})"


def listed(words: Iterable[str]) -> str:
    """`a, b and c`, cut after a few."""
    items = list(words)
    if len(items) > SHOWN_NAMES:
        items = [*items[:SHOWN_NAMES], f"{len(items) - SHOWN_NAMES} more"]
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def ca_file(case: Case) -> str:
    """What the user calls the source of the trust anchors: its path, URL, or the public roots."""
    evidence = case.get(CaEvidence)
    if evidence is None:
        return "the CA file"
    return "the public roots" if evidence.public else evidence.described


def address(case: Case) -> str:
    """The target as an argument of a command."""
    return shlex.quote(case.target.address)


def recommend_command(case: Case) -> str:
    """The command that writes the right CA file."""
    return f"tbdiag ca recommend {address(case)} -o ca.pem"


def fingerprint(certificate: Certificate) -> str:
    """SHA-256 as openssl prints it: `AB:CD:…`."""
    text = certificate.fingerprint_sha256.upper()
    return ":".join(text[i : i + 2] for i in range(0, len(text), 2))


def pem_of(*certificates: Certificate) -> str:
    """The certificates as PEM to copy, each with a line that says what it is."""
    return encode_pem(certificates, comments=True)
