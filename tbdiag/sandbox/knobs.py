"""Faults of a broker that still speaks MQTT; one class per fault, named by its effect.

Each overrides the one hook it needs; a broker runs any number of them, in the order given. A fault
that has to wait pauses only its own connection, and never outlives the broker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tbdiag.fact import replace
from tbdiag.protocol.mqtt import Connack, PropertyValue, Puback, Publish, Version

if TYPE_CHECKING:
    from tbdiag.sandbox.session import Session


class Fault:
    """No fault: every hook lets things go their way."""

    def connack(self, session: Session, connack: Connack) -> Connack | None:
        """See every CONNACK before it is sent; return another one, or None to send none."""
        del session
        return connack

    def write(self, session: Session, data: bytes) -> bool:
        """See every packet on its way out; return True when it was dealt with."""
        del session, data
        return False

    def connected(self, session: Session) -> None:
        """Run after an accepting CONNACK was sent."""

    def publish(self, session: Session, publish: Publish) -> bool:
        """See every PUBLISH of the client; return True when it was dealt with."""
        del session, publish
        return False

    def puback(self, session: Session, puback: Puback) -> Puback | None:
        """See every PUBACK before it is sent; return another one, or None to send none."""
        del session
        return puback

    def answers(self) -> bool:
        """Whether attribute requests and RPCs get their answer."""
        return True


@dataclass(frozen=True, slots=True)
class DelayedConnack(Fault):
    """CONNACK comes after `seconds`."""

    seconds: float

    def connack(self, session: Session, connack: Connack) -> Connack | None:
        """Wait, then let it pass."""
        session.broker.pause(self.seconds)
        return connack


@dataclass(frozen=True, slots=True)
class ByteByByte(Fault):
    """Every packet leaves one byte at a time, `seconds` apart."""

    seconds: float = 0.002

    def write(self, session: Session, data: bytes) -> bool:
        """Send the bytes one by one."""
        for byte in data:
            session.connection.write(bytes([byte]))
            session.broker.pause(self.seconds)
        return True


@dataclass(frozen=True, slots=True)
class NoConnack(Fault):
    """CONNECT is read and never answered; the connection stays open."""

    def connack(self, session: Session, connack: Connack) -> Connack | None:
        """Send nothing."""
        return None


@dataclass(frozen=True, slots=True)
class ClosedBeforeConnack(Fault):
    """The connection is closed when CONNECT has arrived; with a RST if `reset`."""

    reset: bool = False

    def connack(self, session: Session, connack: Connack) -> Connack | None:
        """Close instead of answering."""
        session.end(reset=self.reset)
        return None


@dataclass(frozen=True, slots=True)
class ForcedConnack(Fault):
    """Every CONNECT is answered with these codes; a refusal is followed by a close.

    return_code is for 3.1 and 3.1.1, reason_code for 5.0; None leaves that version alone.
    """

    return_code: int | None = None
    reason_code: int | None = None

    def connack(self, session: Session, connack: Connack) -> Connack | None:
        """Write another code."""
        code = self.reason_code if connack.version is Version.V5 else self.return_code
        return connack if code is None else replace(connack, code=code)


@dataclass(frozen=True, slots=True)
class Version5Refused(Fault):
    """CONNECT of MQTT 5 is answered as by a 3.1.1 server: two bytes, code 1, then a close."""

    def connack(self, session: Session, connack: Connack) -> Connack | None:
        """Refuse the version in the old form."""
        return Connack(1) if connack.version is Version.V5 else connack


@dataclass(frozen=True, slots=True)
class SessionPresent(Fault):
    """CONNACK says session present, refusal or not."""

    def connack(self, session: Session, connack: Connack) -> Connack | None:
        """Set the flag."""
        return replace(connack, session_present=True)


@dataclass(frozen=True, slots=True)
class ReasonString(Fault):
    """CONNACK and PUBACK of MQTT 5 carry this text, which may be hostile, and more properties."""

    text: str
    properties: Mapping[str, PropertyValue] = field(default_factory=dict)

    def connack(self, session: Session, connack: Connack) -> Connack | None:
        """Add the text."""
        return replace(connack, properties={**self.properties, "reason_string": self.text})

    def puback(self, session: Session, puback: Puback) -> Puback | None:
        """Add the text."""
        return replace(puback, properties={"reason_string": self.text})


@dataclass(frozen=True, slots=True)
class GarbageConnack(Fault):
    """CONNECT is answered with bytes that are not MQTT, then closed."""

    data: bytes = b"\xff\xff\xff\xff\xff garbage"

    def connack(self, session: Session, connack: Connack) -> Connack | None:
        """Send the bytes as they are."""
        session.connection.write(self.data)
        session.end()
        return None


@dataclass(frozen=True, slots=True)
class DisconnectedAfterConnack(Fault):
    """An accepted client is disconnected at once, with this Reason Code in MQTT 5 (None: bare)."""

    code: int | None = 0x8E

    def connected(self, session: Session) -> None:
        """Close as after a takeover."""
        session.end(self.code)


@dataclass(frozen=True, slots=True)
class NoPuback(Fault):
    """PUBLISH is taken and never acknowledged."""

    def puback(self, session: Session, puback: Puback) -> Puback | None:
        """Send nothing."""
        return None


@dataclass(frozen=True, slots=True)
class ForcedPuback(Fault):
    """Every PUBACK of MQTT 5 carries this Reason Code."""

    code: int

    def puback(self, session: Session, puback: Puback) -> Puback | None:
        """Write another code."""
        return replace(puback, code=self.code) if puback.version is Version.V5 else puback


@dataclass(frozen=True, slots=True)
class ClosedOnPublish(Fault):
    """PUBLISH ends the connection; in MQTT 5 with this Reason Code (None: bare).

    0x83 is what a rate limit or an exceeded API usage looks like. `after` messages pass first.
    """

    code: int | None = None
    after: int = 0

    def publish(self, session: Session, publish: Publish) -> bool:
        """Close instead of storing."""
        if session.published <= self.after:
            return False
        session.end(self.code)
        return True


@dataclass(frozen=True, slots=True)
class NoAttributeResponse(Fault):
    """Attribute requests and RPCs are acknowledged and never answered, as by a generic broker."""

    def answers(self) -> bool:
        """Keep silent."""
        return False
