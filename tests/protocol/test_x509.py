"""protocol.x509: certificates as facts, whatever state they are in."""

import contextlib
import ipaddress
import random
import re
import ssl
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import certifi
import pytest
from cryptography import x509 as reference
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from tbdiag.protocol import x509
from tbdiag.protocol.x509_identity import dns_matches
from tbdiag.sandbox.authority import Authority, self_signed

NOW = datetime(2026, 3, 1, tzinfo=UTC)
REAL = Path(__file__).parents[2].parent / "shared" / "real_chains"


def parsed(thing):
    certificate = getattr(thing, "certificate", thing)
    return x509.parse_certificate(certificate.public_bytes(Encoding.DER))


@pytest.fixture(scope="module")
def root():
    return Authority.root("Root", now=NOW)


@pytest.fixture(scope="module")
def public_roots():
    text = Path(certifi.where()).read_text(encoding="utf-8")
    blocks = re.findall("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.DOTALL)
    return [ssl.PEM_cert_to_DER_cert(block) for block in blocks]


def test_every_public_root_parses_to_what_cryptography_reads(public_roots):
    """Name bytes, validity, key size, basicConstraints and signature hash equal cryptography's."""
    for der in public_roots:
        mine = x509.parse_certificate(der)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = reference.load_der_x509_certificate(der)
            basic = theirs.extensions.get_extension_for_class(reference.BasicConstraints).value
        assert mine.subject_der == theirs.subject.public_bytes()
        assert (mine.not_before, mine.not_after) == (
            theirs.not_valid_before_utc,
            theirs.not_valid_after_utc,
        )
        assert mine.key.bits == theirs.public_key().key_size
        assert (mine.is_ca, mine.path_length) == (basic.ca, basic.path_length)
        assert mine.signature_hash == theirs.signature_hash_algorithm.name


def test_public_roots_are_roots(public_roots):
    """Every certificate of the public bundle verifies with its own key."""
    assert {x509.parse_certificate(der).role for der in public_roots} == {"root"}


def test_names_are_rfc_4514(public_roots):
    """Subjects read as cryptography writes them, apart from the e-mail attribute's short name."""
    for der in public_roots:
        mine = x509.parse_certificate(der).subject
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = reference.load_der_x509_certificate(der).subject.rfc4514_string()
        assert mine.replace("emailAddress=", "1.2.840.113549.1.9.1=") == theirs


def test_every_field_of_a_server_certificate(root):
    """A leaf's extensions come out in the RFC's words."""
    authority = Authority.root("R", now=NOW)
    leaf = parsed(authority.issue_server("a.example", "192.0.2.1", "2001:db8::1", key="rsa"))
    assert leaf.common_name == "a.example"
    assert leaf.subject_alt_name == ("DNS:a.example", "IP:192.0.2.1", "IP:2001:db8::1")
    assert leaf.key_usage == ("digitalSignature",)
    assert leaf.extended_key_usage == ("serverAuth",)
    assert str(leaf.key) == "RSA 2048"
    assert leaf.role == "end-entity"
    assert leaf.version == 3
    assert leaf.signature_algorithm == "ecdsa-with-SHA256"
    assert leaf.authority_key_identifier == parsed(authority).subject_key_identifier
    assert leaf.oddities == ()


@pytest.mark.parametrize("key", ["ec", "ec384", "ed25519", "rsa1024", "rsa"])
def test_signatures_of_every_algorithm_verify(key):
    """issued_by is true for each kind of key, and false once the signature is damaged."""
    authority = Authority.root("Root", key=key, now=NOW)
    leaf = authority.issue_server("a.example")
    assert x509.issued_by(parsed(leaf), parsed(authority))
    assert parsed(authority).self_signed
    assert not x509.issued_by(parsed(leaf.with_bad_signature()), parsed(authority))


@pytest.mark.parametrize("digest", ["sha1", "md5"])
def test_weak_hashes_are_named_and_still_verified(digest):
    """A SHA-1 or MD5 signature is a fact to name, not a reason to fail."""
    authority = Authority.root("Root", key="rsa", now=NOW)
    leaf = parsed(authority.issue_server("a.example", signature_hash=digest))
    assert leaf.signature_hash == digest
    assert x509.issued_by(leaf, parsed(authority))


def test_rsassa_pss_verifies():
    """A certificate signed with RSASSA-PSS names its hash and verifies."""
    authority = Authority.root("Root", key="rsa", now=NOW)
    builder = reference.CertificateBuilder(
        issuer_name=authority.certificate.subject,
        subject_name=authority.certificate.subject,
        public_key=authority.key.public_key(),
        serial_number=7,
        not_valid_before=NOW,
        not_valid_after=NOW + timedelta(days=9),
    )
    pss = padding.PSS(padding.MGF1(hashes.SHA384()), 48)
    digest = hashes.SHA384()
    made = parsed(builder.sign(authority.key, digest, rsa_padding=pss))
    assert (made.signature_algorithm, made.signature_hash) == ("RSASSA-PSS", "sha384")
    assert made.self_signed


def test_same_name_with_another_key_did_not_issue(root):
    """A root reissued with a new key has the name but not the signature."""
    leaf, twin = parsed(root.issue_server("a.example")), parsed(root.twin())
    assert x509.names_match(leaf, twin)
    assert x509.key_identifiers_agree(leaf, twin) is False
    assert not x509.issued_by(leaf, twin)


def test_key_identifiers_say_nothing_when_absent(root):
    """Without an authority key identifier the question has no answer."""
    leaf = parsed(root.issue_server("a.example", aki=False))
    assert x509.key_identifiers_agree(leaf, parsed(root)) is None


def test_paths_go_through_a_cross_signed_root(root):
    """A leaf under a cross-signed root has a way to each of the two anchors."""
    old = Authority.root("Old Root", now=NOW)
    crossed = old.cross_sign(root)
    leaf = parsed(root.issue_server("a.example"))
    pool = [parsed(root), parsed(crossed), parsed(old)]
    found = {tuple(c.name for c in path) for path in x509.paths(leaf, pool)}
    assert found == {("a.example", "Root"), ("a.example", "Root", "Old Root")}
    assert x509.same_key(parsed(root), parsed(crossed))


def test_paths_stop_where_the_issuer_is_missing(root):
    """Without the issuer in the pool the path is the leaf alone."""
    leaf = parsed(root.issue_server("a.example"))
    assert list(x509.paths(leaf, [])) == [(leaf,)]


def test_a_version_1_certificate_of_the_documentation_recipe(root):
    """An X.509 v1 leaf has no extensions, and None says so."""
    leaf = parsed(root.issue_server("a.example", version=1))
    assert leaf.version == 1
    assert (leaf.is_ca, leaf.subject_alt_name, leaf.key_usage) == (None, None, None)


def test_unknown_critical_extensions_are_listed(root):
    """A critical extension that path validation does not know is named by its OID."""
    leaf = parsed(root.issue_server("a.example", unknown_critical=True))
    assert leaf.unknown_critical == ("1.3.6.1.4.1.99999.1",)


def test_name_constraints_are_read(root):
    """Permitted and excluded subtrees come out apart, networks with their prefix length."""
    constrained = parsed(root.intermediate("I", permitted=["example.org", "10.0.0.0/8"]))
    assert constrained.name_constraints == (("DNS:example.org", "IP:10.0.0.0/8"), ())


def test_encode_pem_round_trips_at_64_columns(root):
    """What is written has lines of 64 columns and LF, and reads back to the same bytes."""
    certificate = parsed(root)
    text = x509.encode_pem([certificate])
    assert max(map(len, text.splitlines())) == 64
    assert "\r" not in text
    assert ssl.PEM_cert_to_DER_cert(text) == certificate.der


def test_a_comment_cannot_smuggle_lines_into_pem():
    """A name with line breaks and dashes stays inside its comment line."""
    hostile = parsed(self_signed("a\n-----END CERTIFICATE-----\nx", alt_names=()))
    text = x509.encode_pem([hostile], comments=True)
    assert text.count("-----END CERTIFICATE-----") == 1
    assert text.splitlines()[1] == "-----BEGIN CERTIFICATE-----"


def test_negative_serial_is_an_oddity(root):
    """A serial number that strict readers refuse is noted, and the certificate is read."""
    der = bytearray(parsed(root).der)
    body = der.index(b"\x02\x14") if b"\x02\x14" in der[:20] else der.index(b"\x02\x13", 4)
    der[body + 2] |= 0x80
    made = x509.parse_certificate(bytes(der))
    assert made.oddities == ("its serial number is negative",)
    assert made.serial_number.startswith("-")


def test_a_broken_extension_is_an_oddity(root):
    """An extension that does not parse leaves its field empty and the rest in place."""
    leaf = parsed(root.issue_server("a.example"))
    broken = leaf.der.replace(b"\x82\x09a.example", b"\x82\x0aa.example")
    made = x509.parse_certificate(broken)
    assert made.oddities == ("the extension subjectAltName cannot be parsed",)
    assert made.subject_alt_name is None
    assert made.is_ca is False


def test_bytes_after_the_certificate_are_an_oddity(root):
    """Trailing bytes are noted and do not change the fingerprint."""
    made = x509.parse_certificate(parsed(root).der + b"xyz")
    assert made.oddities == ("3 more bytes follow the certificate",)
    assert made.fingerprint_sha256 == parsed(root).fingerprint_sha256


@pytest.mark.parametrize("junk", [b"", b"0", b"\x30\x80\x00\x00", b"\x30\x03\x02\x01\x01", b"hi"])
def test_what_is_no_certificate_says_so_in_one_sentence(junk):
    """UnparsableCertificate is the only exception, with a sentence."""
    with pytest.raises(x509.UnparsableCertificate, match=r"^[A-Z].*\.$"):
        x509.parse_certificate(junk)


def test_damaged_certificates_never_crash(root):
    """Any single changed byte gives a certificate or UnparsableCertificate, nothing else."""
    der = parsed(root.issue_server("a.example")).der
    chance = random.Random(1)
    for position in range(len(der)):
        damaged = bytearray(der)
        damaged[position] = chance.randrange(256)
        try:
            x509.parse_certificate(bytes(damaged))
        except x509.UnparsableCertificate:
            continue


@given(st.binary(max_size=200))
def test_random_bytes_never_crash(data):
    """Bytes of any kind give a certificate or UnparsableCertificate."""
    with contextlib.suppress(x509.UnparsableCertificate):
        x509.parse_certificate(b"\x30\x81" + bytes([len(data) & 0xFF]) + data)


def test_a_key_too_long_to_compute_with_verifies_nothing(root, monkeypatch):
    """Above the limit of RSA bits no signature is computed."""
    monkeypatch.setattr("tbdiag.protocol.x509_signature.MAX_RSA_BITS", 512)
    authority = Authority.root("Long", key="rsa1024", now=NOW)
    assert not parsed(authority).self_signed


def test_a_monstrous_number_is_refused_quickly():
    """A serial number of a megabyte is named, not computed with."""
    length = (1 << 20) - 100
    serial = b"\x02\x83" + length.to_bytes(3, "big") + b"\x01" * length
    body = b"\x30\x83" + (len(serial) + 10).to_bytes(3, "big") + serial + b"\x30\x00" * 5
    data = body + b"\x30\x00\x03\x01\x00"
    with pytest.raises(x509.UnparsableCertificate):
        x509.parse_certificate(b"\x30\x83" + len(data).to_bytes(3, "big") + data)


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("a.example.org", "A.EXAMPLE.org", True),
        ("*.example.org", "a.example.org", True),
        ("*.example.org", "a.b.example.org", False),
        ("*.example.org", "example.org", False),
        ("*.org", "example.org", False),
        ("a*.example.org", "ab.example.org", False),
        ("*.*.org", "a.b.org", False),
        ("*", "localhost", False),
        ("xn--bcher-kva.example", "bücher.example", True),
        ("example.org\0.evil", "example.org", False),
        ("*.example.org", ".example.org", False),
    ],
)
def test_dns_names_match_as_rfc_9525_says(pattern, name, expected):
    """A wildcard covers exactly one whole leftmost label."""
    assert dns_matches(pattern, name) is expected


