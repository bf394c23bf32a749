"""Whether one key signed one certificate. The only module here that computes with keys.

`cryptography` is imported when the first signature is verified, not before.
"""

from __future__ import annotations

import functools
from typing import Any

from tbdiag.protocol import der

MAX_RSA_BITS = 16_384
"""Longer RSA keys are not computed with (CVE-2023-29409: they take seconds each)."""

MAX_KEY_OCTETS = 8192
"""Longer public keys are not even loaded."""
ALGORITHMS: dict[str, tuple[str, str | None]] = {
    "1.2.840.113549.1.1.2": ("md2WithRSAEncryption", "md2"),
    "1.2.840.113549.1.1.4": ("md5WithRSAEncryption", "md5"),
    "1.2.840.113549.1.1.5": ("sha1WithRSAEncryption", "sha1"),
    "1.3.14.3.2.29": ("sha1WithRSA", "sha1"),
    "1.2.840.113549.1.1.14": ("sha224WithRSAEncryption", "sha224"),
    "1.2.840.113549.1.1.11": ("sha256WithRSAEncryption", "sha256"),
    "1.2.840.113549.1.1.12": ("sha384WithRSAEncryption", "sha384"),
    "1.2.840.113549.1.1.13": ("sha512WithRSAEncryption", "sha512"),
    "1.2.840.113549.1.1.10": ("RSASSA-PSS", None),
    "1.2.840.10045.4.1": ("ecdsa-with-SHA1", "sha1"),
    "1.2.840.10045.4.3.1": ("ecdsa-with-SHA224", "sha224"),
    "1.2.840.10045.4.3.2": ("ecdsa-with-SHA256", "sha256"),
    "1.2.840.10045.4.3.3": ("ecdsa-with-SHA384", "sha384"),
    "1.2.840.10045.4.3.4": ("ecdsa-with-SHA512", "sha512"),
    "1.3.101.112": ("Ed25519", None),
    "1.3.101.113": ("Ed448", None),
    "1.2.840.10040.4.3": ("dsa-with-SHA1", "sha1"),
    "2.16.840.1.101.3.4.3.2": ("dsa-with-SHA256", "sha256"),
}
"""Signature algorithm OID: its name and hash (RFC 3279, 4055, 5758, 8410)."""
_HASHES = {
    "1.2.840.113549.2.5": "md5",
    "1.3.14.3.2.26": "sha1",
    "2.16.840.1.101.3.4.2.4": "sha224",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}


def algorithm(identifier: bytes) -> tuple[str, str | None]:
    """(name, hash) of a DER AlgorithmIdentifier; the OID itself when it is not known."""
    nodes = der.sequence(identifier)
    oid = der.object_identifier(identifier[nodes[0][2] : nodes[0][3]])
    name, digest = ALGORITHMS.get(oid, (oid, None))
    if name == "RSASSA-PSS":
        digest = _pss(identifier)[0]
    return name, digest


def _pss(identifier: bytes) -> tuple[str, int]:
    """The hash and the salt length of RSASSA-PSS-params (RFC 4055 section 3.1)."""
    digest, salt = "sha1", 20
    nodes = der.sequence(identifier)
    if len(nodes) < 2:
        return digest, salt
    for tag, _, start, stop in der.children(identifier, nodes[1][2], nodes[1][3]):
        if tag == 0xA0:
            inner = der.sequence(identifier[start:stop])
            oid = identifier[start:stop][inner[0][2] : inner[0][3]]
            digest = _HASHES.get(der.object_identifier(oid), "unknown")
        elif tag == 0xA2:
            salt = der.integer(identifier, der.node_at(identifier, start, stop))
    return digest, salt


@functools.lru_cache(maxsize=4096)
def _public_key(key: bytes) -> Any:
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    if len(key) > MAX_KEY_OCTETS:
        raise ValueError("the key is too long to load")
    return load_der_public_key(key)


def _hash(name: str | None) -> Any:
    from cryptography.hazmat.primitives import hashes

    return getattr(hashes, (name or "sha256").upper())()


@functools.lru_cache(maxsize=32_768)
def signed_by(certificate: bytes, key: bytes) -> bool:
    """Whether the DER certificate's signature verifies with the DER SubjectPublicKeyInfo.

    False too for what cannot be computed: unknown algorithms, broken keys, RSA keys above
    `MAX_RSA_BITS`.
    """
    try:
        tbs, identifier, signature = der.sequence(certificate)
        name, digest = algorithm(certificate[identifier[1] : identifier[3]])
        signed, value = certificate[tbs[1] : tbs[3]], certificate[signature[2] + 1 : signature[3]]
        public = _public_key(key)
        if not digest and not name.startswith("Ed"):
            return False
        _verify(public, value, signed, name, digest, certificate[identifier[1] : identifier[3]])
    except Exception:  # noqa: BLE001 - any refusal of the library means: not verified
        return False
    return True


def _verify(
    public: Any, value: bytes, signed: bytes, name: str, digest: str | None, identifier: bytes
) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, padding

    if getattr(public, "key_size", 0) > MAX_RSA_BITS:
        raise ValueError("the key is too long to compute with")
    if name.startswith("Ed"):
        public.verify(value, signed)
    elif name == "RSASSA-PSS":
        pss = padding.PSS(padding.MGF1(_hash(digest)), _pss(identifier)[1])
        public.verify(value, signed, pss, _hash(digest))
    elif "RSA" in name:
        public.verify(value, signed, padding.PKCS1v15(), _hash(digest))
    elif name.startswith("ecdsa"):
        public.verify(value, signed, ec.ECDSA(_hash(digest)))
    else:
        public.verify(value, signed, _hash(digest))
