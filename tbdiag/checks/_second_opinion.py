"""Second opinions on a chain that was refused: evidence for the cause, never trust."""

from __future__ import annotations

import base64
import functools
from collections.abc import Iterable
from datetime import datetime

from tbdiag.clients.openssl import verify
from tbdiag.context import Run
from tbdiag.evidence import (
    CaEvidence,
    Certificate,
    SecondOpinion,
    TcpEvidence,
)
from tbdiag.protocol.x509 import UnparsableCertificate, parse_certificate
from tbdiag.protocol.x509_identity import ip_literal

WEB_PORT = 443
WEB_SECONDS = 2.0


def second_opinion(run: Run, ca: CaEvidence, presented: tuple[Certificate, ...]) -> SecondOpinion:
    """What the public roots and the web server on the same host say about a refused chain.

    The web server is asked only where it can explain something: the path does not end at an anchor
    of the CA file, `options.compare_web` allows it and no proxy stands between.
    """
    anchors = ca.certificates
    public = None if ca.public else public_anchor(presented, run.now)
    path_stands = verify(presented, anchors, run.now).accepted
    web = () if path_stands else _web_chain(run)
    return SecondOpinion(
        public_anchor=public,
        web_chain=web,
        web_trusted_by_ca_file=bool(web) and verify(web, anchors, run.now).accepted,
    )


def public_anchor(presented: tuple[Certificate, ...], at: datetime) -> Certificate | None:
    """The public root that validates `presented` without the user's CA file, or None."""
    roots = _public_roots(frozenset(c.issuer_der for c in presented))
    seen = verify(presented, roots, at)
    return seen.path[-1] if roots and seen.accepted and seen.path else None


def _public_roots(issuers: frozenset[bytes]) -> tuple[Certificate, ...]:
    """The public roots whose subject is one of `issuers` (DER names)."""
    parsed = []
    for der in _public_ders():
        if any(name in der for name in issuers):
            try:
                parsed.append(parse_certificate(der))
            except UnparsableCertificate:
                continue
    return tuple(c for c in parsed if c.subject_der in issuers)


@functools.cache
def _public_ders() -> tuple[bytes, ...]:
    """Every certificate of certifi's bundle as DER."""
    import certifi

    with open(certifi.where(), encoding="ascii", errors="replace") as bundle:
        text = bundle.read()
    return tuple(_blocks(text))


def _blocks(text: str) -> Iterable[bytes]:
    for part in text.split("-----BEGIN CERTIFICATE-----")[1:]:
        yield base64.b64decode(part.partition("-----END CERTIFICATE-----")[0])


def _web_chain(run: Run) -> tuple[Certificate, ...]:
    """What port 443 of the same host presents; () when it is not asked or does not answer."""
    port = int(run.options.extra.get("web_port", WEB_PORT))
    tcp = run.get(TcpEvidence)
    if not run.options.compare_web or run.options.proxy or port == run.target.effective_port:
        return ()
    if tcp is None or tcp.connected is None:
        return ()
    return capture_chain(tcp.connected, port, run.target.host, run)


def capture_chain(address: str, port: int, host: str, run: Run) -> tuple[Certificate, ...]:
    """The certificate_list that `address`:`port` presents for `host`; () when it shows none.

    Nothing but a ClientHello is sent, and no more than two seconds are spent.
    """
    from tbdiag.protocol.tls import Hello, handshake
    from tbdiag.protocol.transport import dial

    deadline = run.deadline.sooner(WEB_SECONDS)
    family = "IPv6" if ":" in address else "IPv4"
    _, channels = dial([(family, address)], port, deadline)
    for channel in channels.values():
        name = None if ip_literal(host) else host
        return handshake(channel, Hello(server_name=name), deadline).certificate_list
    return ()
