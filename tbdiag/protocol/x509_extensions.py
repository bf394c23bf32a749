"""The certificate extensions that path validation needs (RFC 5280 section 4.2).

Each extension is read on its own: one that does not parse becomes an oddity, not a failure.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tbdiag.protocol import der
from tbdiag.protocol.x509_names import general_name

BASIC_CONSTRAINTS = "2.5.29.19"
KEY_USAGE = "2.5.29.15"
EXTENDED_KEY_USAGE = "2.5.29.37"
SUBJECT_ALT_NAME = "2.5.29.17"
NAME_CONSTRAINTS = "2.5.29.30"
SUBJECT_KEY_IDENTIFIER = "2.5.29.14"
AUTHORITY_KEY_IDENTIFIER = "2.5.29.35"
AUTHORITY_INFORMATION_ACCESS = "1.3.6.1.5.5.7.1.1"
NETSCAPE_TYPE = "2.16.840.1.113730.1.1"

NAMES = {
    BASIC_CONSTRAINTS: "basicConstraints",
    KEY_USAGE: "keyUsage",
    EXTENDED_KEY_USAGE: "extendedKeyUsage",
    SUBJECT_ALT_NAME: "subjectAltName",
    NAME_CONSTRAINTS: "nameConstraints",
    SUBJECT_KEY_IDENTIFIER: "subjectKeyIdentifier",
    AUTHORITY_KEY_IDENTIFIER: "authorityKeyIdentifier",
    AUTHORITY_INFORMATION_ACCESS: "authorityInfoAccess",
}
_PROCESSED = frozenset(
    {
        BASIC_CONSTRAINTS,
        KEY_USAGE,
        EXTENDED_KEY_USAGE,
        SUBJECT_ALT_NAME,
        NAME_CONSTRAINTS,
        "2.5.29.31",  # cRLDistributionPoints
        "2.5.29.32",  # certificatePolicies
        "2.5.29.33",  # policyMappings
        "2.5.29.36",  # policyConstraints
        "2.5.29.54",  # inhibitAnyPolicy
        NETSCAPE_TYPE,
        "1.3.6.1.5.5.7.1.7",  # ipAddrBlocks
        "1.3.6.1.5.5.7.1.8",  # autonomousSysIds
        "1.3.6.1.5.5.7.1.14",  # proxyCertInfo
        "1.3.6.1.5.5.7.48.1.5",  # OCSP noCheck
    }
)
"""Extensions that OpenSSL (X509_supported_extension) takes when they are critical."""
_KEY_USAGES = (
    "digitalSignature",
    "contentCommitment",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "keyCertSign",
    "cRLSign",
    "encipherOnly",
    "decipherOnly",
)
_PURPOSES = {
    "1.3.6.1.5.5.7.3.1": "serverAuth",
    "1.3.6.1.5.5.7.3.2": "clientAuth",
    "1.3.6.1.5.5.7.3.3": "codeSigning",
    "1.3.6.1.5.5.7.3.4": "emailProtection",
    "1.3.6.1.5.5.7.3.8": "timeStamping",
    "1.3.6.1.5.5.7.3.9": "OCSPSigning",
    "2.5.29.37.0": "anyExtendedKeyUsage",
}
_CA_ISSUERS = "1.3.6.1.5.5.7.48.2"

Fields = dict[str, Any]
"""Keyword arguments of `evidence.Certificate`."""


def _basic_constraints(value: bytes) -> Fields:
    is_ca, path_length = False, None
    for node in der.sequence(value):
        if node[0] == der.BOOLEAN:
            is_ca = value[node[2]] != 0
        else:
            path_length = der.integer(value, node)
            if path_length < 0:
                raise der.DerError("a path length cannot be negative")
    return {"is_ca": is_ca, "path_length": path_length}


def _key_usage(value: bytes) -> Fields:
    _, _, start, stop = der.expect(value, 0, len(value), der.BIT_STRING)
    set_bits = der.bits(value[start:stop])
    return {"key_usage": tuple(_KEY_USAGES[bit] for bit in set_bits if bit < len(_KEY_USAGES))}


def _extended_key_usage(value: bytes) -> Fields:
    oids = [der.object_identifier(value[n[2] : n[3]]) for n in der.sequence(value)]
    return {"extended_key_usage": tuple(_PURPOSES.get(oid, oid) for oid in oids)}


def _subject_alt_name(value: bytes) -> Fields:
    return {"subject_alt_name": tuple(general_name(value, n) for n in der.sequence(value))}


def _subtrees(value: bytes, node: der.Node) -> tuple[str, ...]:
    bases = (der.node_at(value, n[2], n[3]) for n in der.children(value, node[2], node[3]))
    return tuple(general_name(value, base) for base in bases)


def _name_constraints(value: bytes) -> Fields:
    found = {node[0]: _subtrees(value, node) for node in der.sequence(value)}
    return {"name_constraints": (found.get(0xA0, ()), found.get(0xA1, ()))}


def _subject_key_identifier(value: bytes) -> Fields:
    _, _, start, stop = der.expect(value, 0, len(value), der.OCTET_STRING)
    return {"subject_key_identifier": value[start:stop].hex()}


def _authority_key_identifier(value: bytes) -> Fields:
    for tag, _, start, stop in der.sequence(value):
        if tag == 0x80:
            return {"authority_key_identifier": value[start:stop].hex()}
    return {}


def _authority_information_access(value: bytes) -> Fields:
    urls = []
    for _, _, start, stop in der.sequence(value):
        method, location = der.children(value, start, stop)
        is_issuers = der.object_identifier(value[method[2] : method[3]]) == _CA_ISSUERS
        if is_issuers and location[0] == 0x86:
            urls.append(value[location[2] : location[3]].decode("utf-8", "backslashreplace"))
    return {"ca_issuers": tuple(urls)}


_READERS: dict[str, Callable[[bytes], Fields]] = {
    BASIC_CONSTRAINTS: _basic_constraints,
    KEY_USAGE: _key_usage,
    EXTENDED_KEY_USAGE: _extended_key_usage,
    SUBJECT_ALT_NAME: _subject_alt_name,
    NAME_CONSTRAINTS: _name_constraints,
    SUBJECT_KEY_IDENTIFIER: _subject_key_identifier,
    AUTHORITY_KEY_IDENTIFIER: _authority_key_identifier,
    AUTHORITY_INFORMATION_ACCESS: _authority_information_access,
}


def read_extensions(data: bytes, start: int, end: int) -> tuple[Fields, list[str]]:
    """The fields that the extensions from `start` to `end` fill, and what is odd about them."""
    fields: Fields = {}
    oddities: list[str] = []
    seen: set[str] = set()
    critical: list[str] = []
    for _, _, first, stop in der.children(data, start, end):
        oid, is_critical, value = _extension(data, first, stop)
        if oid in seen:
            oddities.append(f"the extension {NAMES.get(oid, oid)} appears twice")
            continue
        seen.add(oid)
        if is_critical:
            critical.append(oid)
        reader = _READERS.get(oid)
        if reader:
            try:
                fields.update(reader(value))
            except (ValueError, IndexError):
                oddities.append(f"the extension {NAMES[oid]} cannot be parsed")
    fields["critical"] = tuple(critical)
    fields["unknown_critical"] = tuple(oid for oid in critical if oid not in _PROCESSED)
    return fields, oddities


def extension_value(data: bytes, wanted: str) -> bytes | None:
    """What the first extension of that OID holds in a DER certificate; None where there is none."""
    body = der.sequence(data)[0]
    for tag, _, start, stop in der.children(data, body[2], body[3]):
        if tag != 0xA3:
            continue
        inner = der.node_at(data, start, stop)
        for _, _, first, last in der.children(data, inner[2], inner[3]):
            oid, _, value = _extension(data, first, last)
            if oid == wanted:
                return value
    return None


def authority_certificate(data: bytes) -> tuple[bytes | None, int | None]:
    """authorityCertIssuer (a DER Name) and authorityCertSerialNumber of a DER certificate."""
    try:
        value = extension_value(data, AUTHORITY_KEY_IDENTIFIER)
        return (None, None) if value is None else _authority_certificate(value)
    except (ValueError, IndexError):
        return None, None


def _authority_certificate(value: bytes) -> tuple[bytes | None, int | None]:
    issuer, serial = None, None
    for tag, _, start, stop in der.sequence(value):
        if tag == 0xA1:
            names = der.children(value, start, stop)
            issuer = next((value[n[2] : n[3]] for n in names if n[0] == 0xA4), None)
        elif tag == 0x82:
            serial = int.from_bytes(value[start:stop], "big", signed=True)
    return issuer, serial


@functools.lru_cache(maxsize=256)
def netscape_types(data: bytes) -> tuple[int, ...] | None:
    """The bits of Netscape's certificate type (1 is SSL server); None where it is absent."""
    try:
        value = extension_value(data, NETSCAPE_TYPE)
        if value is None:
            return None
        _, _, start, stop = der.expect(value, 0, len(value), der.BIT_STRING)
        return der.bits(value[start:stop])
    except (ValueError, IndexError):
        return None


def _extension(data: bytes, start: int, end: int) -> tuple[str, bool, bytes]:
    oid, *rest = der.children(data, start, end)
    is_critical = bool(rest) and rest[0][0] == der.BOOLEAN and data[rest[0][2]] != 0
    if oid[0] != der.OBJECT_IDENTIFIER or not rest or rest[-1][0] != der.OCTET_STRING:
        raise der.DerError("an extension is malformed")
    return (
        der.object_identifier(data[oid[2] : oid[3]]),
        is_critical,
        data[rest[-1][2] : rest[-1][3]],
    )
