"""Downloading a small file over HTTP with everything bounded: time, size, redirects, trust.

HTTPS is verified with the public roots only. No credentials, cookies, environment proxies or
compression. A request runs in a thread of its own, because neither getaddrinfo nor a peer that
drips one byte at a time can be interrupted otherwise.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

from tbdiag.checks._within import Closable, within
from tbdiag.deadline import Deadline
from tbdiag.errors import UsageError
from tbdiag.fact import Fact
from tbdiag.protocol.public_roots import bundle_path

MAX_BYTES = 1 << 20
MAX_REDIRECTS = 3
_REDIRECTS = (301, 302, 303, 307, 308)


class Download(Fact, frozen=True):
    """What a URL answered, or why there is no answer (`failure`: a clause, no full stop)."""

    url: str
    """The URL that answered, after redirects."""
    status: int | None = None
    content_type: str | None = None
    body: bytes = b""
    failure: str | None = None


class _Refused(Exception):
    """The download must not go on; the message says why."""


def checked_url(url: str) -> str:
    """The URL itself; UsageError when it cannot be fetched or carries a user name or password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UsageError(f"{url!r} is not a URL") from None
    if parts.username is not None or parts.password is not None:
        raise UsageError("the URL of a CA file must not hold a user name or password")
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise UsageError(f"{url!r} is not a URL that can be fetched: use https://HOST/PATH")
    return url


def download(url: str, deadline: Deadline, *, proxy: str | None = None) -> Download:
    """Fetch `url` before `deadline`; whatever goes wrong is in `failure`, nothing is raised.

    Follows at most three redirects, none from https to http. `proxy` is a proxy URL.
    """
    try:
        return within(
            deadline, "tbdiag download", lambda opened: _fetched(url, deadline, proxy, opened)
        )
    except TimeoutError as error:
        return Download(url, failure=str(error))


def _fetched(
    url: str, deadline: Deadline, proxy: str | None, opened: Callable[[Closable], None]
) -> Download:
    import httpx

    try:
        with _client(httpx, deadline, proxy) as client:
            opened(client)
            return _followed(client, url)
    except _Refused as error:
        return Download(url, failure=str(error))
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, RuntimeError) as error:
        return Download(url, failure=_reason(error))


def _client(httpx: Any, deadline: Deadline, proxy: str | None) -> Any:
    from tbdiag import __version__

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(bundle_path())
    headers = {"User-Agent": f"tbdiag/{__version__}", "Accept-Encoding": "identity"}
    timeout = max(0.1, deadline.remaining())
    return httpx.Client(
        verify=context, trust_env=False, proxy=proxy, timeout=timeout, headers=headers
    )


def _followed(client: Any, url: str) -> Download:
    for _ in range(MAX_REDIRECTS + 1):
        with client.stream("GET", url) as response:
            location = response.headers.get("location")
            if response.status_code not in _REDIRECTS or not location:
                body = _body(response.iter_raw(16384))
                kind = response.headers.get("content-type")
                return Download(url, response.status_code, kind, body)
            url = _next(url, location)
    raise _Refused(f"more than {MAX_REDIRECTS} redirects")


def _next(url: str, location: str) -> str:
    target = urljoin(url, location)
    parts = urlsplit(target)
    if parts.scheme not in ("http", "https"):
        raise _Refused(f"it redirects to {parts.scheme}:, which is not HTTP")
    if urlsplit(url).scheme == "https" and parts.scheme == "http":
        raise _Refused(f"it redirects from https to http ({parts.hostname})")
    if parts.username is not None or parts.password is not None:
        raise _Refused("it redirects to a URL with a password")
    return target


def _body(chunks: Iterator[bytes]) -> bytes:
    body = b""
    for chunk in chunks:
        body += chunk
        if len(body) > MAX_BYTES:
            raise _Refused(f"the answer is longer than {MAX_BYTES // 1024} KiB")
    return body


def _reason(error: Exception) -> str:
    """Why a request failed, in the words of the innermost exception that has some."""
    if type(error).__name__ == "ProxyError":
        return f"the proxy refused: {error}"
    cause: BaseException = error
    while (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its HTTPS certificate is not trusted by the public roots: {cause.verify_message}"
    text = getattr(cause, "strerror", None) or str(cause) or str(error) or type(error).__name__
    return str(text).strip().rstrip(".")
