"""The Web PKI profile of RFC 5280: close to rustls and Go.

`cryptography.x509.verification` builds and validates the path. Its default extension policies
demand what CA/Browser rules demand of issuers (key identifiers, keyUsage); rustls and Go do not
check that, so only what they check is asked for here: cA, keyCertSign and serverAuth where those
extensions stand, and a subjectAltName.
"""

from __future__ import annotations

import re
import warnings
from datetime import UTC, datetime
from typing import Any

from tbdiag.clients._anchors import known, relevant
from tbdiag.evidence import Certificate, ClientDecision
from tbdiag.protocol.x509_identity import ip_literal

MAX_CHAIN_DEPTH = 8


def decide(
    presented: tuple[Certificate, ...],
    anchors: tuple[Certificate, ...],
    server_name: str,
    at: datetime,
) -> ClientDecision:
    """The verdict of a Web PKI client."""
    from cryptography.x509 import InvalidVersion
    from cryptography.x509.verification import VerificationError

    anchors = relevant(presented, anchors)
    try:
        leaf, *rest = [_loaded(c) for c in presented]
        verifier = _verifier([_loaded(c) for c in anchors], server_name, at)
        chain = verifier.verify(leaf, rest)
    except VerificationError as error:
        return ClientDecision("webpki", "reject", _words(str(error)), "VerificationError")
    except (ValueError, InvalidVersion) as error:
        return ClientDecision("webpki", "reject", _words(str(error)), "ValueError")
    path = known((_der(c) for c in chain), (*presented, *anchors))
    return ClientDecision("webpki", "accept", "ok", None, path)


def _verifier(anchors: list[Any], server_name: str, at: datetime) -> Any:
    from cryptography.x509.verification import PolicyBuilder, Store

    if not anchors:
        raise ValueError("no trust anchor of that issuer's name")
    ca_policy, ee_policy = _policies()
    builder = PolicyBuilder().store(Store(anchors)).time(at.astimezone(UTC).replace(tzinfo=None))
    builder = builder.max_chain_depth(MAX_CHAIN_DEPTH)
    builder = builder.extension_policies(ca_policy=ca_policy, ee_policy=ee_policy)
    return builder.build_server_verifier(_subject(server_name))


def _policies() -> tuple[Any, Any]:
    """The extension policies for issuers and for the end-entity certificate."""
    from cryptography import x509
    from cryptography.x509.verification import Criticality, ExtensionPolicy

    anyhow = Criticality.AGNOSTIC
    ca_policy = (
        ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, anyhow, _is_ca)
        .may_be_present(x509.KeyUsage, anyhow, _signs_certificates)
        .may_be_present(x509.ExtendedKeyUsage, anyhow, _serves)
    )
    ee_policy = (
        ExtensionPolicy.permit_all()
        .require_present(x509.SubjectAlternativeName, anyhow, None)
        .may_be_present(x509.ExtendedKeyUsage, anyhow, _serves)
    )
    return ca_policy, ee_policy


def _is_ca(_policy: Any, _certificate: Any, constraints: Any) -> None:
    if not constraints.ca:
        raise ValueError("basicConstraints.cA must be asserted in an issuer")


def _signs_certificates(_policy: Any, _certificate: Any, usage: Any) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("keyUsage.keyCertSign must be asserted in an issuer")


def _serves(_policy: Any, _certificate: Any, purposes: Any) -> None:
    from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose

    wanted = (Purpose.SERVER_AUTH, Purpose.ANY_EXTENDED_KEY_USAGE)
    if purposes is not None and not any(purpose in wanted for purpose in purposes):
        raise ValueError("extendedKeyUsage has no serverAuth")


def _subject(server_name: str) -> Any:
    from cryptography.x509 import DNSName, IPAddress

    address = ip_literal(server_name)
    if address is not None:
        return IPAddress(address)
    try:
        return DNSName(server_name.encode("idna").decode("ascii"))
    except UnicodeError:
        return DNSName(server_name)


def _loaded(certificate: Certificate) -> Any:
    """The library's object; what it warns about (a serial number of zero) is in our findings."""
    from cryptography.x509 import load_der_x509_certificate

    if not certificate.oddities:
        return load_der_x509_certificate(certificate.der)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_der_x509_certificate(certificate.der)


def _der(certificate: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    der: bytes = certificate.public_bytes(Encoding.DER)
    return der


def _words(text: str) -> str:
    """The library's sentence without Rust's and Python's debug notation around it."""
    text = re.sub(r"\s*\(encountered processing <.*", "", text, flags=re.DOTALL)
    text = re.sub(r": ParseError \{.*", "", text, flags=re.DOTALL)
    text = re.sub(r": AlgorithmIdentifier \{.*", "", text, flags=re.DOTALL)
    text = text.removeprefix("validation failed: ")
    return text.removeprefix("Python extension validator failed: ValueError: ")
