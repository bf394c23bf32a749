"""The token proven by HTTP, which leaves the device's own MQTT session alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from tbdiag.checks._within import Closable, within
from tbdiag.context import Run
from tbdiag.deadline import Deadline
from tbdiag.evidence import CaEvidence, HttpTokenEvidence
from tbdiag.fact import Record, field
from tbdiag.model import Options, Target
from tbdiag.protocol.public_roots import bundle_path
from tbdiag.registry import Observation, check

if TYPE_CHECKING:
    import ssl

    import httpx

MAX_BODY = 65536
"""Bytes of the response that are read; attributes of a device are far smaller."""
SHARE = 0.6
"""Share of the time left that this stage may take: the MQTT stages come after it."""
HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity"}
REDIRECTS = range(300, 400)
UNAVAILABLE = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses that say nothing about the token: overload, rate limits, a proxy without its server."""


def with_http_base(target: Target, options: Options) -> str | None:
    """The token is proven by HTTP only where a token and the server's HTTP address are known."""
    del options
    if not target.credentials.token:
        return "no token given: only access tokens can be proven by HTTP"
    if not target.http_url:
        return "the HTTP address of this installation is not known: give it with --http-url"
    return None


@check(
    "http.token",
    title="Token (HTTP)",
    order=60,
    after=("ca.load", "tls.verify"),
    timeout=8.0,
    applies=with_http_base,
    imports=("httpx",),
)
def token(run: Run) -> Observation[HttpTokenEvidence]:
    """Ask ThingsBoard's HTTP device API whether it knows the token.

    `GET {base}/api/v1/{token}/attributes` answers 200 for a known token and 401 for an unknown one,
    and unlike an MQTT connection it does not close the device's own session. The server is verified
    by the given CA file or by the public roots, never by a mixture; plain http:// is used only when
    it was typed. Redirects are not followed: the token is part of the URL.
    """
    base = (run.target.http_url or "").rstrip("/")
    secret = run.target.credentials.token
    url = f"{base}/api/v1/{quote(secret.reveal() if secret else '', safe='')}/attributes"
    started = time.monotonic()
    reply = _Reply(error="unreachable", detail="the URL has no http:// or https:// in front")
    deadline = run.deadline.sooner(run.deadline.remaining() * SHARE)
    for name, context in _trusts(base, run.get(CaEvidence)):
        reply = _get(url, context, run.options.proxy, deadline)
        reply.verified_by = name
        if reply.error != "tls":
            break
    evidence = _evidence(base, reply, round((time.monotonic() - started) * 1000, 3))
    return Observation(evidence, True, _summary(evidence))


class _Reply(Record):
    """What came back, without the URL it was asked with."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    error: str | None = None
    detail: str = ""
    verified_by: str | None = None


def _trusts(base: str, ca: CaEvidence | None) -> Iterator[tuple[str | None, ssl.SSLContext | None]]:
    """The sets of trust anchors to try, one after the other: the CA file's, then the public."""
    scheme = urlsplit(base).scheme
    if scheme == "http":
        yield None, None
    if scheme != "https":
        return
    import ssl

    if ca and ca.certificates and not ca.public:
        private = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        private.verify_flags = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST
        for certificate in ca.certificates:
            with suppress(ssl.SSLError):
                private.load_verify_locations(cadata=certificate.der)
        yield "CA file", private
    public = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    public.verify_flags = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST
    public.load_verify_locations(cafile=bundle_path())
    yield "public roots", public


def _get(url: str, context: ssl.SSLContext | None, proxy: str | None, deadline: Deadline) -> _Reply:
    """GET, bounded by the deadline as a whole."""
    try:
        return within(
            deadline, "tbdiag http", lambda opened: _fetch(url, context, proxy, deadline, opened)
        )
    except TimeoutError as error:
        return _Reply(error="timeout", detail=str(error))


def _fetch(
    url: str,
    context: ssl.SSLContext | None,
    proxy: str | None,
    deadline: Deadline,
    opened: Callable[[Closable], None],
) -> _Reply:
    import httpx

    try:
        with (
            httpx.Client(
                verify=context or False,  # False: there is no TLS on a typed http://
                proxy=proxy,
                trust_env=False,
                follow_redirects=False,
                timeout=max(deadline.remaining(), 0.001),
            ) as client,
        ):
            opened(client)
            return _answered(client, url, deadline)
    except httpx.TimeoutException:
        return _Reply(error="timeout", detail="no answer in time")
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, ImportError) as error:
        return _failure(error)


def _answered(client: httpx.Client, url: str, deadline: Deadline) -> _Reply:
    with client.stream("GET", url, headers=HEADERS) as response:
        body = b""
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > MAX_BODY or deadline.passed:
                break
        return _Reply(response.status_code, dict(response.headers), body[:MAX_BODY])


def _failure(error: BaseException) -> _Reply:
    """What failed, found along the causes; httpx's own text may quote the URL: it is left out."""
    import ssl

    import httpx

    if isinstance(error, httpx.ProxyError):
        return _Reply(error="unreachable", detail=f"the proxy refused: {error}"[:200])
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _Reply(error="tls", detail=f"certificate verify failed: {cause.verify_message}")
        if isinstance(cause, ssl.SSLError):
            reason = (cause.reason or "TLS error").lower().replace("_", " ")
            return _Reply(error="tls", detail=reason)
        if isinstance(cause, OSError):
            return _Reply(error="unreachable", detail=cause.strerror or type(cause).__name__)
        cause = cause.__cause__ or cause.__context__
    return _Reply(error="unreachable", detail=type(error).__name__)


def _evidence(base: str, reply: _Reply, elapsed_ms: float) -> HttpTokenEvidence:
    kind = reply.headers.get("content-type", "").partition(";")[0].strip() or None
    error, detail = reply.error, reply.detail
    if reply.status is not None:
        error, detail = _not_thingsboard(reply, kind)
    return HttpTokenEvidence(
        base, reply.status, kind, error, detail, elapsed_ms, verified_by=reply.verified_by
    )


def _not_thingsboard(reply: _Reply, kind: str | None) -> tuple[str | None, str]:
    """Whether the answer is one of ThingsBoard's device API: JSON for 200, no body for 401."""
    status, html = reply.status or 0, kind == "text/html"
    if status in UNAVAILABLE and not html:
        return "unreachable", f"HTTP {status}"
    if status in UNAVAILABLE:
        return (
            "unreachable",
            f"HTTP {status} with an HTML page, as a proxy without its server sends",
        )
    if status in REDIRECTS:
        parts = urlsplit(reply.headers.get("location", ""))
        where = f"{parts.scheme}://{parts.hostname}" if parts.hostname else "another path"
        return "not-thingsboard", f"HTTP {status}, a redirect to {where}, not followed"
    if status == 200 and reply.body.lstrip()[:1] == b"{":
        return None, ""
    if status == 401 and not html:
        return None, ""
    if status == 403 and b"deleted" in reply.body:
        return None, "Device was deleted!"
    return "not-thingsboard", f"HTTP {status} with {kind or 'no content type'}"


def _summary(seen: HttpTokenEvidence) -> str:
    if seen.error:
        return f"{seen.base_url}: {seen.error} ({seen.detail})"
    known = {
        200: "the token is known",
        401: "the token is not known",
        403: "the device was deleted",
    }
    return f"HTTP {seen.status}: {known.get(seen.status or 0, '')}"
