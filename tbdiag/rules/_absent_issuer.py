"""What can be known about an issuer that neither the server nor the CA file shows.

A certificate whose issuer is absent leaves two explanations: the issuer is an intermediate that
the server should send, or a root that the CA file should hold. What speaks for an intermediate:

certain:
- another source holds that issuer, and it is no root: port 443, or the platform's download;
- the certificate's authorityKeyIdentifier names its issuer's own issuer, which is another name;
- it carries embedded SCTs or a CA/Browser Forum policy: public CAs never issue from a root.
likely:
- it says where to fetch the issuer (caIssuers), as certificates below an intermediate do;
- the server sends CA certificates that are of another path: its bundle is not of this certificate;
- the issuer's name says so (intermediate, issuing, sub CA, …);
- the CA file holds a root of the same family: the names share a word, the file's says "root" and
  the issuer's does not.
What speaks against: the issuer's name says root, or every root of the CA file has pathLenConstraint
0 and so cannot stand above an intermediate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tbdiag.evidence import Certificate, SecondOpinion
from tbdiag.fact import Fact
from tbdiag.protocol.x509 import issued_by
from tbdiag.protocol.x509_extensions import authority_certificate
from tbdiag.protocol.x509_names import common_names

SCT_LIST = bytes.fromhex("060a2b06010401d679020402")
"""The DER of the OID 1.3.6.1.4.1.11129.2.4.2 (RFC 6962 section 3.3)."""
CAB_POLICIES = tuple(bytes.fromhex(f"060667810c0102{n:02x}") for n in (1, 2, 3))
"""The DER of the policy OIDs 2.23.140.1.2.1 to .3 (CA/Browser Forum: DV, OV, IV)."""
_INTERMEDIATE = re.compile(r"intermediate|issuing|\bsub[- ]?(?:ordinate|ca)|\bpolicy ca\b", re.I)
_ROOT = re.compile(r"root", re.I)
_GENERIC = {
    "authority", "ca", "cert", "certificate", "certification", "company", "default", "demo",
    "gmbh", "global", "inc", "internet", "intermediate", "issuing", "llc", "ltd", "pty", "local",
    "root", "secure", "server", "services", "test", "trust", "widgits",
}  # fmt: skip


class Absent(Fact, frozen=True):
    """What is known about the absent issuer."""

    intermediate: bool
    """Whether it is taken for an intermediate that the server should send."""
    certain: bool = False
    why: str = ""
    """The evidence in words, to follow "because"."""
    certificate: Certificate | None = None
    """The issuer itself, where another source holds it."""


def absent_issuer(
    top: Certificate,
    climbed: tuple[Certificate, ...],
    presented: tuple[Certificate, ...],
    anchors: tuple[Certificate, ...],
    opinion: SecondOpinion,
) -> Absent:
    """Judge the issuer of `top`, the end of the presented path `climbed`."""
    found = _held_elsewhere(top, opinion)
    if found:
        return found
    why = _certain_signs(top)
    if why:
        return Absent(True, True, why)
    roots = [c for c in anchors if c.self_signed]
    if _ROOT.search(_issuer(top)) or (roots and all(c.path_length == 0 for c in roots)):
        return Absent(False)
    why = _likely_signs(top, [c for c in presented if c not in climbed], roots)
    return Absent(bool(why), False, why)


def _held_elsewhere(top: Certificate, opinion: SecondOpinion) -> Absent | None:
    sources = (
        (opinion.web_chain, "port 443 of the host sends it"),
        (opinion.downloaded, "the platform's download holds it"),
    )
    for certificates, why in sources:
        for issuer in certificates:
            if issued_by(top, issuer):
                return Absent(not issuer.self_signed, True, why, issuer)
    return None


def _certain_signs(top: Certificate) -> str:
    if top.is_ca:
        return ""
    if SCT_LIST in top.der or any(policy in top.der for policy in CAB_POLICIES):
        return "the certificate is a public CA's, and those are issued by intermediates only"
    above = _issuer_of_issuer(top)
    if above is not None and above != top.issuer_der:
        return "the certificate's authorityKeyIdentifier says that its issuer has an issuer itself"
    return ""


def _issuer_of_issuer(certificate: Certificate) -> bytes | None:
    """authorityCertIssuer (RFC 5280 section 4.2.1.1) as a DER name, where it is given."""
    return authority_certificate(certificate.der)[0]


def _likely_signs(top: Certificate, strangers: list[Certificate], roots: list[Certificate]) -> str:
    if not top.is_ca and any(c.is_ca and not c.self_signed for c in strangers):
        return "the server sends CA certificates, but not the one that issued its certificate"
    if not top.is_ca and top.ca_issuers:
        return f"the certificate says that its issuer can be fetched from {top.ca_issuers[0]}"
    if _INTERMEDIATE.search(_issuer(top)):
        return "its name says so"
    for root in roots:
        if _ROOT.search(root.subject) and _words(root.subject) & _words(top.issuer):
            return f'the CA file holds "{root.name}" of the same family'
    return ""


def _issuer(certificate: Certificate) -> str:
    names: Iterable[str] = common_names(certificate.issuer_der)
    return " ".join(names) or certificate.issuer


def _words(name: str) -> set[str]:
    """The telling words of a distinguished name."""
    values = re.sub(r"\b[A-Za-z]+=", " ", name).casefold()
    return set(re.findall(r"\w{3,}", values)) - _GENERIC
