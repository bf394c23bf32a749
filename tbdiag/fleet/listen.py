"""The socket that the exporter listens on."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Iterator

from tbdiag.errors import UsageError


@contextlib.contextmanager
def listening(text: str) -> Iterator[socket.socket]:
    """A listening socket on `ADDRESS:PORT`; UsageError when that is no address, or is taken."""
    host, colon, port = text.rpartition(":")
    host = host.strip("[]")
    if not (host and colon and port.isascii() and port.isdigit() and int(port) <= 65535):
        raise UsageError(f"--listen {text!r}: type ADDRESS:PORT, for example 127.0.0.1:9883")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, int(port)), family=family)
    except OSError as error:
        raise UsageError(f"--listen {text}: {error.strerror or error}") from None
    with listener:
        yield listener


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach the address."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