def openssl_accepts(leaf, root, name):
    """What OpenSSL itself says of this name, in a handshake in memory."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=x509.encode_pem([parsed(root)]))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    folder = leaf[1]
    server.load_cert_chain(folder / "leaf.pem", folder / "leaf.key")
    ends = [ssl.MemoryBIO() for _ in range(4)]
    ours = client.wrap_bio(ends[0], ends[1], server_hostname=name)
    theirs = server.wrap_bio(ends[2], ends[3], server_side=True)
    for _ in range(4):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError:
                return False
            ends[2].write(ends[1].read())
            ends[0].write(ends[3].read())
    return True


@pytest.mark.parametrize(
    ("common_name", "alt_names", "name"),
    [
        ("a.example", (), "a.example"),
        ("*.example.org", (), "a.example.org"),
        ("a.example", ("b.example",), "a.example"),
        ("a.example", ("192.0.2.1",), "a.example"),
        ("192.0.2.1", (), "192.0.2.1"),
        ("x", ("192.0.2.1",), "192.0.2.1"),
        ("x", ("2001:db8::1",), "2001:db8:0::1"),
        ("x", ("*.example.org",), "a.example.org"),
        ("x", ("*.example.org",), "a.b.example.org"),
        ("x", ("*.org",), "example.org"),
        ("x", ("localhost",), "localhost"),
    ],
)
def test_name_match_agrees_with_openssl(tmp_path, common_name, alt_names, name):
    """For every kind of name the verdict is the one of a real OpenSSL client."""
    root = Authority.root("Root")
    issued = root.issue_server(common_name, alt_names=alt_names)
    (tmp_path / "leaf.pem").write_bytes(issued.pem())
    (tmp_path / "leaf.key").write_bytes(issued.key_pem())
    mine = x509.name_match(name, parsed(issued))
    assert mine.matches is openssl_accepts((issued, tmp_path), root, name)


def test_common_name_matches_are_marked(root):
    """A match by common name alone says so: most device stacks refuse it."""
    match = x509.name_match("a.example", parsed(root.issue_server("a.example", alt_names=())))
    assert (match.matches, match.by_common_name) == (True, True)
    assert match.presented == ("CN:a.example",)


def test_public_key_der_is_the_exact_subject_public_key_info(root):
    """The bytes equal what cryptography encodes."""
    expected = root.certificate.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    assert x509.public_key_der(parsed(root)) == expected


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/real_chains is not here")
def test_the_wildcard_of_thingsboard_cloud_covers_one_label():
    """*.thingsboard.cloud covers mqtt.thingsboard.cloud, not mqtt.eu.thingsboard.cloud."""
    text = (REAL / "tb-cloud-2021-chain.pem").read_text(encoding="ascii")
    first = text[text.index("-----BEGIN") : text.index("-----END")] + "-----END CERTIFICATE-----\n"
    leaf = x509.parse_certificate(ssl.PEM_cert_to_DER_cert(first))
    assert leaf.not_after == datetime(2022, 10, 5, 23, 59, 59, tzinfo=UTC)
    assert x509.name_match("mqtt.thingsboard.cloud", leaf).matches
    assert not x509.name_match("mqtt.eu.thingsboard.cloud", leaf).matches


def test_ip_literals_compare_as_addresses(root):
    """An IPv6 reference matches however it is spelled."""
    leaf = parsed(root.issue_server("x", alt_names=("2001:db8::1",)))
    spelled = ipaddress.ip_address("2001:db8::1").exploded
    assert x509.name_match(spelled, leaf).matches
    assert x509.name_match("[2001:db8::1]", leaf).matches
