"""keyUsage and extendedKeyUsage (RFC 5280 sections 4.2.1.3 and 4.2.1.12)."""

from __future__ import annotations

from cryptography import x509

from tests.conformance.issuing import leaf, middle, raw, root
from tests.conformance.registry import Given, case, given

NETSCAPE_TYPE = "2.16.840.1.113730.1.1"
SERVER_GATED = "1.3.6.1.4.1.311.10.3.3"
PRIVATE = "1.3.6.1.4.1.99999.7"


def purposes(*oids: str, critical: bool = False) -> tuple[x509.ExtensionType, bool]:
    return x509.ExtendedKeyUsage([x509.ObjectIdentifier(oid) for oid in oids]), critical


@case(openssl=79, webpki=False, primary="x509.issuer-not-a-ca")
def root_without_key_cert_sign() -> Given:
    """A root whose keyUsage lacks keyCertSign cannot issue."""
    top = root(key_usage=("crl_sign",))
    return given(leaf(top), top)


@case(openssl=79, webpki=False, primary="x509.issuer-not-a-ca")
def intermediate_without_key_cert_sign() -> Given:
    """An intermediate whose keyUsage lacks keyCertSign cannot issue."""
    top, below = middle(key_usage=("digital_signature", "crl_sign"))
    return given(leaf(below), top)


@case(openssl=0, webpki=True, profile=False, why="the profile wants keyUsage in a CA")
def ca_without_key_usage() -> Given:
    """A CA without keyUsage may do everything; only strict readers object."""
    top = root(key_usage=None)
    return given(leaf(top), top)


@case(openssl=0, webpki=True)
def leaf_without_key_usage() -> Given:
    """A server certificate without keyUsage may do everything."""
    top = root()
    return given(leaf(top, key_usage=None), top)


@case(openssl=0, webpki=True)
def leaf_for_key_agreement() -> Given:
    """keyAgreement is a TLS server's usage (static ECDH)."""
    top = root()
    return given(leaf(top, key_usage=("key_agreement",)), top)


@case(openssl=0, webpki=True)
def leaf_for_key_encipherment() -> Given:
    """keyEncipherment is a TLS server's usage (RSA key transport)."""
    top = root()
    return given(leaf(top, key_usage=("key_encipherment",)), top)


@case(openssl=26, webpki=True, primary="x509.not-server-auth")
def leaf_for_signing_lists() -> Given:
    """A server certificate that may only sign CRLs is for no TLS server."""
    top = root()
    return given(leaf(top, key_usage=("crl_sign",)), top)


@case(openssl=26, webpki=True, primary="x509.not-server-auth")
def leaf_for_content_commitment() -> Given:
    """contentCommitment alone is no usage of a TLS server."""
    top = root()
    return given(leaf(top, key_usage=("content_commitment",)), top)


@case(
    openssl=0,
    webpki=True,
    profile=False,
    why="the profile wants no keyCertSign in a server certificate",
)
def leaf_for_signing_certificates() -> Given:
    """keyCertSign besides digitalSignature in a certificate that is no CA contradicts itself."""
    top = root()
    return given(leaf(top, key_usage=("digital_signature", "key_cert_sign")), top)


@case(openssl=20, webpki=True, primary="x509.malformed-certificate")
def leaf_for_nothing() -> Given:
    """A keyUsage without any bit allows nothing."""
    top = root()
    empty = raw("2.5.29.15", bytes.fromhex("030100"), critical=True)
    return given(leaf(top, key_usage=None, extensions=[empty]), top)


@case(openssl=26, webpki=False, primary="x509.not-server-auth")
def leaf_for_clients() -> Given:
    """A client certificate on a server is refused."""
    top, below = middle()
    return given(leaf(below, extended_key_usage=("clientAuth",)), top)


@case(openssl=0, webpki=True)
def leaf_for_servers_and_clients() -> Given:
    """serverAuth beside clientAuth is enough."""
    top = root()
    return given(leaf(top, extended_key_usage=("clientAuth", "serverAuth")), top)


@case(
    openssl=26,
    webpki=True,
    primary="x509.not-server-auth",
    profile=False,
    why="the profile wants serverAuth itself",
)
def leaf_for_any_purpose() -> Given:
    """anyExtendedKeyUsage alone is no serverAuth for OpenSSL; the Web PKI's verifier takes it."""
    top = root()
    return given(leaf(top, extended_key_usage=("anyExtendedKeyUsage",)), top)


@case(openssl=0, webpki=True)
def leaf_without_purpose() -> Given:
    """A certificate without extendedKeyUsage is for every purpose."""
    top = root()
    return given(leaf(top, extended_key_usage=None), top)


@case(openssl=26, webpki=False, primary="x509.not-server-auth")
def leaf_for_a_private_purpose() -> Given:
    """A purpose that nobody knows is not serverAuth."""
    top = root()
    return given(leaf(top, extended_key_usage=None, extensions=[purposes(PRIVATE)]), top)


@case(openssl=0, webpki=False)
def leaf_for_server_gated_crypto() -> Given:
    """Microsoft's Server Gated Crypto counts as serverAuth for OpenSSL, a relic of 1999."""
    top = root()
    return given(leaf(top, extended_key_usage=None, extensions=[purposes(SERVER_GATED)]), top)


@case(openssl=0, webpki=True, profile=False, why="the profile wants extendedKeyUsage not critical")
def leaf_with_critical_purpose() -> Given:
    """extendedKeyUsage may be critical."""
    top = root()
    wanted = purposes("1.3.6.1.5.5.7.3.1", critical=True)
    return given(leaf(top, extended_key_usage=None, extensions=[wanted]), top)


@case(openssl=0, webpki=True)
def intermediate_for_servers() -> Given:
    """An intermediate limited to serverAuth may stand above a server."""
    top, below = middle(extended_key_usage=("serverAuth",))
    return given(leaf(below), top)


@case(openssl=26, webpki=False, primary="x509.not-server-auth")
def intermediate_for_clients() -> Given:
    """An intermediate limited to clientAuth may not."""
    top, below = middle(extended_key_usage=("clientAuth",))
    return given(leaf(below), top)


@case(openssl=26, webpki=True, primary="x509.not-server-auth")
def intermediate_for_any_purpose() -> Given:
    """anyExtendedKeyUsage in an intermediate."""
    top, below = middle(extended_key_usage=("anyExtendedKeyUsage",))
    return given(leaf(below), top)


@case(openssl=26, webpki=False, primary="x509.not-server-auth")
def root_for_clients() -> Given:
    """A root limited to clientAuth."""
    top = root(extended_key_usage=("clientAuth",))
    return given(leaf(top.intermediate()), top)


@case(openssl=26, webpki=True, primary="x509.not-server-auth")
def netscape_type_client() -> Given:
    """Netscape's certificate type, where present, must name the SSL server."""
    top = root()
    client = raw(NETSCAPE_TYPE, bytes.fromhex("03020780"))
    return given(leaf(top, extensions=[client]), top)


@case(openssl=0, webpki=True)
def netscape_type_server() -> Given:
    """Netscape's certificate type for an SSL server is accepted."""
    top = root()
    server = raw(NETSCAPE_TYPE, bytes.fromhex("03020640"))
    return given(leaf(top, extensions=[server]), top)
