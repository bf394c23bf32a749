"""Host names: what may be looked up, and in which form (RFC 1123, RFC 5891)."""

from __future__ import annotations

import re

MAX_NAME = 253
MAX_LABEL = 63

_LABEL = re.compile(r"[A-Za-z0-9_-]+\Z")


class InvalidName(ValueError):
    """A host that no resolver can look up; the message says in one sentence what is wrong."""


def ascii_name(host: str) -> str:
    """The form of a DNS name that goes over the wire (A-labels); raises InvalidName.

    An underscore is allowed, as resolvers allow it. What is refused is what people paste by
    mistake: a scheme, a path, a port, spaces, empty labels.
    """
    _refuse_pasted(host)
    _refuse_long(host)
    name = host if host.isascii() else _to_a_labels(host)
    _refuse_long(name)
    labels = name.removesuffix(".").split(".")
    for label in labels:
        _refuse_label(label)
    if labels[-1].isdigit():
        raise InvalidName("it is neither a host name nor a complete IPv4 address")
    return name


def _refuse_pasted(host: str) -> None:
    if not host:
        raise InvalidName("it is empty")
    if "://" in host:
        raise InvalidName(f"it still holds the scheme {host.partition('://')[0]!r}")
    if any(character.isspace() for character in host):
        raise InvalidName("it holds a space or line break")
    for sign, meaning in (("/", "a path"), ("@", "a user name"), (":", "a port or a bad address")):
        if sign in host:
            raise InvalidName(f"it holds {sign!r}, {meaning}")


def _refuse_long(name: str) -> None:
    length = len(name.removesuffix("."))
    if length > MAX_NAME:
        raise InvalidName(f"it has {length} characters, and a host name has at most {MAX_NAME}")


def _refuse_label(label: str) -> None:
    if not label:
        raise InvalidName("it has an empty label: two dots in a row, or one at the start")
    if len(label) > MAX_LABEL:
        raise InvalidName(f"a label has {len(label)} characters, more than {MAX_LABEL}")
    if not _LABEL.match(label):
        wrong = next(c for c in label if not _LABEL.match(c))
        raise InvalidName(f"{wrong!r} cannot stand in a host name")


def _to_a_labels(host: str) -> str:
    import idna

    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise InvalidName(f"it is not a valid internationalised name: {error}") from None
