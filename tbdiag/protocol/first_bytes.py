"""What the bytes are that a TLS server found where a TLS record should be.

Netty prints them as hex: `NotSslRecordException: not an SSL/TLS record: 104c00044d515454…`. They
can hold an access token, so only their kind is told.
"""

from __future__ import annotations

import re

from tbdiag.fact import Fact

_AFTER = re.compile(r"(?:ssl/tls record|not a tls record|first bytes)\W{1,4}")
_HEX = re.compile(r"[0-9a-f :]{1,2048}")
_BARE = re.compile(r"(?:0x)?[0-9a-f :]{8,4096}")
_LEVELS = {3: " 3.1", 4: " 3.1.1", 5: " 5"}
_GREETINGS = (
    (b"PROXY ", "proxy", "a PROXY protocol header (version 1)"),
    (b"\r\n\r\n\x00\r\nQUIT\n", "proxy", "a PROXY protocol header (version 2)"),
    (b"GET ", "http", "an HTTP GET request"),
    (b"POST ", "http", "an HTTP POST request"),
    (b"HEAD ", "http", "an HTTP HEAD request"),
    (b"CONNECT ", "http", "an HTTP CONNECT request"),
    (b"PRI * HTTP/2", "http", "an HTTP/2 preface"),
    (b"HTTP/", "http", "an HTTP answer"),
    (b"SSH-", "ssh", "an SSH greeting"),
)


class FirstBytes(Fact, frozen=True):
    """The kind of some bytes (`mqtt`, `http`, `proxy`, `alert`, `ssh`), a sentence, and where."""

    kind: str
    sentence: str
    span: tuple[int, int]


def first_bytes(text: str) -> FirstBytes | None:
    """Find hex bytes in a log line (lower case) and say what they are; None if there are none."""
    after = _AFTER.search(text)
    start = after.end() if after else 0
    hit = _HEX.match(text, start) if after else _BARE.fullmatch(text)
    if hit is None:
        return None
    digits = re.sub(r"0x|[ :]", "", hit.group())
    data = bytes.fromhex(digits[: len(digits) // 2 * 2])
    kind, sentence = _identified(data)
    span = after.span() if after else (0, min(hit.end(), 4))
    return FirstBytes(kind, sentence, span) if kind else None


def _identified(data: bytes) -> tuple[str, str]:
    for greeting, kind, words in _GREETINGS:
        if data.startswith(greeting):
            return kind, f"The bytes are {words}."
    if data[:2] == b"\x15\x03" and len(data) >= 7:
        return "alert", f"The bytes are a TLS alert, number {data[6]}."
    return _mqtt_connect(data) if data[:1] == b"\x10" else ("", "")


def _mqtt_connect(data: bytes) -> tuple[str, str]:
    at = 1
    while at < 4 and data[at : at + 1] >= b"\x80":
        at += 1
    name_length = int.from_bytes(data[at + 1 : at + 3])
    name = data[at + 3 : at + 3 + name_length]
    if name not in (b"MQTT", b"MQIsdp"):
        return "", ""
    rest = data[at + 3 + name_length :]
    level = _LEVELS.get(rest[0], "") if rest else ""
    flags = rest[1] if len(rest) > 1 else 0
    held = [
        words for bit, words in ((0x80, "the user name"), (0x40, "the password")) if flags & bit
    ]
    warning = (
        f" They hold {' and '.join(held)}, which is the device's access token or login: "
        "do not share that line, and replace what was shared."
        if held
        else ""
    )
    return "mqtt", f"The bytes are a plain MQTT{level} CONNECT packet.{warning}"
