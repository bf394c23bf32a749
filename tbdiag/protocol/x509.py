"""X.509 certificates as facts (RFC 5280): parsing them, and how two of them relate.

Parsing is tolerant and ours, so that a certificate which a strict library refuses can still be
named: what is wrong with it goes to `oddities`. It costs no import of `cryptography`; signatures
do (see `x509_signature`).
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from tbdiag.evidence import Certificate, PublicKey
from tbdiag.fact import replace
from tbdiag.protocol import der, x509_extensions, x509_signature
from tbdiag.protocol.x509_identity import name_match
from tbdiag.protocol.x509_names import common_names, comparable, name_text

__all__ = [
    "UnparsableCertificate",
    "encode_pem",
    "issued_by",
    "key_identifiers_agree",
    "name_match",
    "names_match",
    "parse_certificate",
    "paths",
    "public_key_der",
    "same_key",
]

MAX_KEPT = 8192
"""Octets up to which a certificate, once parsed, is kept for the next target that shows it."""
MAX_ISSUERS = 50
"""Certificates of one name that are tried as issuer of one other."""
MAX_CERTIFICATE = 1 << 20
"""Octets above which a certificate is not parsed."""
_CURVES = {
    "1.2.840.10045.3.1.7": ("P-256", 256),
    "1.3.132.0.34": ("P-384", 384),
    "1.3.132.0.35": ("P-521", 521),
    "1.3.132.0.33": ("P-224", 224),
    "1.2.840.10045.3.1.1": ("P-192", 192),
    "1.3.132.0.10": ("secp256k1", 256),
    "1.3.36.3.3.2.8.1.1.7": ("brainpoolP256r1", 256),
    "1.3.36.3.3.2.8.1.1.11": ("brainpoolP384r1", 384),
    "1.3.36.3.3.2.8.1.1.13": ("brainpoolP512r1", 512),
}
_KEYS = {
    "1.2.840.113549.1.1.1": "RSA",
    "1.2.840.113549.1.1.10": "RSA",
    "1.2.840.10045.2.1": "EC",
    "1.2.840.10040.4.1": "DSA",
    "1.3.101.112": "Ed25519",
    "1.3.101.113": "Ed448",
}


class UnparsableCertificate(ValueError):
    """The bytes are not an X.509 certificate; the message says in one sentence why."""


def parse_certificate(data: bytes, *, known_root: bool = False) -> Certificate:
    """Parse one DER certificate (RFC 5280 section 4.1).

    What a strict reader would refuse, and a TLS stack may still load, is listed in `oddities`.
    With `known_root` the signature of a self-issued certificate is taken as good: the public
    bundle is ours, and verifying it would cost as much as the rest of a diagnosis.
    Raises UnparsableCertificate when there is no certificate to speak of.
    """
    if len(data) > MAX_CERTIFICATE:
        raise UnparsableCertificate(f"It is {len(data):,} bytes long, too long for a certificate.")
    try:
        return (_parse_once if len(data) <= MAX_KEPT else _parse)(data, known_root)
    except (der.DerError, IndexError) as error:
        raise UnparsableCertificate(f"It is not an X.509 certificate: {error}.") from None
    except (ValueError, OverflowError) as error:
        raise UnparsableCertificate(f"The certificate cannot be parsed: {error}.") from None


def subject_of(data: bytes) -> str:
    """The subject of a DER certificate, RFC 4514; empty where OpenSSL reads one that we cannot."""
    try:
        return parse_certificate(data).subject
    except UnparsableCertificate:
        return ""


def _parse(data: bytes, known_root: bool) -> Certificate:
    _, _, start, stop = der.expect(data, 0, len(data), der.SEQUENCE)
    oddities = [f"{len(data) - stop} more bytes follow the certificate"] if stop < len(data) else []
    data = data[:stop]
    body, outer, signature = der.children(data, start, stop)[:3]
    if body[0] != der.SEQUENCE or signature[0] != der.BIT_STRING:
        raise der.DerError("its parts are not those of a certificate")
    parts = der.children(data, body[2], body[3])
    version = 1
    if parts[0][0] == 0xA0:
        version = der.integer(data, der.node_at(data, parts[0][2], parts[0][3])) + 1
        parts = parts[1:]
    serial, inner, issuer, validity, subject, key = parts[:6]
    number = der.integer(data, serial)
    fields, odd_extensions = _extensions(data, parts[6:])
    name, digest = x509_signature.algorithm(data[outer[1] : outer[3]])
    if data[inner[1] : inner[3]] != data[outer[1] : outer[3]]:
        oddities.append("the signature algorithm inside differs from the one outside")
    issuer_der, subject_der = data[issuer[1] : issuer[3]], data[subject[1] : subject[3]]
    not_before, not_after = (_time(data, n) for n in der.children(data, *validity[2:])[:2])
    certificate = Certificate(
        der=data,
        subject=name_text(subject_der),
        issuer=name_text(issuer_der),
        serial_number=f"{number:x}",
        version=version,
        not_before=not_before,
        not_after=not_after,
        key=_public_key(data[key[1] : key[3]], oddities),
        signature_algorithm=name,
        signature_hash=digest,
        fingerprint_sha256=hashlib.sha256(data).hexdigest(),
        common_name=next(reversed(common_names(subject_der)), None),
        subject_der=subject_der,
        issuer_der=issuer_der,
        self_signed=issuer_der == subject_der
        and (known_root or x509_signature.signed_by(data, data[key[1] : key[3]])),
        **fields,
    )
    oddities += odd_extensions + _odd_facts(certificate, number, fields)
    oddities += _odd_times(data, validity)
    return replace(certificate, oddities=tuple(oddities)) if oddities else certificate


_parse_once = functools.lru_cache(maxsize=256)(_parse)
"""The same intermediates come with thousands of servers."""


def _extensions(data: bytes, parts: Sequence[der.Node]) -> tuple[x509_extensions.Fields, list[str]]:
    for tag, _, start, stop in parts:
        if tag == 0xA3:
            inner = der.node_at(data, start, stop)
            return x509_extensions.read_extensions(data, inner[2], inner[3])
    return {}, []


def _odd_facts(certificate: Certificate, number: int, fields: x509_extensions.Fields) -> list[str]:
    oddities = []
    if number <= 0:
        oddities.append(f"its serial number is {'zero' if number == 0 else 'negative'}")
    elif number.bit_length() > 159:
        oddities.append("its serial number is longer than 20 octets")
    if certificate.version not in (1, 2, 3):
        oddities.append(f"its version number says {certificate.version}")
    if fields and certificate.version < 3:
        oddities.append(f"it has extensions although it is an X.509 v{certificate.version}")
    if certificate.not_after < certificate.not_before:
        oddities.append("its not_after lies before its not_before")
    if not certificate.issuer:
        oddities.append("its issuer name is empty")
    if certificate.subject_alt_name == ():
        oddities.append("its subjectAltName is empty")
    if certificate.key_usage == ():
        oddities.append("its keyUsage allows nothing")
    return oddities


def _odd_times(data: bytes, validity: der.Node) -> list[str]:
    """RFC 5280 section 4.1.2.5: UTCTime up to 2049, then GeneralizedTime, seconds and Z in both."""
    for tag, _, start, stop in der.children(data, *validity[2:])[:2]:
        text = data[start:stop]
        length = 13 if tag == der.UTC_TIME else 15
        if len(text) != length or text[-1:] != b"Z":
            return ["its validity is written in another form than YYMMDDHHMMSSZ"]
        if tag == der.GENERALIZED_TIME and text < b"2050":
            return ["its validity is a GeneralizedTime before the year 2050"]
    return []


def _time(data: bytes, node: der.Node) -> datetime:
    """UTCTime or GeneralizedTime (RFC 5280 section 4.1.2.5), also with an offset or no seconds."""
    tag, _, start, stop = node
    text = data[start:stop].decode("ascii", "replace")
    if tag == der.UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != der.GENERALIZED_TIME:
        raise der.DerError("its validity holds no time")
    digits = text[:14] if text[12:14].isdigit() else text[:12] + "00"
    zone = text[14:] if text[12:14].isdigit() else text[12:]
    if len(digits) != 14 or not digits.isascii() or not digits.isdigit():
        raise der.DerError(f"{text!r} is not a time")
    moment = datetime(
        int(digits[:4]),
        int(digits[4:6]),
        int(digits[6:8]),
        int(digits[8:10]),
        int(digits[10:12]),
        min(int(digits[12:]), 59),
        tzinfo=UTC,
    )
    if len(zone) == 5 and zone[0] in "+-" and zone[1:].isdigit():
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:]))
        return moment - offset if zone[0] == "+" else moment + offset
    return moment


def _public_key(info: bytes, oddities: list[str]) -> PublicKey:
    identifier, value = der.sequence(info)[:2]
    oid_node, *parameters = der.children(info, identifier[2], identifier[3])
    oid = der.object_identifier(info[oid_node[2] : oid_node[3]])
    algorithm = _KEYS.get(oid, oid)
    bits: int | None = {"Ed25519": 256, "Ed448": 456}.get(algorithm)
    curve = None
    try:
        if algorithm == "RSA":
            key = info[value[2] + 1 : value[3]]
            bits = der.integer(key, der.sequence(key)[0]).bit_length()
        elif algorithm == "EC":
            curve, bits = _curve(info, parameters)
        elif algorithm == "DSA" and parameters:
            prime = der.children(info, parameters[0][2], parameters[0][3])[0]
            bits = der.integer(info, prime).bit_length()
    except (der.DerError, IndexError):
        oddities.append("its public key cannot be parsed")
    return PublicKey(algorithm, bits, curve, hashlib.sha256(info).hexdigest())


def _curve(info: bytes, parameters: Sequence[der.Node]) -> tuple[str, int | None]:
    if not parameters or parameters[0][0] != der.OBJECT_IDENTIFIER:
        return "explicit curve parameters", None
    oid = der.object_identifier(info[parameters[0][2] : parameters[0][3]])
    return _CURVES.get(oid, (oid, None))


def public_key_der(certificate: Certificate) -> bytes:
    """The SubjectPublicKeyInfo, byte for byte."""
    data = certificate.der
    body = der.sequence(data)[0]
    parts = der.children(data, body[2], body[3])
    key = parts[6 if parts[0][0] == 0xA0 else 5]
    return data[key[1] : key[3]]


def encode_pem(certificates: Iterable[Certificate], *, comments: bool = False) -> str:
    """PEM as every stack reads it (RFC 7468): 64 columns, LF, one block per certificate.

    With `comments`, a line before each block says what it is and until when.
    """
    blocks = []
    for certificate in certificates:
        text = base64.b64encode(certificate.der).decode("ascii")
        lines = [text[i : i + 64] for i in range(0, len(text), 64)]
        if comments:
            until = certificate.not_after.strftime("%Y-%m-%d")
            name = "".join(c if c.isascii() and c.isprintable() else "?" for c in certificate.name)
            blocks.append(f"# {certificate.role}: {name.replace('-----', '')}, until {until}")
        blocks += ["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----"]
    return "".join(f"{line}\n" for line in blocks)


def names_match(child: Certificate, issuer: Certificate) -> bool:
    """Whether child's issuer is issuer's subject, compared as RFC 5280 section 7.1 does."""
    if child.issuer_der == issuer.subject_der:
        return True
    return comparable(child.issuer_der) == comparable(issuer.subject_der)


def issued_by(child: Certificate, issuer: Certificate) -> bool:
    """Whether issuer's name is child's issuer and its key verifies child's signature."""
    if not names_match(child, issuer):
        return False
    return x509_signature.signed_by(child.der, public_key_der(issuer))


