"""tls.verify: the verdicts on the captured chain."""

from __future__ import annotations

from datetime import datetime

from tbdiag.errors import InternalError
from tbdiag.evidence.certificates import Certificate
from tbdiag.fact import Fact, replace


class NameMatch(Fact, frozen=True):
    """The reference identifier against the presented identifiers (RFC 9525)."""

    reference: str
    presented: tuple[str, ...]
    matches: bool
    """By subjectAltName, or as OpenSSL does by common name where there is no SAN of DNS type."""
    by_common_name: bool = False
    """Only the common name matches: OpenSSL accepts, RFC 9525 and most device stacks do not."""


class SecondOpinion(Fact, frozen=True):
    """What other trust anchors or another port say. Evidence for a cause, never trust."""

    public_anchor: Certificate | None = None
    """The public root that validates the presented chain (without the user's CA file), if any."""
    web_chain: tuple[Certificate, ...] = ()
    """What port 443 of the same host presents, when it was asked."""
    web_trusted_by_ca_file: bool = False
    downloaded: tuple[Certificate, ...] = ()
    """What the platform offers as its CA, when it was asked besides the CA file."""
    downloaded_from: str | None = None
    downloaded_trusts: bool | None = None
    """Whether that download validates the presented chain."""


class ClientDecision(Fact, frozen=True):
    """A client stack's verdict on a chain, with the path it used.

    `code` is the stack's own error word or number (`20`, `X509_BADCERT_NOT_TRUSTED`, …).
    """

    client: str
    verdict: str
    """`accept`, `reject`, `unknown`."""
    reason: str
    code: str | None = None
    path: tuple[Certificate, ...] = ()
    """The certification path used, end-entity first, trust anchor last; empty on reject."""
    stands_for: str = ""

    @property
    def expires(self) -> datetime | None:
        """The earliest not_after on the path."""
        return min((c.not_after for c in self.path), default=None)


class VerifyEvidence(Fact, frozen=True):
    """tls.verify: the verdicts on the captured chain with the CA file, at `at`."""

    at: datetime
    name: NameMatch
    decided_by: str
    """The client stack whose verdict decides this stage."""
    decisions: tuple[ClientDecision, ...]
    """Name match included: a stack that trusts the path but not the name rejects."""
    opinion: SecondOpinion = SecondOpinion()
    insecure: bool = False

    @property
    def deciding(self) -> ClientDecision:
        """The decision of `decided_by`."""
        decision = self.decision(self.decided_by)
        if decision is None:
            raise InternalError(f"{self.decided_by} has not decided")
        return decision

    @property
    def trusted(self) -> bool:
        """Whether the deciding client stack accepts path and name."""
        return self.deciding.verdict == "accept"

    def decision(self, client: str) -> ClientDecision | None:
        """The decision of one client stack; None when it was not asked."""
        for decision in self.decisions:  # asked by half of all rules: no generator
            if decision.client == client:
                return decision
        return None

    def with_opinion(self, opinion: SecondOpinion) -> VerifyEvidence:
        """The same with second opinions added."""
        return replace(self, opinion=opinion)
