"""What a peer speaks when it does not speak TLS."""

from __future__ import annotations

from tbdiag.deadline import Deadline
from tbdiag.protocol.transport import Channel

SHOWN = 256
"""Bytes kept of what a peer sent first."""

_TLS_CONTENT_TYPES = range(20, 25)
_MQTT_ANSWERS = (b"\x20\x02", b"\x20\x03", b"\xe0\x00", b"\xe0\x01", b"\xe0\x02")
_GREETINGS = (
    (b"HTTP/", "http"),
    (b"SSH-", "ssh"),
    (b"220", "smtp"),
    (b"421", "smtp"),
    (b"AMQP", "amqp"),
    (b"* OK", "imap"),
    (b"+OK", "pop3"),
    (b"-ERR", "redis"),
)


def is_tls(first: bytes) -> bool:
    """Whether a stream beginning so may be TLS: a content type, then major version 3 (RFC 8446
    section 5.1). True for no bytes at all."""
    return not first or (first[0] in _TLS_CONTENT_TYPES and first[1:2] in (b"", b"\x03"))


def identify(first: bytes) -> str | None:
    """The protocol of a stream's first bytes: `http`, `ssh`, `mqtt`, `smtp`, `ftp`, …, `unknown`.

    None for no bytes and for TLS.
    """
    if not first or is_tls(first):
        return None
    if first.startswith(_MQTT_ANSWERS):
        return "mqtt"
    for greeting, protocol in _GREETINGS:
        if first.startswith(greeting):
            return "ftp" if protocol == "smtp" and b"FTP" in first.upper() else protocol
    return "http" if first.lstrip()[:5].lower() in (b"<html", b"<!doc") else "unknown"


def listen(channel: Channel, deadline: Deadline) -> str:
    """What a peer does when nothing is sent to it: `closed`, `reset`, `spoke`, `silent`."""
    try:
        return "spoke" if channel.read(deadline) else "closed"
    except TimeoutError:
        return "silent"
    except OSError:
        return "reset"


def ask_mqtt(channel: Channel, deadline: Deadline) -> bytes:
    """What a peer answers to a plain MQTT 3.1.1 CONNECT without any credentials; b"" for nothing.

    The Client Identifier is empty and the session clean, so that nobody's session is taken over; an
    accepted one is ended with DISCONNECT. Reads no more than the first piece of the answer.
    """
    from tbdiag.protocol.mqtt import Connect, Disconnect, encode

    try:
        channel.write(encode(Connect(client_id="", keep_alive=10)), deadline)
        answer = channel.read(deadline)[:SHOWN]
        if identify(answer) == "mqtt":
            channel.write(encode(Disconnect()), deadline)
    except OSError:
        return b""
    return answer
