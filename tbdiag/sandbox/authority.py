"""A certificate authority whose defaults are valid, so that a fault is the one argument overridden.

    root = Authority.root()
    server = root.intermediate("R1").issue_server("localhost")
    expired = root.issue_server("localhost", not_after=yesterday)

Every function that makes a certificate takes the keywords of `Options`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypedDict, Unpack

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from tbdiag.fact import replace
from tbdiag.sandbox.der import PrivateKey, corrupt_signature, sign_again

LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1")
"""What a server certificate names unless told otherwise."""

LEAF_DAYS: Final = 90
CA_DAYS: Final = 3650

_UNKNOWN_EXTENSION = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\0")
_KEY_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
_PURPOSES = {
    "serverAuth": ExtendedKeyUsageOID.SERVER_AUTH,
    "clientAuth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "codeSigning": ExtendedKeyUsageOID.CODE_SIGNING,
    "anyExtendedKeyUsage": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
}


class Options(TypedDict, total=False):
    """What can be overridden in a certificate; anything left out is valid and usual.

    subject, issuer: a Common Name, an RFC 4514 string such as "CN=a,O=b", or an x509.Name.
    alt_names: DNS names and IP addresses of subject_alt_name; () leaves the extension out.
    now, not_before, not_after: aware datetimes; by default valid from the day before `now`.
    key: "ec", "ec384", "ed25519", "rsa" (2048), "rsa1024", "rsa4096", or a private key.
    is_ca: basicConstraints; None leaves the extension out. path_length: its pathLenConstraint.
    key_usage: names as "key_cert_sign"; extended_key_usage: names as "serverAuth"; None: left out.
    ski, aki: whether the key identifiers are present; bytes for aki write another identifier.
    permitted, excluded: DNS names or IP networks of name constraints.
    unknown_critical: add a critical extension that nobody knows.
    extensions: more (extension, critical) pairs.
    signature_hash: "sha256", "sha384", "sha1" or "md5". version: 3 or 1 (then no extensions).
    serial_number: any positive integer, random by default.
    """

    subject: str | x509.Name
    issuer: str | x509.Name
    alt_names: Sequence[str]
    now: datetime
    not_before: datetime
    not_after: datetime
    key: str | PrivateKey
    is_ca: bool | None
    basic_constraints_critical: bool
    path_length: int | None
    key_usage: Sequence[str] | None
    extended_key_usage: Sequence[str] | None
    ski: bool
    aki: bool | bytes
    permitted: Sequence[str]
    excluded: Sequence[str]
    unknown_critical: bool
    extensions: Sequence[tuple[x509.ExtensionType, bool]]
    signature_hash: str
    version: int
    serial_number: int


_CA: Options = {"is_ca": True, "key_usage": ("key_cert_sign", "crl_sign"), "ski": True, "aki": True}
_LEAF: Options = {"is_ca": False, "key_usage": ("digital_signature",), "ski": True, "aki": True}
_SERVER: Options = {**_LEAF, "extended_key_usage": ("serverAuth",)}
_CLIENT: Options = {**_LEAF, "extended_key_usage": ("clientAuth",)}


def pem(*certificates: x509.Certificate) -> bytes:
    """Return certificates one after the other as PEM, as in a CA file."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def key_pem(key: PrivateKey) -> bytes:
    """Return an unencrypted PKCS#8 private key as PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass(frozen=True, slots=True)
class Issued:
    """An end-entity certificate with its key and `chain`, the certificates to present after it."""

    certificate: x509.Certificate
    key: PrivateKey
    chain: tuple[x509.Certificate, ...] = ()

    def pem(self) -> bytes:
        """The certificate alone, as PEM."""
        return pem(self.certificate)

    def chain_pem(self) -> bytes:
        """The certificate and its chain as PEM: what a server is configured with."""
        return pem(self.certificate, *self.chain)

    def key_pem(self) -> bytes:
        """The private key, unencrypted PKCS#8 PEM."""
        return key_pem(self.key)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, in hex."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def presenting(self, *chain: x509.Certificate) -> Issued:
        """The same with another chain: none, wrong order, a root too, strangers."""
        return replace(self, chain=chain)

    def with_bad_signature(self) -> Issued:
        """The same with a signature that does not verify."""
        return replace(self, certificate=corrupt_signature(self.certificate))


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA certificate with its key.

    `path` runs from this certificate up to its root; `now` is the moment its certificates are
    dated by.
    """

    certificate: x509.Certificate
    key: PrivateKey
    path: tuple[x509.Certificate, ...]
    now: datetime

    @classmethod
    def root(cls, name: str | x509.Name = "tbdiag Root", **options: Unpack[Options]) -> Authority:
        """Return a self-signed CA, valid for ten years."""
        merged: Options = {"subject": name, **_CA, **options}
        certificate, key = build(None, merged, CA_DAYS)
        return cls(certificate, key, (certificate,), merged.get("now") or datetime.now(UTC))

    def intermediate(
        self, name: str | x509.Name = "tbdiag Intermediate", **options: Unpack[Options]
    ) -> Authority:
        """Return a CA signed by this one, valid for ten years."""
        merged: Options = {"now": self.now, "subject": name, **_CA, **options}
        certificate, key = build(self, merged, CA_DAYS)
        return Authority(certificate, key, (certificate, *self.path), merged["now"])

    def cross_sign(self, other: Authority, **options: Unpack[Options]) -> Authority:
        """Return `other` with the same subject and key, but signed by this CA."""
        merged: Options = {"key": other.key, **options}
        return self.intermediate(other.certificate.subject, **merged)

    def twin(self, **options: Unpack[Options]) -> Authority:
        """Return a root of the same name with another key (or, with `key`, another validity)."""
        merged: Options = {"now": self.now, **options}
        return Authority.root(self.certificate.subject, **merged)

    def with_bad_signature(self) -> Authority:
        """The same CA with a signature that does not verify."""
        certificate = corrupt_signature(self.certificate)
        return replace(self, certificate=certificate, path=(certificate, *self.path[1:]))

    def issue_server(self, *names: str, **options: Unpack[Options]) -> Issued:
        """Issue a server certificate for `names` (loopback by default), valid for 90 days.

        The first name is also the Common Name; `alt_names=()` leaves subject_alt_name out.
        """
        names = names or LOOPBACK_NAMES
        defaults: Options = {"subject": f"CN={names[0]}", "alt_names": names, **_SERVER}
        return self.issue({**defaults, **options})

    def issue_client(self, name: str = "device", **options: Unpack[Options]) -> Issued:
        """Issue a client certificate with the Common Name `name`, valid for 90 days."""
        return self.issue({"subject": name, **_CLIENT, **options})

    def issue(self, options: Options) -> Issued:
        """Issue an end-entity certificate from `options` alone; nothing but dates is filled in."""
        certificate, key = build(self, {"now": self.now, **options}, LEAF_DAYS)
        return Issued(certificate, key, self.path[:-1])

    def pem(self) -> bytes:
        """The CA certificate, as PEM."""
        return pem(self.certificate)

    def key_pem(self) -> bytes:
        """The private key, unencrypted PKCS#8 PEM."""
        return key_pem(self.key)


