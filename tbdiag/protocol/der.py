"""Reading DER, the encoding of certificates (ITU-T X.690): where each value starts and ends.

Nothing is copied or interpreted beyond what certificates need. Readers work on offsets into one
bytes object, which keeps a certificate's exact bytes at hand (names and signed parts are compared
and verified as they came, never re-encoded).
"""

from __future__ import annotations

from collections.abc import Iterator

BOOLEAN = 0x01
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
OBJECT_IDENTIFIER = 0x06
UTC_TIME = 0x17
GENERALIZED_TIME = 0x18
SEQUENCE = 0x30
SET = 0x31

LONGEST_INTEGER = 4096
"""Octets; no serial number, and no key that can be used, is longer."""
MOST_CHILDREN = 50_000
"""Values in one SEQUENCE or SET: more than any CA bundle or subjectAltName holds."""

Node = tuple[int, int, int, int]
"""(tag, where the header starts, where the content starts, where the content ends)."""


class DerError(ValueError):
    """The bytes are not the DER that was expected there."""


def node_at(data: bytes, position: int, end: int) -> Node:
    """The TLV that starts at `position` and must finish by `end`; DerError if it does not."""
    try:
        tag, length = data[position], data[position + 1]
        content = position + 2
        if length >= 0x80:
            octets = length & 0x7F
            if not 0 < octets <= 4:
                raise DerError(f"unsupported length form at offset {position}")
            length = int.from_bytes(data[content : content + octets], "big")
            content += octets
    except IndexError:
        raise DerError("the data ends in the middle of a value") from None
    stop = content + length
    if stop > end:
        raise DerError("a value is longer than what contains it")
    return tag, position, content, stop


def children(data: bytes, start: int, end: int) -> list[Node]:
    """The TLVs that follow each other from `start` to `end`."""
    nodes = []
    while start < end:
        node = node_at(data, start, end)
        nodes.append(node)
        start = node[3]
        if len(nodes) > MOST_CHILDREN:
            raise DerError(f"more than {MOST_CHILDREN:,} values in one")
    return nodes


def expect(data: bytes, position: int, end: int, tag: int) -> Node:
    """The TLV at `position`, which must have this tag."""
    node = node_at(data, position, end)
    if node[0] != tag:
        raise DerError(f"tag 0x{node[0]:02x} where 0x{tag:02x} was expected")
    return node


def sequence(data: bytes, tag: int = SEQUENCE) -> list[Node]:
    """The elements of the SEQUENCE (or `tag`) that `data` starts with."""
    _, _, start, stop = expect(data, 0, len(data), tag)
    return children(data, start, stop)


def integer(data: bytes, node: Node) -> int:
    """The value of an INTEGER; DerError above `LONGEST_INTEGER`."""
    tag, _, start, stop = node
    if tag != INTEGER or start == stop:
        raise DerError("not an INTEGER")
    if stop - start > LONGEST_INTEGER:
        raise DerError(f"an INTEGER of {stop - start:,} octets is too long")
    return int.from_bytes(data[start:stop], "big", signed=True)


def _arcs(content: bytes) -> Iterator[int]:
    value = 0
    for octet in content:
        value = value << 7 | octet & 0x7F
        if octet < 0x80:
            yield value
            value = 0


_KNOWN: dict[bytes, str] = {}


def object_identifier(content: bytes) -> str:
    """The dotted form of an OBJECT IDENTIFIER's content octets."""
    known = _KNOWN.get(content)
    if known is not None:
        return known
    if not content or content[-1] >= 0x80 or len(content) > 64:
        raise DerError("not an OBJECT IDENTIFIER")
    first, *rest = _arcs(content)
    top = min(first // 40, 2)
    dotted = ".".join(map(str, (top, first - 40 * top, *rest)))
    if len(_KNOWN) < 500:
        _KNOWN[content] = dotted
    return dotted


def bits(content: bytes) -> tuple[int, ...]:
    """The numbers of the bits that are set in a BIT STRING's content octets (KeyUsage and such)."""
    return tuple(
        index * 8 + bit
        for index, octet in enumerate(content[1:])
        for bit in range(8)
        if octet & (0x80 >> bit)
    )
