"""Host names: what may be looked up (RFC 1123, RFC 5891), and looking it up with a deadline."""

from __future__ import annotations

import queue
import re
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

from tbdiag.deadline import Deadline
from tbdiag.evidence import DnsEvidence
from tbdiag.protocol.x509_identity import ip_literal

MAX_ANSWERS = 64
"""Addresses kept of one answer."""
MAX_NAME = 253
MAX_LABEL = 63

_FAMILIES = {"4": socket.AF_INET, "6": socket.AF_INET6}
_FAMILY_NAMES: dict[int, str] = {socket.AF_INET: "IPv4", socket.AF_INET6: "IPv6"}
_NOT_FOUND = tuple(
    getattr(socket, name)
    for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY")
    if hasattr(socket, name)
)
_LABEL = re.compile(r"[A-Za-z0-9_-]+\Z")

_Answer = Sequence[tuple[int, int, int, str, Any]]


class InvalidName(ValueError):
    """A host that no resolver can look up; the message says in one sentence what is wrong."""


def ascii_name(host: str) -> str:
    """The form of a DNS name that goes over the wire (A-labels); raises InvalidName.

    An underscore is allowed, as resolvers allow it. What is refused is what people paste by
    mistake: a scheme, a path, a port, spaces, empty labels.
    """
    _refuse_pasted(host)
    name = host if host.isascii() else _to_a_labels(host)
    labels = name.removesuffix(".").split(".")
    if len(name) > MAX_NAME + 1:
        raise InvalidName(f"it has {len(name)} characters, and a host name has at most {MAX_NAME}")
    for label in labels:
        _refuse_label(label)
    if labels[-1].isdigit():
        raise InvalidName("it is neither a host name nor a complete IPv4 address")
    return name


def _refuse_pasted(host: str) -> None:
    if not host:
        raise InvalidName("it is empty")
    if "://" in host:
        raise InvalidName(f"it still holds the scheme {host.partition('://')[0]}://")
    if any(character.isspace() for character in host):
        raise InvalidName("it holds a space or line break")
    for sign, meaning in (("/", "a path"), ("@", "a user name"), (":", "a port or a bad address")):
        if sign in host:
            raise InvalidName(f"it holds {sign!r}, {meaning}")


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


def resolve(host: str, port: int, family: str | None, deadline: Deadline) -> DnsEvidence:
    """The addresses of `host`; `family` `4` or `6` limits them.

    An IP literal (an IPv6 zone included) is returned as it is, without a lookup. The lookup runs in
    a thread of its own, because getaddrinfo cannot be interrupted: a resolver that hangs is left
    behind at the deadline. Never raises: what went wrong is in `error` and `detail`.
    """
    started = time.monotonic()
    try:
        literal = _literal(host, family)
        if literal:
            return DnsEvidence(host, literal=True, addresses=(literal,))
        answer = _lookup(ascii_name(host), port, family, deadline)
    except InvalidName as error:
        return _failed(host, "invalid-name", str(error), started)
    except TimeoutError:
        return _failed(host, "timeout", "the resolver gave no answer", started)
    except socket.gaierror as error:
        kind = "name-not-found" if error.errno in _NOT_FOUND else "temporary-failure"
        return _failed(host, kind, f"{_eai_name(error)}: {error.strerror}", started)
    except OSError as error:
        return _failed(host, "temporary-failure", str(error), started)
    return _found(host, answer, started)


def _literal(host: str, family: str | None) -> tuple[str, str] | None:
    address = None if "[" in host else ip_literal(host)
    if address is None:
        return None
    if family and family != str(address.version):
        raise InvalidName(f"it is an IPv{address.version} address, and -{family} was given")
    return f"IPv{address.version}", host


def _lookup(name: str, port: int, family: str | None, deadline: Deadline) -> _Answer:
    """getaddrinfo in a daemon thread; raises what it raises, and TimeoutError."""
    answers: queue.SimpleQueue[_Answer | OSError] = queue.SimpleQueue()
    wanted = _FAMILIES[family] if family else socket.AF_UNSPEC

    def look_up() -> None:
        try:
            answers.put(
                socket.getaddrinfo(
                    name.encode("ascii"),
                    port,
                    family=wanted,
                    type=socket.SOCK_STREAM,
                    flags=socket.AI_CANONNAME,
                )
            )
        except OSError as error:
            answers.put(error)

    threading.Thread(target=look_up, name="tbdiag resolver", daemon=True).start()
    try:
        answer = answers.get(timeout=deadline.remaining())
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, OSError):
        raise answer
    return answer


def _found(host: str, answer: _Answer, started: float) -> DnsEvidence:
    addresses = dict.fromkeys(
        (_FAMILY_NAMES[family], str(target[0]))
        for family, _, _, _, target in answer
        if family in _FAMILY_NAMES
    )
    canonical = next((entry[3] for entry in answer if entry[3]), None)
    return DnsEvidence(
        host,
        literal=False,
        addresses=tuple(addresses)[:MAX_ANSWERS],
        canonical_name=canonical if canonical != host else None,
        elapsed_ms=_since(started),
    )


def _failed(host: str, error: str, detail: str, started: float) -> DnsEvidence:
    return DnsEvidence(host, literal=False, error=error, detail=detail, elapsed_ms=_since(started))


def _since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 3)


def _eai_name(error: socket.gaierror) -> str:
    names = (n for n in dir(socket) if n.startswith("EAI_") and getattr(socket, n) == error.errno)
    return next(names, f"EAI {error.errno}")
