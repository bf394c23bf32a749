"""Refuse option values that cannot work, in one sentence, before anything is sent."""

from __future__ import annotations

import math
import os
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from tbdiag.errors import UsageError

DAY = 24 * 3600
LONGEST_STRING = 65535
"""Bytes of an MQTT UTF-8 string (MQTT 3.1.1 section 1.5.3)."""


def seconds(value: float) -> float:
    """A time limit for the run: more than 0 and at most a day."""
    if not 0 < value <= DAY:
        raise UsageError(f"--timeout {value:g} must be more than 0 and at most {DAY} seconds")
    return value


def days(value: float, flag: str) -> float:
    """A number of days left: a number, not negative."""
    if not math.isfinite(value) or value < 0:
        raise UsageError(f"{flag} {value:g} must be a number of days, 0 or more")
    return value


def http_base(text: str) -> str:
    """The HTTP base of an installation: scheme, host, and a path at most."""
    url = _split(text, "--http-url")
    if url.scheme not in ("http", "https") or not url.hostname:
        raise UsageError("--http-url must be like https://thingsboard.example")
    if url.username or url.password:
        raise UsageError("--http-url holds credentials: take them out, none are needed")
    if url.query or url.fragment or "/api/" in url.path:
        raise UsageError("--http-url is only the base: https://host, without /api and what follows")
    return text.rstrip("/")


def proxy_url(text: str) -> str:
    """A proxy: its scheme, host and perhaps a login."""
    from tbdiag.protocol.proxy import parse_proxy

    _split(text, "--proxy")
    parse_proxy(text)
    return text


def _split(text: str, flag: str) -> SplitResult:
    try:
        url = urlsplit(text)
        _ = url.port, url.hostname
    except ValueError:
        raise UsageError(f"{flag} is not a URL with a usable host and port") from None
    if not text.isprintable() or " " in text:
        raise UsageError(f"{flag} holds a space or a control character")
    return url


def publish_topic(text: str) -> str:
    """A Topic Name to publish to (MQTT 3.1.1 section 4.7)."""
    if not text:
        raise UsageError("--topic is empty: name one topic, or leave it out")
    if "+" in text or "#" in text:
        raise UsageError(f"--topic {text!r} has a wildcard: publish to one exact topic")
    return mqtt_string(text, "--topic")


def mqtt_string(text: str, flag: str) -> str:
    """A text that fits into an MQTT string; a secret is not repeated in the message."""
    if "\0" in text:
        raise UsageError(f"{flag} holds a NUL character, which MQTT forbids")
    if len(text.encode("utf-8", "surrogateescape")) > LONGEST_STRING:
        raise UsageError(f"{flag} is longer than the {LONGEST_STRING} bytes that MQTT allows")
    return text


def alpn(names: tuple[str, ...]) -> tuple[str, ...]:
    """ALPN protocol names: 1 to 255 bytes of ASCII each (RFC 7301 section 3.1)."""
    for name in names:
        if not name.isascii() or not 1 <= len(name) <= 255:
            raise UsageError("--alpn is a protocol name of 1 to 255 ASCII characters, such as mqtt")
    return names


def output_file(path: str | None) -> None:
    """Refuse a file that cannot be written, before the diagnosis instead of after it."""
    if path in (None, "-"):
        return
    file = Path(str(path))
    try:
        if file.is_dir():
            raise UsageError(f"cannot write {path!r}: it is a folder; name a file")
        folder = file.resolve().parent
        if not folder.is_dir():
            raise UsageError(f"cannot write {path!r}: there is no folder {str(folder)!r}")
        if not os.access(file if file.exists() and not file.is_file() else folder, os.W_OK):
            raise UsageError(f"cannot write {path!r}: permission denied; name another file")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "that is no file name"
        raise UsageError(f"cannot write {path!r}: {reason}; name another file") from None
