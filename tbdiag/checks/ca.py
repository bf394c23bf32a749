"""ca.load: where the trust anchors come from, and what they are."""

from __future__ import annotations

import functools
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from tbdiag.checks._applies import encrypted_only
from tbdiag.context import Run
from tbdiag.deadline import Deadline
from tbdiag.evidence import CaEvidence, CaProblem, CaSource
from tbdiag.protocol.ca_file import MAX_BYTES, MAX_KEPT, read_ca
from tbdiag.protocol.public_roots import public_source
from tbdiag.registry import Observation, check
from tbdiag.turns import answer

AUTO_SECONDS = 4.0
"""What the platform's own download may take with `auto`; the public roots are used after it."""
URL_SECONDS = 8.0
"""What a URL that the user gave may take."""
READING_SECONDS = 3600.0
"""What reading may take offline, where a person may be pasting into standard input."""


@check(
    "ca.load",
    title="CA chain",
    order=10,
    imports=("cryptography.x509",),
    timeout=10.0,
    transports=("mqtts", "mqtt", "https", "http", "coaps", "coap"),
    applies=encrypted_only,
)
def load(run: Run) -> Observation[CaEvidence]:
    """Read the trust anchors that `--cafile` names.

    A path, a URL, `-` for stdin, `public` for the public roots, or `auto`: the platform's own
    download, else the public roots. Any format is read; what is not a PEM certificate is named.
    """
    sources: list[CaSource] = []
    attempts: list[CaSource] = []
    for given in run.target.cafile:
        if given == "auto":
            sources.append(_auto(run, attempts))
        else:
            sources.append(load_source(given, run))
    evidence = CaEvidence(tuple(sources), tuple(attempts))
    return Observation(evidence, bool(evidence.certificates), summary(evidence))


def load_source(given: str, run: Run, limit: int | None = None) -> CaSource:
    """Read one source: `public`, `-`, a URL or a path. UsageError for an unusable URL.

    `limit` is how many certificates of a file or of standard input are parsed; None for the usual.
    """
    if given == "public":
        return public_source(given)
    if given == "-":
        stdin = "standard input"
        return _read(given, "stdin", stdin, lambda: sys.stdin.buffer, limit, run.deadline)
    if given.startswith("-----BEGIN"):  # a gateway's caCert may hold the PEM itself
        return read_ca(given.encode()[:MAX_BYTES], "inline PEM", "file", "the configuration")
    if given.lower().startswith(("http://", "https://")):
        from tbdiag.checks._platform_ca import downloaded_ca

        deadline = run.deadline.sooner(URL_SECONDS)
        return downloaded_ca(given, given, deadline, proxy=run.options.proxy)
    return _file(given, run.deadline, limit)


def _file(path: str, deadline: Deadline, limit: int | None) -> CaSource:
    """The CA file at `path`; read again only when it has changed, for many targets share one."""
    try:
        now = os.stat(path)
    except (OSError, ValueError):
        return _read_file(path, limit)
    if not stat.S_ISREG(now.st_mode):
        return _read_file(path, limit, deadline)
    if limit or now.st_size > MAX_KEPT:
        return _read_file(path, limit)
    return _unchanged_file(path, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)


@functools.lru_cache(maxsize=16)
def _unchanged_file(path: str, *_identity: int) -> CaSource:
    return _read_file(path)


def _read_file(path: str, limit: int | None = None, deadline: Deadline | None = None) -> CaSource:
    return _read(path, "file", path, lambda: Path(path).open("rb"), limit, deadline)


def _auto(run: Run, attempts: list[CaSource]) -> CaSource:
    """The platform's download where it gives certificates, else the public roots."""
    from tbdiag.checks._platform_ca import download_url, downloaded_ca

    url = download_url(run.target)
    if url:
        deadline = run.deadline.sooner(AUTO_SECONDS)
        source = downloaded_ca(url, "auto", deadline, proxy=run.options.proxy)
        if source.certificates:
            return source
        attempts.append(source)
    return public_source("auto")


def _read(
    given: str,
    origin: str,
    location: str,
    open_it: Callable[[], BinaryIO],
    limit: int | None = None,
    deadline: Deadline | None = None,
) -> CaSource:
    """With a `deadline`, for what may never end: a pipe waits for whoever writes into it."""

    def content() -> bytes:
        with open_it() as file:
            return file.read(MAX_BYTES + 1)

    try:
        data = _in_time(content, deadline) if deadline else content()
    except (OSError, ValueError) as error:
        return _unreadable(given, origin, location, error)
    return read_ca(data, given, origin, location, limit)


def _in_time(content: Callable[[], bytes], deadline: Deadline) -> bytes:
    try:
        return answer(content, deadline.remaining(), "tbdiag CA file")
    except TimeoutError:
        raise TimeoutError("nothing came, or no end") from None


def _unreadable(given: str, origin: str, location: str, error: Exception) -> CaSource:
    kind, reason = "file-unreadable", getattr(error, "strerror", None) or str(error)
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        kind = "file-not-found"
    elif isinstance(error, IsADirectoryError):
        reason = "it is a folder, not a file"
    return CaSource(given, origin, location, "unknown", problems=(CaProblem(kind, reason),))


def _count(number: int) -> str:
    return f"{number:,} certificate{'' if number == 1 else 's'}"


def summary(evidence: CaEvidence) -> str:
    """One line for the table: how many certificates from where, and which one ends first."""
    found = evidence.certificates
    if not found:
        details = [f"{s.location}: {p.detail}" for s in evidence.sources for p in s.problems[:1]]
        return "no certificate: " + ("; ".join(details) or "no CA file named")
    where = ", ".join(s.location for s in evidence.sources if s.certificates)
    if evidence.public:
        tried = "; no CA file from the platform" if evidence.attempts else ""
        return f"{_count(len(found))} from the {where}{tried}"
    first = min(found, key=lambda c: c.not_after)
    expiry = f"earliest expiry {first.not_after.date()} ({first.name})"
    return f"{_count(len(found))} from {where}; {expiry}"