def self_signed(*names: str, **options: Unpack[Options]) -> Issued:
    """Return a self-signed server certificate for `names` (loopback by default).

    Like the recipe in ThingsBoard's documentation it says CA:TRUE; `alt_names=()` completes it.
    """
    names = names or LOOPBACK_NAMES
    defaults: Options = {
        "subject": f"CN={names[0]}",
        "alt_names": names,
        "is_ca": True,
        "ski": True,
    }
    certificate, key = build(None, {**defaults, **options}, LEAF_DAYS)
    return Issued(certificate, key)


def build(
    issuer: Authority | None, options: Options, days: int
) -> tuple[x509.Certificate, PrivateKey]:
    """Build and sign one certificate; without an issuer it signs itself. `days` is its life.

    Returns the certificate and its own private key.
    """
    key = make_key(options.get("key", "ec"))
    signer = issuer.key if issuer else key
    subject = make_name(options["subject"])
    issuer_name = options.get("issuer") or (issuer.certificate.subject if issuer else subject)
    now = options.get("now") or datetime.now(UTC)
    builder = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=make_name(issuer_name))
        .public_key(key.public_key())
        .serial_number(options.get("serial_number") or x509.random_serial_number())
        .not_valid_before(options.get("not_before") or _start(now, options.get("not_after")))
        .not_valid_after(options.get("not_after") or now + timedelta(days=days))
    )
    for extension, critical in _extensions(options, key, signer, issuer):
        builder = builder.add_extension(extension, critical)
    return _sign(builder, signer, options), key


