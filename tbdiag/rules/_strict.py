"""What OpenSSL's X509_STRICT objects to in one certificate (Python 3.13's default contexts)."""

from __future__ import annotations

from tbdiag.evidence import Certificate
from tbdiag.protocol.x509_extensions import (
    AUTHORITY_KEY_IDENTIFIER,
    BASIC_CONSTRAINTS,
    SUBJECT_ALT_NAME,
    SUBJECT_KEY_IDENTIFIER,
)


def strict_violations(certificate: Certificate, *, last: bool = False) -> tuple[str, ...]:
    """Each violation of RFC 5280's profile as a clause; `last`: it is the last of its path.

    These are the checks of OpenSSL 3's check_extensions under X509_V_FLAG_X509_STRICT; it makes
    them only for paths of more than one certificate.
    """
    found = [*_basic(certificate), *_names(certificate), *_identifiers(certificate, last=last)]
    return tuple(found)


def _basic(c: Certificate) -> list[str]:
    found = []
    signs = c.key_usage is not None and "keyCertSign" in c.key_usage
    if c.path_length is not None and not c.is_ca:
        found.append("it has a path length although it is not a CA")
    if c.path_length is not None and c.key_usage is not None and not signs:
        found.append("it has a path length but its keyUsage lacks keyCertSign")
    if c.is_ca and BASIC_CONSTRAINTS not in c.critical:
        found.append("its basicConstraints are not critical")
    if c.is_ca and c.key_usage is None:
        found.append("it is a CA without keyUsage")
    if signs and not c.is_ca:
        found.append("its keyUsage has keyCertSign although it is not a CA")
    return found


def _names(c: Certificate) -> list[str]:
    found = []
    if not c.issuer:
        found.append("its issuer name is empty")
    if not c.subject and (c.is_ca or c.subject_alt_name is None):
        found.append("its subject name is empty")
    if not c.subject and c.subject_alt_name and SUBJECT_ALT_NAME not in c.critical:
        found.append("its subject is empty and its subjectAltName is not critical")
    if c.subject_alt_name == ():
        found.append("its subjectAltName is empty")
    return found


def _identifiers(c: Certificate, *, last: bool) -> list[str]:
    found = []
    if AUTHORITY_KEY_IDENTIFIER in c.critical:
        found.append("its authorityKeyIdentifier is critical")
    if SUBJECT_KEY_IDENTIFIER in c.critical:
        found.append("its subjectKeyIdentifier is critical")
    if c.version < 3:
        return found
    if not last and not c.self_signed and c.authority_key_identifier is None:
        found.append("it has no authorityKeyIdentifier")
    if c.is_ca and c.subject_key_identifier is None:
        found.append("it is a CA without subjectKeyIdentifier")
    return found
