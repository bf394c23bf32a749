"""What the rules about CA files share: which sources count, whose verdict, the usual repairs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from tbdiag.context import Case
from tbdiag.evidence import CaEvidence, CaProblem, CaSource, Certificate, VerifyEvidence
from tbdiag.model import Severity

OPENSSL_CLIENTS = ("openssl", "openssl-strict", "python")
"""The stacks that refuse a whole CA file for one damaged block."""


def own_sources(evidence: CaEvidence) -> Iterator[CaSource]:
    """The sources whose contents are someone's responsibility: all but the public roots."""
    return (source for source in evidence.sources if source.origin != "public")


def own_certificates(evidence: CaEvidence) -> Iterator[tuple[CaSource, Certificate]]:
    """Every certificate of `own_sources`, each once."""
    seen: set[Certificate] = set()
    for source in own_sources(evidence):
        for certificate in source.certificates:
            if certificate not in seen:
                seen.add(certificate)
                yield source, certificate


def problems(evidence: CaEvidence, *kinds: str) -> Iterator[tuple[CaSource, CaProblem]]:
    """The problems of these kinds in all sources."""
    for source in own_sources(evidence):
        for problem in source.problems:
            if problem.kind in kinds:
                yield source, problem


def troubled(evidence: CaEvidence) -> bool:
    """Whether any source of the user's has a problem, of whatever kind."""
    return any(source.problems for source in own_sources(evidence))


def named(source: CaSource) -> str:
    """The source in a sentence."""
    return source.location


def accepted(case: Case) -> bool:
    """Whether the deciding client accepts the server with this CA file."""
    verify = case.get(VerifyEvidence)
    return verify is not None and verify.trusted


def judged(case: Case) -> bool:
    """Whether a presented chain was judged at all: then the x509 rules name the cause."""
    return case.get(VerifyEvidence) is not None


def path_in_use(case: Case) -> tuple[Certificate, ...]:
    """The certification path that the deciding client used; empty when it rejects."""
    verify = case.get(VerifyEvidence)
    return verify.deciding.path if verify else ()


def refusal(case: Case, *, refused: bool) -> Severity:
    """How bad it is that OpenSSL refuses a file: fatal for its clients, a warning for others."""
    verify = case.get(VerifyEvidence)
    client = verify.decided_by if verify else case.options.client
    if refused and (client in OPENSSL_CLIENTS or not accepted(case)):
        return Severity.ERROR
    return Severity.WARNING


def unless_judged(case: Case) -> Severity:
    """An error while nothing but the file is known; a warning once a chain was judged with it."""
    return Severity.WARNING if judged(case) else Severity.ERROR


def get_it_again(case: Case, source: CaSource | None = None) -> str:
    """The repair for a file that has to be replaced."""
    file = source.location if source and source.origin == "file" else "ca.pem"
    if case.target.host:
        command = f"tbdiag ca recommend {shlex.quote(case.target.address)} -o {shlex.quote(file)}"
        return f"Write the CA file that this server needs: {command}"
    command = f"tbdiag ca recommend HOST:8883 -o {shlex.quote(file)}"
    return f"Write the CA file that your server needs: {command}"


def line_of(problem: CaProblem) -> str:
    """` (line 7)` where the problem has a line."""
    return f" (line {problem.line})" if problem.line else ""


def short(certificate: Certificate) -> str:
    """A certificate in a sentence: its role and name."""
    role = {"v1-root": "root"}.get(certificate.role, certificate.role)
    return f"the {role} certificate {certificate.name!r}"
