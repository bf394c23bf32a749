"""The client certificate and private key of an X.509 device, read before anything is dialled."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tbdiag.fact import Fact

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from tbdiag.evidence import Certificate

MAX_FILE = 1 << 20
"""Bytes above which a certificate or key file is not read."""
MAX_CHAIN = 16
"""Certificates taken of a client certificate file."""

_KEY_BLOCK = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)


class UnusableIdentity(ValueError):
    """A client certificate or key that no TLS client can use.

    `outcome` is the one of HandshakeEvidence: `client-certificate-unreadable` or
    `client-key-mismatch`. The message names the file and says what is wrong with it.
    """

    def __init__(self, outcome: str, detail: str, chain: tuple[Certificate, ...] = ()) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.chain = chain


class Identity(Fact, frozen=True):
    """What a client proves itself with: its certificate, the issuers it sends along, the key."""

    certificates: tuple[x509.Certificate, ...]
    key: PrivateKeyTypes

    @property
    def chain(self) -> tuple[Certificate, ...]:
        """The certificates as facts, the client's own first."""
        return _facts(self.certificates)


def load_identity(certfile: str, keyfile: str | None) -> Identity:
    """Read a PEM certificate (with its issuers) and its PEM key, and see that they belong together.

    Without `keyfile` the key is looked for in `certfile`. Raises UnusableIdentity.
    """
    certificates = _load_certificates(certfile)
    key = _load_key(keyfile or certfile)
    if certificates[0].public_key() != key.public_key():
        raise UnusableIdentity(
            "client-key-mismatch",
            f"the private key in {keyfile or certfile} is not the key of the certificate in"
            f" {certfile} ({certificates[0].subject.rfc4514_string()})",
            _facts(certificates),
        )
    return Identity(certificates, key)


def _facts(certificates: tuple[x509.Certificate, ...]) -> tuple[Certificate, ...]:
    from cryptography.hazmat.primitives.serialization import Encoding

    from tbdiag.protocol.x509 import parse_certificate

    return tuple(parse_certificate(c.public_bytes(Encoding.DER)) for c in certificates)


def _read(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise _unreadable(f"{path}: {reason}") from None
    if len(data) > MAX_FILE:
        raise _unreadable(f"{path} is larger than {MAX_FILE:,} bytes")
    return data


def _unreadable(detail: str) -> UnusableIdentity:
    return UnusableIdentity("client-certificate-unreadable", detail)


def _load_certificates(path: str) -> tuple[x509.Certificate, ...]:
    from cryptography import x509

    data = _read(path)
    if b"-----BEGIN CERTIFICATE-----" not in data:
        held = "a private key but no certificate" if _KEY_BLOCK.search(data) else "no PEM"
        raise _unreadable(f"{path} holds {held}")
    try:
        certificates = tuple(x509.load_pem_x509_certificates(data)[:MAX_CHAIN])
        certificates[0].public_key()
    except Exception as error:  # noqa: BLE001 - also UnsupportedAlgorithm and the Rust parser's own
        raise _unreadable(f"the certificate in {path} cannot be parsed: {error}") from None
    return certificates


def _load_key(path: str) -> PrivateKeyTypes:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    block = _KEY_BLOCK.search(_read(path))
    if block is None:
        raise _unreadable(f"{path} holds no private key in PEM")
    try:
        return load_pem_private_key(block.group(), None)
    except TypeError:
        raise _unreadable(f"the private key in {path} is encrypted") from None
    except Exception as error:  # noqa: BLE001 - a damaged key raises whatever its parser raises
        raise _unreadable(
            f"the private key in {path} cannot be loaded: {type(error).__name__}"
        ) from None
