"""Versions, serial numbers, key identifiers and critical extensions (RFC 5280 section 4)."""

from __future__ import annotations

from cryptography import x509

from tbdiag.protocol.x509_extensions import (
    AUTHORITY_INFORMATION_ACCESS,
    AUTHORITY_KEY_IDENTIFIER,
    SUBJECT_KEY_IDENTIFIER,
)
from tbdiag.sandbox.authority import Authority
from tbdiag.sandbox.der import content, encode_tlv
from tests.conformance.issuing import (
    EXTENSIONS,
    SERIAL,
    leaf,
    middle,
    raw,
    resigned,
    root,
    self_resigned,
    with_part,
)
from tests.conformance.registry import Given, case, given, presenting

UNKNOWN = "1.3.6.1.4.1.99999.1"
NULL = b"\x05\0"


def with_serial(octets: bytes) -> Given:
    """A server certificate whose serial number is written with these octets."""
    top = root()
    issued = with_part(leaf(top).certificate, top.key, SERIAL, encode_tlv(0x02, octets))
    return presenting(issued).against(top)


@case(openssl=0, webpki=True)
def serial_of_zero() -> Given:
    """A serial number of zero is against RFC 5280 section 4.1.2.2; stacks accept it."""
    return with_serial(b"\0")


@case(openssl=0, webpki=False)
def negative_serial() -> Given:
    """A negative serial number is against RFC 5280; stacks that load it accept it."""
    return with_serial(b"\xff\x01")


@case(openssl=0, webpki=True)
def serial_of_twenty_octets() -> Given:
    """Twenty octets are the longest serial number that RFC 5280 allows."""
    return with_serial(b"\x7f" + b"\x11" * 19)


@case(openssl=0, webpki=False)
def serial_of_sixty_octets() -> Given:
    """A serial number of sixty octets is too long, and accepted by most."""
    return with_serial(b"\x7f" + b"\x11" * 59)


@case(openssl=0, webpki=False)
def root_with_a_negative_serial() -> Given:
    """A root with a negative serial number is an anchor for OpenSSL."""
    top = root()
    return given(leaf(top), self_resigned(top, SERIAL, b"\x02\x01\x80"))


@case(openssl=0, webpki=True)
def same_serial_twice() -> Given:
    """Two certificates of one issuer with the same serial number do not disturb a client."""
    top = root()
    below = top.intermediate(serial_number=7)
    return given(leaf(below, serial_number=7), top)


@case(openssl=0, webpki=False)
def version_1_leaf() -> Given:
    """A v1 server certificate has no subjectAltName; OpenSSL takes its common name."""
    top = root()
    return given(leaf(top, version=1), top)


@case(openssl=0, webpki=False)
def version_1_root() -> Given:
    """A v1 root cannot say that it is a CA; OpenSSL takes it for one."""
    top = root(version=1)
    return given(leaf(top, aki=False), top)


@case(openssl=79, webpki=False, primary="x509.issuer-not-a-ca")
def version_1_intermediate() -> Given:
    """A v1 intermediate is no CA."""
    top, below = middle(version=1)
    return given(leaf(below, aki=False), top)


@case(openssl=0, webpki=False)
def version_2_leaf() -> Given:
    """A version 2 certificate with version 3's extensions contradicts itself."""
    top = root()
    version = bytes.fromhex("a003020101")
    return presenting(with_part(leaf(top).certificate, top.key, 0, version)).against(top)


@case(openssl=0, webpki=False)
def version_1_with_extensions() -> Given:
    """A version 1 certificate cannot have extensions."""
    top = root()
    return presenting(resigned(leaf(top).certificate, top.key, lambda p: p[1:])).against(top)


@case(openssl=0, webpki=False)
def version_7() -> Given:
    """There is no version 7."""
    top = root()
    version = bytes.fromhex("a003020106")
    return presenting(with_part(leaf(top).certificate, top.key, 0, version)).against(top)


