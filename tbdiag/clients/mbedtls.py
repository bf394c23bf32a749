"""mbedTLS with its defaults: ESP32 (ESP-IDF, Arduino), Zephyr.

python-mbedtls parses the certificates and verifies the signatures. It has no call that validates a
path at a given time, so the walk is written here after mbedtls_x509_crt_verify (x509_crt.c of 2.28
and 3.x) and tested against real handshakes. What is different from OpenSSL:

- any certificate in the CA file is an anchor if it may issue; it need not be self-signed;
- an end-entity certificate in the CA file is trusted only if it is self-issued;
- an expired anchor is refused as well, and every fault is reported, not the first one;
- issuers are looked for after their child in the presented list, never before it;
- the default profile refuses SHA-1 and MD5 (anchors excepted) and RSA below 2048 bits;
- the name is compared with dNSName, else with the common name where there is no subjectAltName.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from tbdiag.clients._anchors import relevant
from tbdiag.evidence import Certificate, ClientDecision
from tbdiag.fact import Fact, Record, field
from tbdiag.protocol.x509 import names_match
from tbdiag.protocol.x509_identity import ip_literal
from tbdiag.protocol.x509_names import common_names

INSTALL = "python-mbedtls is not installed: pip install 'tbdiag[mbedtls]'"
MAX_INTERMEDIATE_CA = 8
MAX_TRIED = 100
"""Signatures that are verified for one verdict (about 2 ms each); mbedTLS itself has no limit."""
TOO_MANY = f"not decided: more than {MAX_TRIED} certificates have an issuer's name"
MIN_RSA_BITS = 2048
HASHES = ("sha224", "sha256", "sha384", "sha512")
UNKNOWN_SIGNATURE_ALGORITHM = "0x262E"

FLAGS = {
    "X509_BADCERT_EXPIRED": "The certificate validity has expired",
    "X509_BADCERT_CN_MISMATCH": "The certificate Common Name (CN) does not match with the "
    "expected CN",
    "X509_BADCERT_NOT_TRUSTED": "The certificate is not correctly signed by the trusted CA",
    "X509_BADCERT_FUTURE": "The certificate validity starts in the future",
    "X509_BADCERT_KEY_USAGE": "Usage does not match the keyUsage extension",
    "X509_BADCERT_EXT_KEY_USAGE": "Usage does not match the extendedKeyUsage extension",
    "X509_BADCERT_BAD_MD": "The certificate is signed with an unacceptable hash",
    "X509_BADCERT_BAD_KEY": "The certificate is signed with an unacceptable key (eg bad curve, "
    "RSA too short)",
}
"""mbedtls_x509_crt_verify_info: the flags of a refusal and their texts, in bit order."""


def decide(
    presented: tuple[Certificate, ...],
    anchors: tuple[Certificate, ...],
    server_name: str,
    at: datetime,
) -> ClientDecision:
    """The verdict of an mbedTLS client; `unknown` when python-mbedtls is not installed."""
    try:
        import mbedtls.version
        import mbedtls.x509
    except ImportError:
        return ClientDecision("mbedtls", "unknown", INSTALL)
    readable = _readable_presented(presented)
    if isinstance(readable, str):
        return ClientDecision("mbedtls", "reject", readable, "X509_INVALID_FORMAT")
    trusted = [c for c in relevant(presented, anchors) if isinstance(_load(c), _Loaded)]
    with_addresses = mbedtls.version.version_info >= (3, 5)
    walk = _Walk(tuple(trusted), readable, at)
    try:
        flags = walk.flags() | _leaf_flags(readable[0])
    except _TooManyTried:
        return ClientDecision("mbedtls", "unknown", TOO_MANY)
    if not name_matches(server_name, readable[0], with_addresses):
        flags.add("X509_BADCERT_CN_MISMATCH")
    if not flags:
        return ClientDecision("mbedtls", "accept", "ok", None, tuple(walk.path))
    names = [name for name in FLAGS if name in flags]
    reason = ", ".join(FLAGS[name] for name in names)
    return ClientDecision("mbedtls", "reject", reason, "|".join(names))


class _Loaded(Fact, frozen=True):
    """A certificate that mbedTLS could parse."""

    crt: Any


def _load(certificate: Certificate) -> _Loaded | str:
    """mbedTLS's own parse, or its error: `[0x2562] 'X509 - The extension tag …'`."""
    return _load_der(certificate.der)


@functools.lru_cache(maxsize=256)
def _load_der(der: bytes) -> _Loaded | str:
    from mbedtls.exceptions import TLSError
    from mbedtls.x509 import CRT

    try:
        return _Loaded(CRT.from_DER(der))
    except (TLSError, ValueError, TypeError) as error:
        return str(error)


def _readable_presented(presented: tuple[Certificate, ...]) -> tuple[Certificate, ...] | str:
    """The presented certificates as ssl_parse_certificate_chain takes them, or why it refuses.

    One whose signature algorithm it does not know is skipped; any other fault ends the handshake.
    """
    readable = []
    for certificate in presented:
        loaded = _load(certificate)
        if isinstance(loaded, _Loaded):
            readable.append(certificate)
        elif UNKNOWN_SIGNATURE_ALGORITHM not in loaded:
            text = re.search(r"'(.*)'", loaded)
            return text.group(1) if text else loaded
    return tuple(readable) or "SSL - No certificate that mbedTLS can read"


class _TooManyTried(Exception):
    """The file is made to be slow: too many certificates might be the issuer."""