def key_identifiers_agree(child: Certificate, issuer: Certificate) -> bool | None:
    """Whether child's authority key identifier is issuer's subject key identifier.

    None where either is absent: nothing can be said.
    """
    if not child.authority_key_identifier or not issuer.subject_key_identifier:
        return None
    return child.authority_key_identifier == issuer.subject_key_identifier


def same_key(one: Certificate, other: Certificate) -> bool:
    """Whether both certificates hold the same public key (cross-signed, or reissued)."""
    return one.key.fingerprint_sha256 == other.key.fingerprint_sha256


def paths(
    leaf: Certificate, pool: Iterable[Certificate], *, limit: int = 32, depth: int = 10
) -> Iterator[tuple[Certificate, ...]]:
    """Every way up from `leaf` through `pool` by verified signatures, at most `limit` of them.

    Each starts with `leaf` and ends at a self-signed certificate or where `pool` holds no issuer.
    """
    available = tuple(dict.fromkeys(pool))
    waiting: list[tuple[Certificate, ...]] = [(leaf,)]
    found = 0
    while waiting and found < limit:
        path = waiting.pop()
        top = path[-1]
        above = [c for c in _named_issuers(top, available) if c not in path and issued_by(top, c)]
        if top.self_signed or not above or len(path) >= depth:
            found += 1
            yield path
            continue
        waiting += [(*path, issuer) for issuer in reversed(above)]


def _named_issuers(child: Certificate, pool: Iterable[Certificate]) -> list[Certificate]:
    """The certificates that may have issued `child` by their name, those with its authority key
    identifier first; a pool made to be slow holds thousands, so not all of them."""
    named = [c for c in pool if names_match(child, c)]
    if len(named) > MAX_ISSUERS:
        named.sort(key=lambda c: key_identifiers_agree(child, c) is not True)
    return named[:MAX_ISSUERS]