def _start(now: datetime, end: datetime | None) -> datetime:
    """The day before `now`, or, for a certificate that ended before, 90 days before its end."""
    start = now - timedelta(days=1)
    return start if end is None or end > start else end - timedelta(days=LEAF_DAYS)


def _sign(builder: x509.CertificateBuilder, key: PrivateKey, options: Options) -> x509.Certificate:
    name, version = options.get("signature_hash", "sha256"), options.get("version", 3)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return builder.sign(key, None)
    if name in ("sha1", "md5") or version == 1:
        return sign_again(builder.sign(key, hashes.SHA256()), key, name, version)
    return builder.sign(key, hashes.SHA384() if name == "sha384" else hashes.SHA256())


def make_key(kind: str | PrivateKey) -> PrivateKey:
    """Return a new private key of the kind named in `Options`, or the key given."""
    if not isinstance(kind, str):
        return kind
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[3:] or 2048))
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key({"ec": ec.SECP256R1(), "ec384": ec.SECP384R1()}[kind])


def make_name(name: str | x509.Name) -> x509.Name:
    """Return an x509.Name from a Common Name or an RFC 4514 string."""
    if isinstance(name, x509.Name):
        return name
    if "=" in name:
        return x509.Name.from_rfc4514_string(name)
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        if "/" in name:
            return x509.IPAddress(ipaddress.ip_network(name))
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _extensions(
    options: Options, key: PrivateKey, signer: PrivateKey, issuer: Authority | None
) -> list[tuple[x509.ExtensionType, bool]]:
    found: list[tuple[x509.ExtensionType, bool]] = []
    if (is_ca := options.get("is_ca")) is not None:
        constraints = x509.BasicConstraints(is_ca, options.get("path_length"))
        found.append((constraints, options.get("basic_constraints_critical", is_ca)))
    if (usages := options.get("key_usage")) is not None:
        found.append((x509.KeyUsage(**{u: u in usages for u in _KEY_USAGES}), True))
    if purposes := options.get("extended_key_usage"):
        found.append((x509.ExtendedKeyUsage([_PURPOSES[p] for p in purposes]), False))
    if names := options.get("alt_names"):
        found.append((x509.SubjectAlternativeName(map(_general_name, names)), False))
    if options.get("ski"):
        found.append((x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False))
    if aki := options.get("aki"):
        found.append((_authority_key_identifier(aki, signer), False))
    if options.get("permitted") or options.get("excluded"):
        found.append((_name_constraints(options), True))
    if options.get("unknown_critical"):
        found.append((_UNKNOWN_EXTENSION, True))
    return [*found, *options.get("extensions", ())]


def _authority_key_identifier(aki: bool | bytes, key: PrivateKey) -> x509.AuthorityKeyIdentifier:
    if isinstance(aki, bytes):
        return x509.AuthorityKeyIdentifier(aki, None, None)
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _name_constraints(options: Options) -> x509.NameConstraints:
    permitted = [_general_name(name) for name in options.get("permitted", ())]
    excluded = [_general_name(name) for name in options.get("excluded", ())]
    return x509.NameConstraints(permitted or None, excluded or None)
