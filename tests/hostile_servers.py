"""Servers that attack the client with time and size, for the tests in `tests/hostile`.

They speak just enough TLS or MQTT to get to the place where they stall or flood.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.x509 import Name, NameAttribute
from cryptography.x509.oid import NameOID

from tbdiag import Options, Report, Target, check
from tbdiag.model import Credentials, Secret, Transport
from tbdiag.sandbox.authority import Authority, make_name
from tbdiag.sandbox.connection import Connection, Tls
from tbdiag.sandbox.faults import TlsMute
from tbdiag.sandbox.profile import DEFAULT_TOKEN
from tbdiag.sandbox.server import Server

TOKEN = DEFAULT_TOKEN
ROOT = Authority.root("Hostile Root")
ISSUED = ROOT.issue_server()
_CHUNK = 16000


def record(fragment: bytes, kind: int = 22) -> bytes:
    """One TLS 1.2 record (RFC 5246 section 6.2.1), a handshake record by default."""
    return bytes([kind, 3, 3]) + len(fragment).to_bytes(2, "big") + fragment


def message(kind: int, length: int, body: bytes = b"") -> bytes:
    """The head of a handshake message that says it is `length` long, and what there is of it."""
    return bytes([kind]) + length.to_bytes(3, "big") + body


_HELLO = b"\3\3" + bytes(32) + b"\0\xc0\x2b\0" + b"\0\5\xff\x01\0\1\0"
SERVER_HELLO = record(message(2, len(_HELLO), _HELLO))
"""A ServerHello of TLS 1.2 with ECDHE-ECDSA-AES128-GCM-SHA256."""


class Scripted(Server):
    """Reads once, writes `first`, then `unit` again and again, `seconds` apart."""

    def __init__(
        self, first: bytes, unit: bytes = b"", seconds: float = 0, *, tls: Tls | None = None
    ) -> None:
        super().__init__(tls=tls)
        self._first, self._unit, self._seconds = first, unit, seconds

    def serve(self, connection: Connection) -> None:
        """Play the script until the client leaves."""
        connection.read()
        connection.write(self._first)
        while self._unit and not self.stopping.is_set():
            connection.write(self._unit)
            if self._seconds:
                self.pause(self._seconds)
        while connection.read():
            pass


class ManyCaNames(TlsMute):
    """Its CertificateRequest names `count` certificate authorities; mute after the handshake."""

    def __init__(self, count: int) -> None:
        super().__init__(Tls(ISSUED))
        self._count = count

    def start(self) -> ManyCaNames:
        """Listen, with the names added."""
        super().start()
        assert self._context
        unit = NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "u" * 60)
        for number in range(self._count):
            name = Name([*make_name(f"CN=CA {number}"), unit])
            self._context.add_client_ca(Authority.root(name, key=ROOT.key).certificate)
        return self


def endless_certificates() -> Scripted:
    """A Certificate message of 16 MB, sent as fast as it is read."""
    head = record(message(11, 0xFFFFFF, b"\xff\xff\xfc"))
    return Scripted(SERVER_HELLO + head, record(bytes(_CHUNK)))


def slow_certificates() -> Scripted:
    """A Certificate message of a size that is allowed, one byte in each record, without end."""
    head = record(message(11, 0x8000, b"\0\x7f\xfd"))
    return Scripted(SERVER_HELLO + head, record(b"\0"), 0.2)


def dripping_after(first: bytes, seconds: float = 2.0) -> Scripted:
    """Over TLS: `first` at once, then zeros, one byte every `seconds`."""
    return Scripted(first, b"\0", seconds, tls=Tls(ISSUED))


def target_of(server: Server, folder: Path, **changes: Any) -> Target:
    """The target of a device with the right CA file and a token."""
    cafile = folder / "ca.pem"
    cafile.write_bytes(ROOT.pem())
    changes.setdefault("transport", Transport.MQTTS)
    changes.setdefault("credentials", Credentials(token=Secret(TOKEN)))
    return Target(
        "localhost",
        server.port,
        cafile=(str(cafile),),
        **changes,
    )


@contextlib.contextmanager
def diagnosed(
    server: Server, folder: Path, options: dict[str, Any] | None = None, **changes: Any
) -> Iterator[tuple[Report, float]]:
    """Run the server and `tbdiag.check` against it: the report, and the seconds it took."""
    with server:
        target = target_of(server, folder, **changes)
        started = time.monotonic()
        report = check(target, Options(**{"timeout": 1.5, "compare_web": False, **(options or {})}))
        yield report, time.monotonic() - started
