"""Certificates for the cases: the sandbox's authority, and surgery for what no library writes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from tbdiag.sandbox.authority import Authority, Issued, make_key
from tbdiag.sandbox.der import PrivateKey, content, encode_tlv, sign, split_tlvs
from tests.conformance.registry import HOST, NOW

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
SHA256_RSA = bytes.fromhex("300d06092a864886f70d01010b0500")
SHA256_EC = bytes.fromhex("300a06082a8648ce3d040302")

SERIAL, SIGNATURE, ISSUER, VALIDITY, SUBJECT, KEY, EXTENSIONS = range(1, 8)
"""The places of a version 3 TBSCertificate's elements (the version itself is at 0)."""


def root(name: str = "Root", **options: Any) -> Authority:
    """A root that is valid at NOW."""
    return Authority.root(name, **{"now": NOW, **options})


def middle(**options: Any) -> tuple[Authority, Authority]:
    """A root and an intermediate below it, the intermediate with these options."""
    top = root()
    return top, top.intermediate("Intermediate", **options)


def leaf(issuer: Authority, *names: str, **options: Any) -> Issued:
    """A server certificate of `issuer` for `names`, HOST by default."""
    return issuer.issue_server(*(names or (HOST,)), **options)


@functools.cache
def rsa_key(bits: int) -> PrivateKey:
    """An RSA key, made once: it takes longer than everything else here."""
    return rsa.generate_private_key(65537, bits)


def raw(oid: str, value: bytes, *, critical: bool = False) -> tuple[x509.ExtensionType, bool]:
    """An extension with these bytes, whatever they mean."""
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value), critical


def resigned(
    certificate: x509.Certificate,
    key: PrivateKey,
    change: Callable[[list[bytes]], list[bytes]],
    algorithm: bytes | None = None,
) -> bytes:
    """DER of the certificate with the elements of its TBSCertificate changed, signed again."""
    parts = [element for _, element in split_tlvs(content(certificate.tbs_certificate_bytes))]
    if algorithm is None:
        algorithm = SHA256_RSA if isinstance(key, rsa.RSAPrivateKey) else SHA256_EC
    tbs = encode_tlv(0x30, b"".join(change(parts)))
    signature = encode_tlv(0x03, b"\0" + sign(key, tbs, "sha256"))
    return encode_tlv(0x30, tbs + algorithm + signature)


def with_part(certificate: x509.Certificate, key: PrivateKey, place: int, element: bytes) -> bytes:
    """DER of the certificate with one element of its TBSCertificate replaced, signed again."""
    return resigned(certificate, key, lambda parts: [*parts[:place], element, *parts[place + 1 :]])


def self_resigned(authority: Authority, place: int, element: bytes) -> bytes:
    """DER of a root with one element replaced, signed with its own key."""
    return with_part(authority.certificate, authority.key, place, element)


def validity(not_before: bytes, not_after: bytes, tags: tuple[int, int] = (0x17, 0x17)) -> bytes:
    """A Validity whose times are written exactly so; 0x17 is UTCTime, 0x18 GeneralizedTime."""
    return encode_tlv(0x30, encode_tlv(tags[0], not_before) + encode_tlv(tags[1], not_after))


def ladder(top: Authority, steps: int) -> Authority:
    """The lowest of `steps` intermediates below `top`."""
    for number in range(steps):
        top = top.intermediate(f"Step {number}")
    return top


__all__ = [
    "DAY", "EXTENSIONS", "ISSUER", "KEY", "SECOND", "SERIAL", "SHA256_EC", "SHA256_RSA",
    "SIGNATURE", "SUBJECT", "VALIDITY", "Encoding", "ladder", "leaf", "make_key", "middle", "raw",
    "resigned", "root", "rsa_key", "self_resigned", "validity", "with_part",
]  # fmt: skip