@case(openssl=20, webpki=True, primary="x509.key-identifier-mismatch")
def authority_key_identifier_of_another_key() -> Given:
    """The only issuer of that name has another key identifier than the certificate asks for."""
    top = root()
    return given(leaf(top, aki=b"\1" * 20), top)


@case(openssl=20, webpki=True, primary="x509.key-identifier-mismatch")
def authority_key_identifier_of_another_key_in_the_intermediate() -> Given:
    """The same one level higher."""
    top, below = middle(aki=b"\1" * 20)
    return given(leaf(below), top)


@case(openssl=0, webpki=True, profile=False, why="the profile wants an authorityKeyIdentifier")
def no_authority_key_identifier() -> Given:
    """Without an authority key identifier issuers are found by name."""
    top = root()
    return given(leaf(top, aki=False), top)


@case(openssl=0, webpki=True, profile=False, why="the profile wants key identifiers")
def no_key_identifiers_at_all() -> Given:
    """Neither issuer nor server certificate has key identifiers."""
    top = root(ski=False, aki=False)
    return given(leaf(top, ski=False, aki=False), top)


@case(
    openssl=34,
    webpki=True,
    primary="x509.unknown-critical-extension",
    profile=False,
    why="the profile wants it not critical",
)
def authority_key_identifier_critical() -> Given:
    """A critical authority key identifier is against RFC 5280 section 4.2.1.1."""
    top = root()
    value = x509.AuthorityKeyIdentifier.from_issuer_public_key(top.key.public_key())
    return given(leaf(top, aki=False, extensions=[(value, True)]), top)


@case(
    openssl=34,
    webpki=True,
    primary="x509.unknown-critical-extension",
    profile=False,
    why="the profile wants it not critical",
)
def subject_key_identifier_critical() -> Given:
    """A critical subject key identifier is against RFC 5280 section 4.2.1.2."""
    top = root(ski=False)
    value = x509.SubjectKeyIdentifier.from_public_key(top.key.public_key())
    loud = root(key=top.key, ski=False, extensions=[(value, True)])
    return given(leaf(loud), loud)


def names_the_issuer(top: Authority, name: str, serial: int) -> Given:
    """The authority key identifier names the issuer's issuer and serial number."""
    general = [x509.DirectoryName(x509.Name.from_rfc4514_string(f"CN={name}"))]
    value = x509.AuthorityKeyIdentifier(None, general, serial)
    return given(leaf(top, aki=False, extensions=[(value, False)]), top)


@case(openssl=0, webpki=True)
def authority_serial_number_right() -> Given:
    """An authority key identifier may name the issuer's certificate by issuer and serial."""
    top = root(serial_number=77)
    return names_the_issuer(top, "Root", 77)


@case(openssl=20, webpki=True, primary="x509.key-identifier-mismatch")
def authority_serial_number_wrong() -> Given:
    """With another serial number than the issuer's, the issuer does not fit."""
    top = root(serial_number=77)
    return names_the_issuer(top, "Root", 78)


@case(openssl=20, webpki=True, primary="x509.key-identifier-mismatch")
def authority_issuer_name_wrong() -> Given:
    """With another issuer name than the issuer's, the issuer does not fit."""
    top = root(serial_number=77)
    return names_the_issuer(top, "Somebody Else", 77)


@case(openssl=2, webpki=True, primary="x509.key-identifier-mismatch")
def root_with_a_foreign_authority_key_identifier() -> Given:
    """A root whose authority key identifier is not its own key's."""
    top = root(aki=b"\2" * 20)
    return given(leaf(top), top)


@case(openssl=34, webpki=False, primary="x509.unknown-critical-extension")
def unknown_critical_extension_in_the_leaf() -> Given:
    """A critical extension that nobody knows is a reason to refuse."""
    top = root()
    return given(leaf(top, unknown_critical=True), top)


