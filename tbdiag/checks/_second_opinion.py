"""Second opinions on a server's chain: evidence for a cause, never trust.

The public roots and the web server of the same host are asked only when the chain was refused. The
platform's own CA download is compared whenever its address is known and the CA file is another one,
because a stale download locks out the next device even where this one still connects.
"""

from __future__ import annotations

from datetime import datetime

from tbdiag.clients._openssl_errors import NO_PATH
from tbdiag.clients.openssl import verify
from tbdiag.context import Run
from tbdiag.evidence import CaEvidence, Certificate, SecondOpinion, TcpEvidence
from tbdiag.protocol.public_roots import public_roots
from tbdiag.protocol.x509_identity import ip_literal

WEB_PORT = 443
WEB_SECONDS = 2.0
DOWNLOAD_SECONDS = 2.0


def second_opinion(
    run: Run, ca: CaEvidence, presented: tuple[Certificate, ...], *, trusted: bool
) -> SecondOpinion:
    """What others say about `presented`; `trusted` is whether the deciding client accepts it."""
    downloaded, source = _download(run, ca)
    opinion = SecondOpinion(
        downloaded=downloaded,
        downloaded_from=source,
        downloaded_trusts=reaches(presented, downloaded, run.now) if downloaded else None,
    )
    if trusted:
        return opinion
    public = None if ca.public else public_anchor(presented, run.now)
    web = () if reaches(presented, ca.certificates, run.now) else _web_chain(run)
    return SecondOpinion(
        public_anchor=public,
        web_chain=web,
        web_trusted_by_ca_file=bool(web) and reaches(web, ca.certificates, run.now),
        downloaded=opinion.downloaded,
        downloaded_from=opinion.downloaded_from,
        downloaded_trusts=opinion.downloaded_trusts,
    )


def public_anchor(presented: tuple[Certificate, ...], at: datetime) -> Certificate | None:
    """The public root that validates `presented` without the user's CA file, or None."""
    seen = verify(presented, public_roots(), at)
    return seen.path[-1] if seen.accepted and seen.path else None


def reaches(
    presented: tuple[Certificate, ...], anchors: tuple[Certificate, ...], at: datetime
) -> bool:
    """Whether OpenSSL finds a path from `presented` to `anchors`, whatever its dates and names."""
    seen = verify(presented, anchors, at)
    return seen.failure is None and not NO_PATH.intersection(error.code for error in seen.errors)


def _download(run: Run, ca: CaEvidence) -> tuple[tuple[Certificate, ...], str | None]:
    """What the platform offers as its CA file, and where; nothing when it need not be asked."""
    explicit = all(source.origin in ("file", "stdin") for source in ca.sources)
    if not run.target.http_url or not explicit:
        return (), None
    from tbdiag.checks._platform_ca import download_url, downloaded_ca

    url = download_url(run.target)
    if url is None:
        return (), None
    deadline = run.deadline.sooner(DOWNLOAD_SECONDS)
    source = downloaded_ca(url, url, deadline, proxy=run.options.proxy)
    return source.certificates, source.location if source.certificates else None


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
