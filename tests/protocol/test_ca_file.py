"""protocol.ca_file: every shape in which people keep a CA certificate, and what is not one."""

import base64
import io
import json
import ssl
import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs7,
    pkcs12,
)
from hypothesis import example, given
from hypothesis import strategies as st

from tbdiag.protocol.ca_file import read_ca
from tbdiag.sandbox.authority import Authority, make_name

NOW = datetime(2026, 3, 1, tzinfo=UTC)
REAL = Path(__file__).parents[2].parent / "shared" / "real_chains"
ROOT = Authority.root("Root", now=NOW)
OTHER = Authority.root("Other", now=NOW)
A, B = ROOT.pem(), OTHER.pem()
DER = ssl.PEM_cert_to_DER_cert(A.decode())
BODY = b"".join(A.splitlines()[1:-1])
BEGIN, END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"


def read(data):
    return read_ca(data, "ca.pem", "file", "ca.pem")


def kinds(source):
    return [problem.kind for problem in source.problems]


def openssl_loads(path, data):
    path.write_bytes(data)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        return False
    return bool(context.get_ca_certs())


SHAPES = {
    "plain": A + B,
    "crlf": A.replace(b"\n", b"\r\n"),
    "no newline at the end": A[:-1],
    "text around": b"My root\n=======\n" + A + b"\nand another\n" + B,
    "trailing spaces": A.replace(b"\n", b" \t\n"),
    "unwrapped": b"\n".join((BEGIN, BODY, END, b"")),
    "byte order mark": b"\xef\xbb\xbf" + A,
    "utf-16": b"\xff\xfe" + A.decode().encode("utf-16-le"),
    "utf-16 big-endian": b"\xfe\xff" + A.decode().encode("utf-16-be"),
    "indented": b"".join(b"    " + line + b"\n" for line in A.splitlines()),
    "one line": BEGIN + BODY + END + b"\n",
    "carriage returns": A.replace(b"\n", b"\r"),
    "no end": A + B[:-26],
    "bad base64": A + B.replace(B.splitlines()[3], b"*" + B.splitlines()[3][1:]),
    "bad der": A + B.replace(B.splitlines()[1], b"AAAA" + B.splitlines()[1][4:]),
    "comment inside": A.replace(BEGIN + b"\n", BEGIN + b"\n# root\n"),
    "blank lines inside": A.replace(b"\n", b"\n\n"),
    "trusted": A.replace(b"CERTIFICATE", b"TRUSTED CERTIFICATE"),
    "x509 certificate": A.replace(b"CERTIFICATE", b"X509 CERTIFICATE"),
    "der": DER,
    "empty": b"",
    "white space": b" \n\n",
    "mismatched end": A.replace(b"END CERTIFICATE", b"END X509 CRL"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_refused_is_what_openssl_refuses(shape, tmp_path):
    """A source has a refused problem exactly when OpenSSL does not load the file."""
    source = read(SHAPES[shape])
    refused = any(problem.refused for problem in source.problems)
    assert refused is not openssl_loads(tmp_path / "ca.pem", SHAPES[shape])


@pytest.mark.parametrize("shape", sorted(set(SHAPES) - {"empty", "white space"}))
def test_a_readable_certificate_is_read_in_every_shape(shape):
    """Whatever is wrong around it, the sound certificate comes out."""
    assert DER in [c.der for c in read(SHAPES[shape]).certificates]


@pytest.mark.parametrize(
    ("shape", "kind", "line"),
    [
        ("unwrapped", "unwrapped-base64", 1),
        ("no end", "corrupt-pem", len(A.splitlines()) + 1),
        ("bad base64", "corrupt-pem", len(A.splitlines()) + 4),
        ("bad der", "corrupt-pem", len(A.splitlines()) + 1),
        ("comment inside", "corrupt-pem", 2),
        ("indented", "corrupt-pem", 1),
        ("utf-16", "not-pem", None),
        ("trusted", "not-pem", 1),
        ("der", "not-pem", None),
        ("empty", "empty", None),
    ],
)
def test_a_problem_names_its_kind_and_line(shape, kind, line):
    """The first problem says what is wrong and where in the file."""
    problem = read(SHAPES[shape]).problems[0]
    assert (problem.kind, problem.line) == (kind, line)


def test_a_missing_end_does_not_swallow_the_next_certificate():
    """Both certificates are read when the first one lacks its END line."""
    source = read(A[:-26] + B)
    assert [c.name for c in source.certificates] == ["Root", "Other"]
    assert kinds(source) == ["corrupt-pem"]


def test_ordinary_files_have_no_problems():
    """CRLF, comments and several certificates are fine."""
    for shape in ("plain", "crlf", "no newline at the end", "text around", "trailing spaces"):
        assert read(SHAPES[shape]).problems == ()


@pytest.mark.parametrize(
    "template",
    [
        "const char* ca = \\\n{quoted};\n",
        "static const char CA[] PROGMEM = {quoted};",
        '{{"ca": "{escaped}"}}',
        "CA='{escaped}'",
    ],
)
def test_a_string_of_source_code_is_read_and_named(template):
    """PEM pasted as a C or JSON string is understood, and said not to be a PEM file."""
    lines = (A + B).decode().splitlines()
    quoted = " \\\n".join(f'  "{line}\\n"' for line in lines)
    escaped = (A + B).decode().replace("\n", "\\n")
    source = read(template.format(quoted=quoted, escaped=escaped).encode())
    assert [c.name for c in source.certificates] == ["Root", "Other"]
    assert kinds(source) == ["not-pem"]
    assert source.problems[0].refused


def p7(encoding):
    return pkcs7.serialize_certificates([ROOT.certificate, OTHER.certificate], encoding)


def p12(certificates, key=None, password=None):
    cover = BestAvailableEncryption(password) if password else NoEncryption()
    return pkcs12.serialize_key_and_certificates(
        b"x", key, ROOT.certificate if key else None, certificates, cover
    )


@pytest.mark.parametrize(
    ("data", "form"),
    [(p7(Encoding.PEM), "pkcs7-pem"), (p7(Encoding.DER), "pkcs7-der"), (DER, "der")],
)
def test_other_containers_are_read_and_are_not_pem(data, form):
    """DER and PKCS#7 give their certificates, their format and the problem not-pem."""
    source = read(data)
    assert source.format == form
    assert "Root" in [c.name for c in source.certificates]
    assert kinds(source) == ["not-pem"]


def test_pkcs12_without_a_password():
    """Certificates of an open PKCS#12 are read; a private key in it is named."""
    assert kinds(read(p12([OTHER.certificate]))) == ["not-pem"]
    with_key = read(p12([OTHER.certificate], ROOT.key))
    assert {c.name for c in with_key.certificates} == {"Root", "Other"}
    assert kinds(with_key) == ["private-key", "not-pem"]


def test_pkcs12_with_a_password_says_so():
    """A protected keystore is named as such."""
    source = read(p12([OTHER.certificate], ROOT.key, b"secret"))
    assert source.problems[0].detail == "a PKCS#12 keystore protected by a password"
    assert source.certificates == ()


def request():
    builder = x509.CertificateSigningRequestBuilder(make_name("x"))
    return builder.sign(ROOT.key, hashes.SHA256())


def revocation_list():
    builder = x509.CertificateRevocationListBuilder(make_name("x"), NOW, NOW)
    return builder.sign(ROOT.key, hashes.SHA256())


def archive(name):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr(name, "x")
    return stream.getvalue()


PUBLIC = ROOT.key.public_key()
KEY = ROOT.key
PKCS8 = PrivateFormat.PKCS8
LOCKED = BestAvailableEncryption(b"x")
STRANGERS = {
    "html": (
        b"<!DOCTYPE html><html><title>ThingsBoard</title>",
        "an HTML page titled 'ThingsBoard'",
    ),
    "json error": (
        json.dumps({"status": 404, "message": "mqtts pem cert file is not found!"}).encode(),
        "a JSON error that says 'mqtts pem cert file is not found!'",
    ),
    "json": (b'{"a": 1}', "a JSON document"),
    "json array": (b"[1, 2]", "a JSON document"),
    "key": (KEY.private_bytes(Encoding.PEM, PKCS8, NoEncryption()), "a private key"),
    "locked key": (KEY.private_bytes(Encoding.PEM, PKCS8, LOCKED), "an encrypted private key"),
    "ec key": (
        KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
        "a private key",
    ),
    "der key": (KEY.private_bytes(Encoding.DER, PKCS8, NoEncryption()), "a private key"),
    "locked der key": (
        KEY.private_bytes(Encoding.DER, PKCS8, LOCKED),
        "an encrypted private key",
    ),
    "ssh key": (
        KEY.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
        "a private key",
    ),
    "ssh public key": (
        PUBLIC.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        "an SSH public",
    ),
    "public key": (
        PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "a public key, not a certificate",
    ),
    "der public key": (
        PUBLIC.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "a public key",
    ),
    "csr": (request().public_bytes(Encoding.PEM), "a certificate signing request"),
    "der csr": (request().public_bytes(Encoding.DER), "a certificate signing request"),
    "crl": (revocation_list().public_bytes(Encoding.PEM), "a certificate revocation list"),
    "der crl": (revocation_list().public_bytes(Encoding.DER), "a certificate revocation list"),
    "dump": (b"Certificate:\n    Data:\n        Version: 3 (0x2)\n", "printed as text"),
    "jks": (b"\xfe\xed\xfe\xed\0\0\0\x02\0\0\0\x01", "a Java keystore"),
    "zip": (archive("ca.pem"), "a ZIP archive"),
    "word": (archive("word/document.xml"), "a Word document"),
    "gzip": (b"\x1f\x8b\x08\0\0\0\0\0", "a gzip archive"),
    "binary": (bytes(range(128, 256)) * 4, "binary data"),
    "text": (b"Not Found\n", "text that begins with 'Not Found'"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid x\n", "a Git LFS pointer"),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_what_is_not_a_certificate_is_named(name):
    """HTML, JSON, keys, requests, archives: each is called what it is, and refused."""
    data, words = STRANGERS[name]
    source = read(data)
    told = [p.detail for p in source.problems if p.kind == "not-a-certificate"]
    assert source.certificates == ()
    assert source.format == "unknown"
    assert words in told[0]


def test_no_text_of_a_private_key_is_kept():
    """A key beside a certificate is named, and none of its base64 appears anywhere."""
    key = KEY.private_bytes(Encoding.PEM, PKCS8, NoEncryption())
    for data in (A + key, key, key[:-30], b"x" + key, key.replace(b"\n", b"\\n")):
        source = read(data)
        assert "private-key" in kinds(source)
        assert not any(line in repr(source) for line in key.decode().splitlines()[1:-1])


def test_base64_without_its_lines():
    """The bare base64 of a certificate is read, and said to lack BEGIN and END."""
    source = read(base64.encodebytes(DER))
    assert [c.der for c in source.certificates] == [DER]
    assert kinds(source) == ["not-pem"]


def test_the_number_of_certificates_is_bounded(monkeypatch):
    """Beyond the cap certificates are counted, not read."""
    monkeypatch.setattr("tbdiag.protocol.ca_file.MAX_CERTIFICATES", 3)
    source = read(A * 5)
    assert (len(source.certificates), source.truncated) == (3, 2)


def test_the_size_is_bounded(monkeypatch):
    """A file beyond the cap is cut, and the report says so."""
    monkeypatch.setattr("tbdiag.protocol.ca_file.MAX_BYTES", len(A) * 2)
    source = read(A * 6)
    assert len(source.certificates) == 2
    assert kinds(source) == ["too-large"]


def test_thousands_of_damaged_blocks_give_a_bounded_report():
    """The list of problems is capped."""
    assert len(read(b"-----BEGIN CERTIFICATE-----\nx\n" * 5000).problems) == 50


@pytest.mark.parametrize(
    "data",
    [
        b"-----BEGIN " * 100_000,
        b"-----BEGIN A-----\\n" + b'"' * 1_000_000,
        b" " * 1_000_000 + b"-----BEGIN CERTIFICATE-----\\n",
        b"-----BEGIN CERTIFICATE-----\n" + b"a:\n \n" * 200_000 + b"-----END CERTIFICATE-----\n",
        b"\x30\x84\x00\x1e\x84\x80" + b"\x30\x00" * 1_000_000,
    ],
    ids=["begins", "quotes", "spaces", "headers", "empty values"],
)
def test_hostile_megabytes_take_no_time(data):
    """Files made to be slow are read in a fraction of the stage's deadline."""
    started = time.monotonic()
    assert read(data).problems
    assert time.monotonic() - started < 5


@given(st.binary(max_size=300))
def test_random_bytes_never_crash(data):
    """Any bytes give a source with a certificate or a problem."""
    source = read(data)
    assert source.certificates or source.problems


@given(st.binary(max_size=80), st.integers(0, len(A)), st.integers(0, 80))
@example(b"", 11, 11)  # BEGIN without a label
def test_damaged_pem_never_crashes(junk, position, cut):
    """Junk anywhere in a PEM file gives a certificate or a problem."""
    source = read(A[:position] + junk + A[position + cut :])
    assert source.certificates or source.problems


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/real_chains is not here")
def test_the_file_of_thingsboards_documentation():
    """tb-cloud-chain.pem holds the expired R3 and ISRG Root X1, both unwrapped."""
    source = read((REAL / "tb-cloud-chain.pem").read_bytes())
    assert [c.name for c in source.certificates] == ["R3", "ISRG Root X1"]
    assert source.certificates[0].not_after == datetime(2025, 9, 15, 16, tzinfo=UTC)
    assert kinds(source) == ["unwrapped-base64"]
