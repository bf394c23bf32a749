"""Fetch absent issuers from where the certificates say (authorityInformationAccess caIssuers).

Only on demand (`--aia`), because whoever made the certificate chose the URLs: http and https only,
addresses resolved once and refused when private unless the target is private itself, no redirects,
no credentials, no environment proxies, small answers, few of them, one deadline. What is fetched is
never trusted for having been fetched: it only fills gaps in a path.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from tbdiag.checks._within import Closable, within
from tbdiag.deadline import Deadline
from tbdiag.evidence import Certificate
from tbdiag.model import bracketed
from tbdiag.protocol.ca_file import read_ca
from tbdiag.protocol.transport import resolve
from tbdiag.protocol.x509 import issued_by, paths

Chain = tuple[Certificate, ...]

MAX_BYTES = 64 * 1024
MAX_HOPS = 5
MAX_URLS = 8


def fetch_issuers(
    presented: Chain, deadline: Deadline, *, private: bool = False
) -> tuple[Chain, tuple[str, ...]]:
    """The issuers above `presented` that could be fetched, and what went wrong, a clause each.

    Climbs from the end of the presented path until a self-signed certificate, at most `MAX_HOPS`
    times. `private` allows addresses that are not public: only where the target has one itself.
    """
    fetched: list[Certificate] = []
    problems: list[str] = []
    asked: set[str] = set()
    for _ in range(MAX_HOPS):
        top = max(paths(presented[0], (*presented[1:], *fetched)), key=len)[-1]
        fresh = [url for url in top.ca_issuers if url not in asked][: MAX_URLS - len(asked)]
        if top.self_signed or not fresh or deadline.passed:
            break
        asked.update(fresh)
        found = _first_issuer(top, fresh, deadline, private, problems)
        if found is None:
            break
        fetched.append(found)
    return tuple(fetched), tuple(problems)


def _first_issuer(
    child: Certificate, urls: list[str], deadline: Deadline, private: bool, problems: list[str]
) -> Certificate | None:
    """The certificate at one of `urls` whose key verifies `child`."""
    for url in urls:
        try:
            body = _get(url, deadline, private)
        except ValueError as error:
            problems.append(f"{url}: {error}")
            continue
        candidates = read_ca(body, url, "download", url).certificates
        issuer = next((c for c in candidates if issued_by(child, c)), None)
        if issuer is not None:
            return issuer
        problems.append(f'{url}: it does not hold the issuer of "{child.name}"')
    return None


def _get(url: str, deadline: Deadline, private: bool) -> bytes:
    """The body at `url`; ValueError says why there is none."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ValueError("not a URL that is fetched")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = _address(parts.hostname, port, deadline, private)
    import httpx

    target = httpx.URL(url).copy_with(host=bracketed(address), port=port)
    headers = {"Host": parts.netloc, "Accept-Encoding": "identity"}
    extensions = {"sni_hostname": parts.hostname}

    def fetch(opened: Callable[[Closable], None]) -> bytes:
        with httpx.Client(trust_env=False, timeout=max(0.1, deadline.remaining())) as client:
            opened(client)
            request = client.build_request("GET", target, headers=headers, extensions=extensions)
            return _body(client.send(request, stream=True), deadline)

    try:
        return within(deadline, "tbdiag aia", fetch)
    except (httpx.HTTPError, OSError) as error:
        raise ValueError(str(error) or type(error).__name__) from None


def _body(response: Any, deadline: Deadline) -> bytes:
    try:
        if response.status_code != 200:
            raise ValueError(f"HTTP {response.status_code}")
        body = b""
        for chunk in response.iter_raw(8192):
            body += chunk
            if len(body) > MAX_BYTES:
                raise ValueError(f"the answer is longer than {MAX_BYTES // 1024} KiB")
            if deadline.passed:
                raise ValueError("no complete answer in time")
        return body
    finally:
        response.close()


def _address(host: str, port: int, deadline: Deadline, private: bool) -> str:
    """The first address of `host`, which must be public unless `private`."""
    found = resolve(host, port, None, deadline)
    if not found.addresses:
        raise ValueError(found.detail or found.error or "the host has no address")
    for _, address in found.addresses:
        if not private and not ipaddress.ip_address(address.partition("%")[0]).is_global:
            raise ValueError(f"{address} is not a public address")
    return found.addresses[0][1]
