"""A ThingsBoard-like MQTT server on loopback, with any number of faults.

    with Broker() as broker:                     # plain, one device, DEFAULT_TOKEN
        ...  broker.port
    with Broker(tls=Tls(root.issue_server()), faults=[DelayedConnack(3)]) as broker:
        ...

It answers as ThingsBoard's transport of the chosen generation does, refusals and closes included.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tbdiag.protocol.mqtt import Connect, Publish
from tbdiag.sandbox.connection import Connection, HandshakeFailed, Tls
from tbdiag.sandbox.knobs import Fault
from tbdiag.sandbox.profile import DEFAULT_TOKEN, GENERATIONS, PROFILES, Device, Json, Platform
from tbdiag.sandbox.server import Server
from tbdiag.sandbox.session import Session

if TYPE_CHECKING:
    from cryptography import x509


@dataclass(frozen=True, slots=True)
class Event:
    """One thing the broker saw: the connection's number, what, and the packet or text.

    kind is a packet's name in lower case ("connect", "publish", ...), "sent" (detail: the packet),
    "handshake", "handshake-failed", "broken", "malformed", "too-large", "outcome", "taken-over",
    or "closed".
    """

    connection: int
    kind: str
    detail: object = None


class Broker(Server):
    """ThingsBoard's MQTT transport with its device table in memory.

    platform: shared with a HttpApi; or devices; or, with neither, one device with DEFAULT_TOKEN
    and the profile named `profile`. tls: None for plain MQTT. generation: one of GENERATIONS.
    faults: applied in order. max_payload: the largest Remaining Length, in bytes.
    """

    def __init__(
        self,
        devices: Iterable[Device] | None = None,
        *,
        platform: Platform | None = None,
        profile: str = "default",
        tls: Tls | None = None,
        generation: str = "4.x",
        faults: Sequence[Fault] = (),
        max_payload: int = 65536,
        port: int = 0,
        ipv6: bool = False,
    ) -> None:
        super().__init__(tls=tls, port=port, ipv6=ipv6)
        if generation not in GENERATIONS:
            raise ValueError(f"generation {generation!r} is none of {', '.join(GENERATIONS)}")
        default = Device(token=DEFAULT_TOKEN, profile=PROFILES[profile])
        self.platform = platform or Platform((default,) if devices is None else devices)
        self.generation = generation
        self.faults = tuple(faults)
        self.max_payload = max_payload
        self._events: list[Event] = []
        self._news = threading.Condition()

    @property
    def log(self) -> tuple[Event, ...]:
        """Everything seen so far, in order."""
        with self._news:
            return tuple(self._events)

    @property
    def connects(self) -> tuple[Connect, ...]:
        """The CONNECT packets seen so far."""
        return tuple(e.detail for e in self.log if isinstance(e.detail, Connect))

    @property
    def publishes(self) -> tuple[Publish, ...]:
        """The PUBLISH packets clients sent so far."""
        return tuple(
            e.detail for e in self.log if e.kind == "publish" and isinstance(e.detail, Publish)
        )

    @property
    def telemetry(self) -> tuple[dict[str, Json], ...]:
        """The telemetry values stored so far, of all devices."""
        return tuple(values for _, values in list(self.platform.telemetry))

    def wait_for(self, kind: str, seconds: float = 20.0) -> Event:
        """Return the first event of that kind, waiting for it; TimeoutError after `seconds`."""
        end = time.monotonic() + seconds
        with self._news:
            while True:
                for event in self._events:
                    if event.kind == kind:
                        return event
                if not self._news.wait(end - time.monotonic()):
                    raise TimeoutError(f"no {kind!r} within {seconds} s")

    def wait_until(self, holds: Callable[[], object], seconds: float = 5.0) -> None:
        """Wait until `holds()` is true, asked at every event; TimeoutError after `seconds`."""
        with self._news:
            if not self._news.wait_for(holds, seconds):
                raise TimeoutError(f"not so within {seconds} s")

    def record(self, connection: Connection, kind: str, detail: object = None) -> None:
        """Append to the log."""
        with self._news:
            self._events.append(Event(connection.number, kind, detail))
            self._news.notify_all()

    def open_session(self, device: Device, session: Session) -> None:
        """Make `session` the device's only one: an older one, of any broker, is taken over."""
        older = self.platform.enter(device, session)
        if older is not None:
            older.take_over()

    def serve(self, connection: Connection) -> None:
        """Run one MQTT session."""
        if self.tls is not None:
            self.record(connection, "handshake", connection.server_name)
        session = Session(self, connection)
        try:
            session.run()
        finally:
            if session.device is not None:
                self.platform.leave(session.device, session)
            self.record(connection, "closed")

    def broke(self, connection: Connection, error: OSError) -> None:
        """Log how a connection broke."""
        kind = "handshake-failed" if isinstance(error, HandshakeFailed) else "broken"
        self.record(connection, kind, str(error))

    def accepts_client_certificate(self, certificate: x509.Certificate) -> bool:
        """Up to 3.4 an unregistered certificate fails the handshake; later CONNACK refuses it."""
        if self.generation != "3.4":
            return True
        from cryptography.hazmat.primitives.hashes import SHA256

        return self.platform.by_fingerprint(certificate.fingerprint(SHA256()).hex()) is not None
