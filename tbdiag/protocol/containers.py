"""What a DER structure holds, when it is not one certificate: PKCS#7, PKCS#12, keys, requests."""

from __future__ import annotations

from tbdiag.fact import Fact
from tbdiag.protocol import der

_SIGNED_DATA = "1.2.840.113549.1.7.2"
_DATA = "1.2.840.113549.1.7.1"
_PKCS7 = "1.2.840.113549.1.7."
_PBES = ("1.2.840.113549.1.5.", "1.2.840.113549.1.12.1.")


class UnreadableContainer(ValueError):
    """A PKCS#7 or PKCS#12 that cannot be opened; the message says why, after "it is"."""


class KeyStore(Fact, frozen=True):
    """What a PKCS#12 file holds: certificates as DER, and whether a private key is with them."""

    certificates: tuple[bytes, ...]
    has_key: bool


def pkcs7_certificates(data: bytes) -> tuple[bytes, ...]:
    """The certificates of a PKCS#7 SignedData (RFC 2315 section 9.1), DER each."""
    try:
        return _signed_data_certificates(data)
    except (der.DerError, IndexError):
        return _ber_certificates(data)


def _signed_data_certificates(data: bytes) -> tuple[bytes, ...]:
    kind, content = der.sequence(data)[:2]
    if der.object_identifier(data[kind[2] : kind[3]]) != _SIGNED_DATA:
        raise UnreadableContainer("a PKCS#7 file without certificates (not SignedData)")
    inner = der.expect(data, content[2], content[3], der.SEQUENCE)
    for tag, _, start, stop in der.children(data, inner[2], inner[3]):
        if tag == 0xA0:
            return tuple(data[c[1] : c[3]] for c in der.children(data, start, stop))
    return ()


def _ber_certificates(data: bytes) -> tuple[bytes, ...]:
    """The same through `cryptography`, which also reads the indefinite lengths of BER."""
    from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

    try:
        found = pkcs7.load_der_pkcs7_certificates(data)
    except Exception:  # noqa: BLE001 - whatever the library dislikes: it is not readable
        raise UnreadableContainer("a damaged PKCS#7 file") from None
    return tuple(c.public_bytes(Encoding.DER) for c in found)


def pkcs12_content(data: bytes) -> KeyStore:
    """What a PKCS#12 file without a password (or with an empty one) holds."""
    from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

    for password in (None, b""):
        try:
            store = pkcs12.load_pkcs12(data, password)
        except Exception:  # noqa: BLE001 - wrong password and damage look the same
            continue
        found = [store.cert, *store.additional_certs]
        ders = tuple(c.certificate.public_bytes(Encoding.DER) for c in found if c)
        return KeyStore(ders, store.key is not None)
    raise UnreadableContainer("a PKCS#12 keystore protected by a password")


def der_kind(data: bytes) -> str:
    """What a DER structure is, by its shape.

    `certificate`, `pkcs7`, `pkcs12`, `private-key`, `encrypted-private-key`, `public-key`,
    `request`, `crl`, or `unknown`.
    """
    try:
        return _shape(data)
    except (ValueError, IndexError):
        return "unknown"


def _shape(data: bytes) -> str:
    first, second, *rest = der.sequence(data)[:3]
    if first[0] == der.OBJECT_IDENTIFIER:
        oid = der.object_identifier(data[first[2] : first[3]])
        return "pkcs7" if oid.startswith(_PKCS7) else "unknown"
    if first[0] == der.INTEGER:
        return _shape_with_version(data, der.integer(data, first), second)
    inner = der.children(data, first[2], first[3])
    if rest and rest[0][0] == der.BIT_STRING:
        return _signed_shape(inner)
    if inner[0][0] != der.OBJECT_IDENTIFIER:
        return "unknown"
    oid = der.object_identifier(data[inner[0][2] : inner[0][3]])
    if second[0] == der.OCTET_STRING and oid.startswith(_PBES):
        return "encrypted-private-key"
    return "public-key" if second[0] == der.BIT_STRING else "unknown"


def _shape_with_version(data: bytes, version: int, second: der.Node) -> str:
    if version == 3 and second[0] == der.SEQUENCE:
        oid = der.expect(data, second[2], second[3], der.OBJECT_IDENTIFIER)
        known = der.object_identifier(data[oid[2] : oid[3]]) in (_DATA, _SIGNED_DATA)
        return "pkcs12" if known else "unknown"
    return (
        "private-key" if second[0] in (der.INTEGER, der.SEQUENCE, der.OCTET_STRING) else "unknown"
    )


def _signed_shape(inner: list[der.Node]) -> str:
    """Certificate, certificate request or CRL: all are signed, their bodies differ."""
    tags = [node[0] for node in inner]
    if tags[0] == 0xA0 or (len(tags) >= 6 and tags[:6] == [der.INTEGER] + [der.SEQUENCE] * 5):
        return "certificate"
    if tags[:3] == [der.INTEGER, der.SEQUENCE, der.SEQUENCE] and (
        len(tags) < 4 or tags[3] not in (der.UTC_TIME, der.GENERALIZED_TIME)
    ):
        return "request"
    if der.UTC_TIME in tags or der.GENERALIZED_TIME in tags:
        return "crl"
    return "unknown"