@case(openssl=34, webpki=False, primary="x509.unknown-critical-extension")
def unknown_critical_extension_in_the_intermediate() -> Given:
    """The same in an intermediate."""
    top, below = middle(unknown_critical=True)
    return given(leaf(below), top)


@case(openssl=34, webpki=False, primary="x509.unknown-critical-extension")
def unknown_critical_extension_in_the_root() -> Given:
    """The same in the trust anchor."""
    top = root(unknown_critical=True)
    return given(leaf(top), top)


@case(openssl=0, webpki=True)
def unknown_extension_not_critical() -> Given:
    """An unknown extension that is not critical is skipped."""
    top = root()
    return given(leaf(top, extensions=[raw(UNKNOWN, NULL)]), top)


@case(
    openssl=34,
    webpki=True,
    primary="x509.unknown-critical-extension",
    profile=False,
    why="the profile wants it not critical",
)
def critical_information_access() -> Given:
    """authorityInfoAccess must not be critical; OpenSSL does not process it, and refuses."""
    top = root()
    described = x509.AccessDescription(
        x509.ObjectIdentifier("1.3.6.1.5.5.7.48.2"),
        x509.UniformResourceIdentifier("http://ca.example/ca.der"),
    )
    value = x509.AuthorityInformationAccess([described])
    assert value.oid.dotted_string == AUTHORITY_INFORMATION_ACCESS
    return given(leaf(top, extensions=[(value, True)]), top)


@case(openssl=34, webpki=False, primary="x509.unknown-critical-extension")
def critical_issuer_alternative_name() -> Given:
    """A critical issuerAltName is standard, and processed by nobody."""
    top = root()
    value = x509.IssuerAlternativeName([x509.DNSName("ca.example")])
    return given(leaf(top, extensions=[(value, True)]), top)


@case(openssl=0, webpki=False)
def critical_certificate_policies() -> Given:
    """Critical certificatePolicies are processed."""
    top = root()
    value = x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier(UNKNOWN), None)])
    return given(leaf(top, extensions=[(value, True)]), top)


@case(openssl=0, webpki=False)
def explicit_policy_required() -> Given:
    """requireExplicitPolicy 0 in a CA, no policy in the leaf: clients do not process policies."""
    value = x509.PolicyConstraints(require_explicit_policy=0, inhibit_policy_mapping=None)
    top, below = middle(extensions=[(value, True)])
    return given(leaf(below), top)


@case(openssl=20, webpki=False, primary="x509.malformed-certificate")
def extension_twice() -> Given:
    """An extension that appears twice is against RFC 5280 section 4.2."""
    top = root()

    def doubled(parts: list[bytes]) -> list[bytes]:
        listed = content(content(parts[EXTENSIONS]))
        twin = encode_tlv(0x30, bytes.fromhex("0603551d0e") + encode_tlv(0x04, b"\x04\x02\1\2"))
        return [*parts[:EXTENSIONS], encode_tlv(0xA3, encode_tlv(0x30, listed + twin))]

    assert SUBJECT_KEY_IDENTIFIER == "2.5.29.14"
    return presenting(resigned(leaf(top).certificate, top.key, doubled)).against(top)


@case(openssl=0, webpki=False)
def extensions_empty() -> Given:
    """An empty list of extensions is against the grammar; OpenSSL takes the common name."""
    top = root()
    empty = encode_tlv(0xA3, encode_tlv(0x30, b""))
    return presenting(with_part(leaf(top).certificate, top.key, EXTENSIONS, empty)).against(top)


@case(openssl=20, webpki=True, primary="x509.malformed-certificate")
def key_identifier_that_cannot_be_parsed() -> Given:
    """An authority key identifier of garbage."""
    top = root()
    garbage = raw(AUTHORITY_KEY_IDENTIFIER, b"\x30\x09\x80")
    return given(leaf(top, aki=False, extensions=[garbage]), top)
