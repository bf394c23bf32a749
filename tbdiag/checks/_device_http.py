"""One bounded request to ThingsBoard's HTTP device API, whose URL holds the token.

httpx connects to the address that answered before, and verifies the server once more with exactly
the loaded CA certificates. Redirects, environment proxies and compression are off.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tbdiag.checks._mqtt_channel import ChannelFailed, tls_context, tls_reason
from tbdiag.checks._within import Closable, within
from tbdiag.context import Run
from tbdiag.deadline import Deadline
from tbdiag.errors import os_error_kind
from tbdiag.evidence import CaEvidence, TcpEvidence
from tbdiag.fact import Fact, field, replace
from tbdiag.model import Target, bracketed

if TYPE_CHECKING:
    import httpx

MAX_BODY = 65536
"""Bytes of a response that are read; those of the device API are far smaller."""


class Reply(Fact, frozen=True):
    """What came back, without the URL it was asked with. `outcome` is that of HttpExchange."""

    outcome: str
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    """Names in lower case."""
    body: bytes = b""
    detail: str = ""
    elapsed_ms: float = 0.0

    @property
    def content_type(self) -> str | None:
        """The media type without its parameters, in lower case."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        return kind or None


class Api(Fact, frozen=True):
    """The server of one target: where to connect, what to call it, what to trust."""

    target: Target
    address: str
    context: ssl.SSLContext | None
    proxy: str | None = None

    @property
    def base_url(self) -> str:
        """The URL a person would type, the default port left out."""
        target = self.target
        default = target.effective_port == target.transport.default_port
        port = "" if default else f":{target.effective_port}"
        return f"{target.transport}://{bracketed(target.host)}{port}"

    @property
    def connect_url(self) -> str:
        """The same at the address that answered."""
        address, port = bracketed(self.address), self.target.effective_port
        return f"{self.target.transport}://{address}:{port}"


def open_api(run: Run) -> Api:
    """The server of this run's target, made once and kept; ChannelFailed for a client certificate
    or key that cannot be loaded."""
    if kept := run.kept(Api):
        return kept
    target = run.target
    encrypted = target.transport.encrypted
    context = tls_context(target, run.options, run.get(CaEvidence)) if encrypted else None
    address = run.need(TcpEvidence).connected or target.host
    api = Api(target, address, context, run.options.proxy)
    return run.keep(api, lambda: None)


def ask(run: Run, method: str, path: str, body: bytes | None = None) -> Reply:
    """Send one request before the stage's deadline; whatever goes wrong is in the reply."""
    started = time.monotonic()
    try:
        api = open_api(run)
    except ChannelFailed as failed:
        return Reply("tls", detail=str(failed))
    try:
        reply = within(
            run.deadline,
            "tbdiag device http",
            lambda opened: _fetched(api, method, path, body, run.deadline, opened),
        )
    except TimeoutError as error:
        reply = Reply("timeout", detail=str(error))
    return replace(reply, elapsed_ms=round((time.monotonic() - started) * 1000, 3))


def _fetched(
    api: Api,
    method: str,
    path: str,
    body: bytes | None,
    deadline: Deadline,
    opened: Callable[[Closable], None],
) -> Reply:
    import httpx

    try:
        with _client(api, deadline) as client:
            opened(client)
            with client.stream(
                method,
                api.connect_url + path,
                content=body,
                headers=_headers(api, body),
                extensions={"sni_hostname": api.target.reference_name},
            ) as response:
                return _read(response, deadline)
    except httpx.TimeoutException:
        return Reply("timeout", detail="no answer in time")
    except ImportError:  # httpx leaves SOCKS to a package of its own
        return Reply("unreachable", detail="SOCKS for HTTP needs socksio: pip install socksio")
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, RuntimeError) as error:
        return _failure(error)


def _client(api: Api, deadline: Deadline) -> httpx.Client:
    import httpx

    return httpx.Client(
        verify=api.context or False,  # False: there is no TLS on a typed http://
        proxy=api.proxy,
        trust_env=False,
        follow_redirects=False,
        timeout=max(deadline.remaining(), 0.001),
    )


def _headers(api: Api, body: bytes | None) -> dict[str, str]:
    from tbdiag import __version__

    headers = {
        "Host": api.base_url.partition("://")[2],
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": f"tbdiag/{__version__}",
    }
    return headers if body is None else {**headers, "Content-Type": "application/json"}


def _read(response: httpx.Response, deadline: Deadline) -> Reply:
    body = b""
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > MAX_BODY or deadline.passed:
            break
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply("answered", response.status_code, headers, body[:MAX_BODY])


def _failure(error: BaseException) -> Reply:
    """What failed, found along the causes; httpx's own text may quote the URL: it is left out."""
    import httpx

    cause: BaseException | None = error
    while cause:
        if isinstance(cause, ssl.SSLError):
            return Reply("tls", detail=tls_reason(cause))
        if isinstance(cause, OSError):
            reading = isinstance(error, (httpx.ReadError, httpx.WriteError))
            kind = cause.strerror or os_error_kind(cause)
            return Reply("closed" if reading else "unreachable", detail=kind)
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.RemoteProtocolError):
        if "disconnected" in str(error) or "closed connection" in str(error):
            return Reply("closed", detail="the server closed the connection without an answer")
        return Reply("not-http", detail="the answer is not HTTP")
    return Reply("unreachable", detail=type(error).__name__)