class _Walk(Record):
    """x509_crt_verify_chain: from the end-entity certificate up, collecting flags on the way."""

    trusted: tuple[Certificate, ...]
    presented: tuple[Certificate, ...]
    at: datetime
    path: list[Certificate] = field(default_factory=list)
    tried: int = 0

    def flags(self) -> set[str]:
        """The flags of every certificate on the path; the path itself is left in `path`."""
        child, position, anchored = self.presented[0], 0, False
        self_issued, flags = 0, set[str]()
        while True:
            self.path.append(child)
            flags |= self._date_flags(child)
            if anchored:
                return flags
            if child.signature_hash not in HASHES:
                flags.add("X509_BADCERT_BAD_MD")
            if len(self.path) == 1 and child.self_issued and child in self.trusted:
                return flags
            parent, anchored, good, position = self._parent(child, position, self_issued)
            if parent is None:
                return flags | {"X509_BADCERT_NOT_TRUSTED"}
            if len(self.path) != 1 and child.self_issued:
                self_issued += 1
            if not anchored and len(self.path) > MAX_INTERMEDIATE_CA:
                return flags | {"X509_BADCERT_NOT_TRUSTED"}
            if not good:
                flags.add("X509_BADCERT_NOT_TRUSTED")
            flags |= _key_flags(parent)
            child = parent

    def _parent(
        self, child: Certificate, position: int, self_issued: int
    ) -> tuple[Certificate | None, bool, bool, int]:
        """x509_crt_find_parent: (issuer, whether it is an anchor, signature good, its position)."""
        allowed = len(self.path) - 1 - self_issued
        parent, _ = self._parent_in(child, self.trusted, allowed, top=True)
        if parent is not None:
            return parent, True, True, position
        after = self.presented[position + 1 :]
        parent, good = self._parent_in(child, after, allowed, top=False)
        if parent is not None:
            position += 1 + after.index(parent)
        return parent, False, good, position

    def _parent_in(
        self, child: Certificate, pool: Iterable[Certificate], depth: int, *, top: bool
    ) -> tuple[Certificate | None, bool]:
        """x509_crt_find_parent_in: prefer an issuer that is valid now; else the first one."""
        fallback: tuple[Certificate | None, bool] = (None, False)
        for parent in pool:
            if not _may_issue(child, parent, top=top):
                continue
            if parent.path_length is not None and parent.path_length < depth:
                continue
            self.tried += 1
            if self.tried > MAX_TRIED:
                raise _TooManyTried
            good = _signed(child, parent)
            if top and not good:
                continue
            if not self._date_flags(parent):
                return parent, good
            if fallback[0] is None:
                fallback = parent, good
        return fallback

    def _date_flags(self, certificate: Certificate) -> set[str]:
        flags = set()
        if certificate.expired(self.at):
            flags.add("X509_BADCERT_EXPIRED")
        if certificate.not_yet_valid(self.at):
            flags.add("X509_BADCERT_FUTURE")
        return flags


def _may_issue(child: Certificate, parent: Certificate, *, top: bool) -> bool:
    """x509_crt_check_parent: name, cA (not asked of v1 anchors) and keyCertSign."""
    if not names_match(child, parent):
        return False
    if top and parent.version < 3:
        return True
    usage = parent.key_usage
    return bool(parent.is_ca) and (usage is None or "keyCertSign" in usage)


def _signed(child: Certificate, parent: Certificate) -> bool:
    """Whether mbedTLS verifies child's signature with parent's key."""
    one, other = _load(child), _load(parent)
    if not isinstance(one, _Loaded) or not isinstance(other, _Loaded):
        return False
    try:
        return bool(other.crt.verify(one.crt))
    except Exception:  # noqa: BLE001 - the binding raises for keys and signatures that do not fit
        return False


def _key_flags(certificate: Certificate) -> set[str]:
    key = certificate.key
    weak = key.algorithm == "RSA" and (key.bits or 0) < MIN_RSA_BITS
    return {"X509_BADCERT_BAD_KEY"} if weak else set()


def _leaf_flags(leaf: Certificate) -> set[str]:
    """The key's size, and mbedtls_ssl_check_cert_usage for an ECDHE cipher suite."""
    flags = _key_flags(leaf)
    if leaf.key_usage is not None and "digitalSignature" not in leaf.key_usage:
        flags.add("X509_BADCERT_KEY_USAGE")
    purposes = leaf.extended_key_usage
    if purposes is not None and not {"serverAuth", "anyExtendedKeyUsage"} & set(purposes):
        flags.add("X509_BADCERT_EXT_KEY_USAGE")
    return flags


def name_matches(server_name: str, leaf: Certificate, with_addresses: bool) -> bool:
    """x509_crt_verify_name; `with_addresses` as mbedTLS 3.5 and newer compare iPAddress."""
    names: Sequence[str]
    if leaf.subject_alt_name is None:
        names = common_names(leaf.subject_der)
    else:
        names = [entry[4:] for entry in leaf.subject_alt_name if entry.startswith("DNS:")]
        address = ip_literal(server_name)
        if with_addresses and address is not None:
            return f"IP:{address}" in leaf.subject_alt_name
    return any(_covers(name.lower(), server_name.lower()) for name in names)


def _covers(pattern: str, name: str) -> bool:
    """x509_crt_check_cn: equal, or `*.` and everything from the name's first dot on."""
    if pattern == name:
        return True
    dot = name.find(".")
    return len(pattern) >= 3 and pattern.startswith("*.") and dot > 0 and name[dot:] == pattern[1:]
