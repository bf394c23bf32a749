"""Our name check against service-identity's, on names that hypothesis makes up."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import verify_certificate_hostname

from tbdiag.protocol.x509 import name_match, parse_certificate
from tbdiag.sandbox.authority import Authority

NOW = datetime(2026, 6, 1, tzinfo=UTC)
LABELS = st.sampled_from(["a", "b", "mqtt", "eu", "Example", "example"])
HOSTS = st.lists(LABELS, min_size=2, max_size=4).map(lambda labels: ".".join([*labels, "test"]))
PATTERNS = st.one_of(HOSTS, HOSTS.map(lambda host: f"*.{host}"))


@cache
def root() -> Authority:
    return Authority.root(now=NOW)


def accepted_by_service_identity(certificate: x509.Certificate, host: str) -> bool:
    try:
        verify_certificate_hostname(certificate, host)
    except (VerificationError, CertificateError):
        return False
    return True


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(PATTERNS, min_size=1, max_size=3, unique_by=str.lower), HOSTS)
def test_dns_names_match_as_in_service_identity(patterns: list[str], host: str) -> None:
    """A reference identifier matches the entries of subject_alt_name that RFC 9525 lets match."""
    certificate = root().issue_server(*patterns).certificate
    ours = name_match(host, parse_certificate(certificate.public_bytes(Encoding.DER)))
    assert ours.matches is accepted_by_service_identity(certificate, host)


@pytest.mark.parametrize("host", ["*.test", "a.b.test.", "a_b.test"])
def test_where_openssl_and_rfc_9525_differ_is_known(host: str) -> None:
    """Unusual references end in an answer, not in an exception."""
    certificate = root().issue_server("a.b.test", "*.b.test").certificate
    name_match(host, parse_certificate(certificate.public_bytes(Encoding.DER)))
