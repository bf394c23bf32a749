"""Certificates that cryptography's builder refuses to write: version 1, SHA-1, MD5, bad signatures.

A valid certificate is taken apart as DER, changed, and signed again by hand.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
"""The kinds of key the sandbox issues."""

HASHES: dict[str, hashes.HashAlgorithm] = {
    "md5": hashes.MD5(),
    "sha1": hashes.SHA1(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
}

_VERSION_TAG, _EXTENSIONS_TAG, _SEQUENCE, _BIT_STRING = 0xA0, 0xA3, 0x30, 0x03
_ALGORITHMS = {
    ("rsa", "md5"): "300d06092a864886f70d0101040500",
    ("rsa", "sha1"): "300d06092a864886f70d0101050500",
    ("rsa", "sha256"): "300d06092a864886f70d01010b0500",
    ("rsa", "sha384"): "300d06092a864886f70d01010c0500",
    ("ec", "sha1"): "300906072a8648ce3d0401",
    ("ec", "sha256"): "300a06082a8648ce3d040302",
    ("ec", "sha384"): "300a06082a8648ce3d040303",
}


def encode_tlv(tag: int, value: bytes) -> bytes:
    """Return one DER element: tag, definite length, value."""
    size = len(value)
    if size < 0x80:
        return bytes([tag, size]) + value
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + value


def split_tlvs(data: bytes) -> list[tuple[int, bytes]]:
    """Return the DER elements that follow one another in `data`, as (tag, whole element)."""
    found = []
    while data:
        size, head = data[1], 2
        if size & 0x80:
            head += size & 0x7F
            size = int.from_bytes(data[2:head], "big")
        found.append((data[0], data[: head + size]))
        data = data[head + size :]
    return found


def content(element: bytes) -> bytes:
    """Return the value of one DER element."""
    head = 2 + (element[1] & 0x7F if element[1] & 0x80 else 0)
    return element[head:]


def sign(key: PrivateKey, data: bytes, hash_name: str) -> bytes:
    """Return the signature of `data`; `hash_name` is a key of HASHES (not used by Ed25519)."""
    match key:
        case rsa.RSAPrivateKey():
            return key.sign(data, padding.PKCS1v15(), HASHES[hash_name])
        case ec.EllipticCurvePrivateKey():
            return key.sign(data, ec.ECDSA(HASHES[hash_name]))
        case _:
            return key.sign(data)


def sign_again(
    certificate: x509.Certificate, key: PrivateKey, hash_name: str, version: int = 3
) -> x509.Certificate:
    """Return `certificate` signed by `key` with another hash, or as version 1.

    Version 1 drops the version field and every extension (RFC 5280, section 4.1.2.1). KeyError for
    a hash that the key's kind has no algorithm identifier for.
    """
    kind = "rsa" if isinstance(key, rsa.RSAPrivateKey) else "ec"
    algorithm = bytes.fromhex(_ALGORITHMS[kind, hash_name])
    parts = split_tlvs(content(certificate.tbs_certificate_bytes))
    serial = 1 if parts[0][0] == _VERSION_TAG else 0
    elements = [element for _, element in parts]
    elements[serial + 1] = algorithm
    if version == 1:
        kept = zip(parts, elements, strict=True)
        elements = [e for (tag, _), e in kept if tag not in (_VERSION_TAG, _EXTENSIONS_TAG)]
    tbs = encode_tlv(_SEQUENCE, b"".join(elements))
    signature = encode_tlv(_BIT_STRING, b"\0" + sign(key, tbs, hash_name))
    return x509.load_der_x509_certificate(encode_tlv(_SEQUENCE, tbs + algorithm + signature))


def corrupt_signature(certificate: x509.Certificate) -> x509.Certificate:
    """Return `certificate` with the last bit of its signature flipped."""
    der = bytearray(certificate.public_bytes(Encoding.DER))
    der[-1] ^= 1
    return x509.load_der_x509_certificate(bytes(der))
