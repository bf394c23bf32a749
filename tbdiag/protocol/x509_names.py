"""Distinguished names and general names of certificates (RFC 5280 sections 4.1.2.4 and 4.2.1.6)."""

from __future__ import annotations

import functools
import ipaddress

from tbdiag.protocol import der

COMMON_NAME = "2.5.4.3"
_SHORT = {
    COMMON_NAME: "CN",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "emailAddress",
}
_BMP_STRING, _UNIVERSAL_STRING, _T61_STRING = 0x1E, 0x1C, 0x14

Rdn = tuple[tuple[str, str], ...]
"""One relative distinguished name: (attribute type, text) pairs."""


def text_of(tag: int, content: bytes) -> str:
    """The text of a DirectoryString; bytes that do not decode are shown as `\\xNN`."""
    if tag == _BMP_STRING:
        return content.decode("utf-16-be", "backslashreplace")
    if tag == _UNIVERSAL_STRING:
        return content.decode("utf-32-be", "backslashreplace")
    if tag == _T61_STRING:
        return content.decode("latin-1")
    return content.decode("utf-8", "backslashreplace")


@functools.lru_cache(maxsize=4096)
def rdns(name: bytes) -> tuple[Rdn, ...]:
    """The relative distinguished names of a DER Name, in encoded order."""
    return tuple(_rdn(name, start, stop) for _, _, start, stop in der.sequence(name))


def _rdn(name: bytes, start: int, end: int) -> Rdn:
    return tuple(_attribute(name, node[2], node[3]) for node in der.children(name, start, end))


def _attribute(name: bytes, start: int, end: int) -> tuple[str, str]:
    kind = der.expect(name, start, end, der.OBJECT_IDENTIFIER)
    tag, _, first, stop = der.node_at(name, kind[3], end)
    return der.object_identifier(name[kind[2] : kind[3]]), text_of(tag, name[first:stop])


def _escaped(value: str) -> str:
    """RFC 4514 section 2.4."""
    for special in '\\"+,;<>':
        if special in value:
            value = value.replace(special, "\\" + special)
    value = value.replace("\0", "\\00")
    if value.startswith((" ", "#")):
        value = "\\" + value
    if value.endswith(" ") and not value.endswith("\\ "):
        value = value[:-1] + "\\ "
    return value


@functools.lru_cache(maxsize=4096)
def name_text(name: bytes) -> str:
    """A DER Name as an RFC 4514 string: last RDN first; unknown types as dotted OIDs."""
    return ",".join(
        "+".join(f"{_SHORT.get(kind, kind)}={_escaped(value)}" for kind, value in rdn)
        for rdn in reversed(rdns(name))
    )


def common_names(name: bytes) -> tuple[str, ...]:
    """Every common name in a DER Name, in encoded order."""
    return tuple(value for rdn in rdns(name) for kind, value in rdn if kind == COMMON_NAME)


@functools.lru_cache(maxsize=4096)
def comparable(name: bytes) -> tuple[frozenset[tuple[str, str]], ...]:
    """A DER Name in the form in which RFC 5280 section 7.1 compares: case and space folded."""
    return tuple(
        frozenset((kind, " ".join(value.split()).casefold()) for kind, value in rdn)
        for rdn in rdns(name)
    )


def ip_text(octets: bytes) -> str:
    """An iPAddress of a subjectAltName, or address/mask of a name constraint."""
    if len(octets) in (4, 16):
        return str(ipaddress.ip_address(octets))
    if len(octets) in (8, 32):
        half = len(octets) // 2
        address, mask = (ipaddress.ip_address(part) for part in (octets[:half], octets[half:]))
        length = bin(int(mask)).count("1")
        whole = int(mask) == (1 << half * 8) - (1 << half * 8 - length)
        return f"{address}/{length if whole else mask}"
    return f"0x{octets.hex()}"


def general_name(data: bytes, node: der.Node) -> str:
    """A GeneralName as `DNS:…`, `IP:…`, `URI:…`, `email:…`, `dirName:…`, `RID:…`, `otherName:…`."""
    tag, _, start, stop = node
    content = data[start:stop]
    if tag in (0x81, 0x82, 0x86):
        kind = {0x81: "email", 0x82: "DNS", 0x86: "URI"}[tag]
        return f"{kind}:{content.decode('utf-8', 'backslashreplace')}"
    if tag == 0x87:
        return f"IP:{ip_text(content)}"
    if tag == 0xA4:
        return f"dirName:{name_text(content)}"
    if tag == 0x88:
        return f"RID:{der.object_identifier(content)}"
    if tag == 0xA0:
        oid = der.expect(data, start, stop, der.OBJECT_IDENTIFIER)
        return f"otherName:{der.object_identifier(data[oid[2] : oid[3]])}"
    return f"other[{tag & 0x1F}]:0x{content[:32].hex()}"
