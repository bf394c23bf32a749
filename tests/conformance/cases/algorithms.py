"""Keys and signatures: what is too weak, what is new, what does not fit."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tbdiag.sandbox.der import content, encode_tlv, split_tlvs
from tests.conformance.issuing import (
    SHA256_RSA,
    SIGNATURE,
    leaf,
    middle,
    root,
    rsa_key,
    with_part,
)
from tests.conformance.registry import Given, case, given, presenting

SHA384_EC = bytes.fromhex("300a06082a8648ce3d040303")


@case(openssl=0, webpki=True)
def rsa_2048() -> Given:
    """RSA with 2048 bits and SHA-256 on every level."""
    top = root(key=rsa_key(2048))
    return given(leaf(top, key=rsa_key(2048)), top)


@case(openssl=66, webpki=True, primary="x509.weak-key")
def rsa_1024_leaf() -> Given:
    """An RSA key of 1024 bits is too weak at security level 2."""
    top = root()
    return given(leaf(top, key=rsa_key(1024)), top)


@case(openssl=67, webpki=False, primary="x509.weak-key")
def rsa_1024_intermediate() -> Given:
    """The same in an intermediate."""
    top, below = middle(key=rsa_key(1024))
    return given(leaf(below), top)


@case(openssl=67, webpki=False, primary="x509.weak-key")
def rsa_1024_root() -> Given:
    """The same in the trust anchor."""
    top = root(key=rsa_key(1024))
    return given(leaf(top), top)


@case(openssl=0, webpki=True)
def rsa_2047_leaf() -> Given:
    """One bit below 2048 is too weak."""
    top = root()
    return given(leaf(top, key=rsa_key(2047)), top)


@case(openssl=0, webpki=True)
def rsa_with_a_small_exponent() -> Given:
    """The public exponent 3 is legal."""
    top = root()
    return given(leaf(top, key=rsa.generate_private_key(3, 2048)), top)


@case(openssl=68, webpki=False, primary="x509.weak-signature")
def sha1_leaf() -> Given:
    """A server certificate signed with SHA-1 is refused."""
    top = root(key=rsa_key(2048))
    return given(leaf(top, signature_hash="sha1"), top)


@case(openssl=68, webpki=False, primary="x509.weak-signature")
def sha1_intermediate() -> Given:
    """An intermediate signed with SHA-1 is refused."""
    top = root(key=rsa_key(2048))
    return given(leaf(top.intermediate(signature_hash="sha1")), top)


@case(openssl=0, webpki=True)
def sha1_root() -> Given:
    """The signature of a root proves nothing, so its hash does not matter."""
    top = root(key=rsa_key(2048), signature_hash="sha1")
    return given(leaf(top), top)


@case(openssl=68, webpki=False, primary="x509.weak-signature")
def sha1_ecdsa_leaf() -> Given:
    """SHA-1 with ECDSA is refused as well."""
    top = root()
    return given(leaf(top, signature_hash="sha1"), top)


@case(openssl=68, webpki=False, primary="x509.weak-signature")
def md5_leaf() -> Given:
    """A server certificate signed with MD5 is refused."""
    top = root(key=rsa_key(2048))
    return given(leaf(top, signature_hash="md5"), top)


@case(openssl=68, webpki=False, primary="x509.weak-signature")
def md5_intermediate() -> Given:
    """An intermediate signed with MD5 is refused."""
    top = root(key=rsa_key(2048))
    return given(leaf(top.intermediate(signature_hash="md5")), top)


@case(openssl=0, webpki=True)
def md5_root() -> Given:
    """A root signed with MD5 is an anchor like any other."""
    top = root(key=rsa_key(2048), signature_hash="md5")
    return given(leaf(top), top)


@case(openssl=0, webpki=True)
def p384() -> Given:
    """P-384 with SHA-384 on every level."""
    top = root(key="ec384", signature_hash="sha384")
    return given(leaf(top, key="ec384", signature_hash="sha384"), top)


@case(openssl=0, webpki=True)
def p521_leaf() -> Given:
    """P-521 in the server certificate."""
    top = root()
    return given(leaf(top, key=ec.generate_private_key(ec.SECP521R1())), top)


@case(openssl=0, webpki=True)
def p224_leaf() -> Given:
    """P-224 is strong enough for security level 2, and known to few."""
    top = root()
    return given(leaf(top, key=ec.generate_private_key(ec.SECP224R1())), top)


@case(openssl=66, webpki=True, primary="x509.weak-key")
def p192_leaf() -> Given:
    """P-192 is below security level 2."""
    top = root()
    return given(leaf(top, key=ec.generate_private_key(ec.SECP192R1())), top)


@case(openssl=0, webpki=True)
def secp256k1_leaf() -> Given:
    """The curve of Bitcoin is strong enough for OpenSSL, and not in the Web PKI."""
    top = root()
    return given(leaf(top, key=ec.generate_private_key(ec.SECP256K1())), top)


@case(openssl=0, webpki=True)
def ed25519_leaf() -> Given:
    """Ed25519 in the server certificate."""
    top = root()
    return given(leaf(top, key="ed25519"), top)


@case(openssl=0, webpki=False)
def ed25519_on_every_level() -> Given:
    """Ed25519 keys and signatures on every level."""
    top = root(key="ed25519")
    return given(leaf(top.intermediate(key="ed25519"), key="ed25519"), top)


@case(openssl=0, webpki=True)
def rsa_below_ecdsa() -> Given:
    """Kinds of keys may be mixed along a path."""
    top = root(key="ec384")
    return given(leaf(top.intermediate(key=rsa_key(2048)), key="ed25519"), top)


@case(openssl=7, webpki=False, primary="x509.malformed-certificate")
def algorithms_that_differ() -> Given:
    """The signature algorithm inside the signed part is not the one outside."""
    top = root()
    issued = leaf(top)
    return presenting(with_part(issued.certificate, top.key, SIGNATURE, SHA384_EC)).against(top)


@case(openssl=20, webpki=False, primary="x509.bad-signature")
def algorithm_of_another_key() -> Given:
    """The certificate says RSA, and its issuer's key is an EC key."""
    top = root()
    inside = with_part(leaf(top).certificate, top.key, SIGNATURE, SHA256_RSA)
    return presenting(_relabelled(inside)).against(top)


def _relabelled(der: bytes) -> bytes:
    """The certificate with another algorithm outside of its signed part."""
    tbs, _, signature = (element for _, element in split_tlvs(content(der)))
    return encode_tlv(0x30, tbs + SHA256_RSA + signature)
