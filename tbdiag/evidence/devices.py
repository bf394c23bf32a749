"""What the checks of HTTP and CoAP devices see. Paths and URLs here come without the token."""

from __future__ import annotations

from tbdiag.fact import Fact

TOKEN_PLACE = "***"
"""Stands in every path shown where the token was in the path sent."""


class HttpConnectEvidence(Fact, frozen=True):
    """http.connect: what the HTTP server says to a request without the device's token."""

    base_url: str
    outcome: str
    """`thingsboard` (401 without a page: the device API refuses the made-up token), `redirect`,
    `not-thingsboard`, `unavailable` (5xx, 429), `tls-port`, `not-http`, `tls`, `unreachable`,
    `timeout`."""
    status: int | None = None
    content_type: str | None = None
    server: str | None = None
    """The Server header."""
    location: str | None = None
    """Where a redirect points: scheme, host and port only."""
    detail: str = ""
    elapsed_ms: float = 0.0


class HttpExchange(Fact, frozen=True):
    """One request with the token, and what came back."""

    method: str
    url: str
    """With `***` for the token."""
    outcome: str
    """`answered`, `tls`, `unreachable`, `timeout`, `not-http`, `closed`."""
    status: int | None = None
    content_type: str | None = None
    body: str = ""
    """The beginning of the response's body."""
    size: int = 0
    """Bytes of the request's body."""
    json_error: str | None = None
    """Why the request's body is not what ThingsBoard takes; None when it is."""
    detail: str = ""
    elapsed_ms: float = 0.0

    @property
    def accepted(self) -> bool:
        """Whether ThingsBoard took the request: HTTP 200."""
        return self.status == 200


class HttpTelemetryEvidence(HttpExchange, frozen=True):
    """http.telemetry: `POST /api/v1/{token}/telemetry`."""


class HttpAttributesEvidence(HttpExchange, frozen=True):
    """http.attributes: `GET /api/v1/{token}/attributes`."""


class CoapConnectEvidence(Fact, frozen=True):
    """coap.connect: whether a CoAP server answers a ping (RFC 7252 section 4.3)."""

    outcome: str
    """`reset` (the pong), `response`, `silent`, `refused` (ICMP), `not-coap`."""
    address: str | None = None
    """The address that answered."""
    attempts: tuple[tuple[str, str, str], ...] = ()
    """(address, outcome, detail) of every address asked."""
    transmissions: int = 0
    first_bytes: bytes = b""
    """What came back, when that is no CoAP message."""
    detail: str = ""
    elapsed_ms: float = 0.0

    @property
    def answered(self) -> bool:
        """Whether a CoAP server is there."""
        return self.outcome in ("reset", "response")


class CoapExchange(Fact, frozen=True):
    """One CoAP request with the token, and what came back."""

    method: str
    path: str
    """With `***` for the token."""
    outcome: str
    """`response`, `reset`, `silent`, `acknowledged`, `refused`, `not-coap`, `too-large`."""
    code: str | None = None
    """`2.01`, `4.01`, …"""
    payload: str = ""
    """The beginning of the response's payload: data, or a diagnostic text."""
    size: int = 0
    """Bytes of the request's payload."""
    json_error: str | None = None
    transmissions: int = 0
    detail: str = ""
    elapsed_ms: float = 0.0

    @property
    def accepted(self) -> bool:
        """Whether the response is a success: class 2 (RFC 7252 section 5.9.1)."""
        return self.code is not None and self.code.startswith("2.")


class CoapTelemetryEvidence(CoapExchange, frozen=True):
    """coap.telemetry: `POST /api/v1/{token}/telemetry`."""


class CoapAttributesEvidence(CoapExchange, frozen=True):
    """coap.attributes: `GET /api/v1/{token}/attributes`."""
