"""One decorated function is one case: its name is the id, its docstring the description.

    @case(openssl=10, webpki=False, primary="x509.certificate-expired")
    def one_second_after_not_after() -> Given:
        \"\"\"A certificate has expired one second after its not_after.\"\"\"
        return given(...)

The arguments say what each stack decides and what tbdiag names as the cause; the harness asks the
installed `openssl verify` and `cryptography` and compares.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tbdiag.sandbox.authority import Authority, Issued

NOW = datetime(2030, 6, 1, 12, tzinfo=UTC)
"""The moment every case is judged at unless it says otherwise; nothing looks at the clock."""
HOST = "mqtt.example.org"

Holder = Authority | Issued | x509.Certificate | bytes


@dataclass(frozen=True)
class Given:
    """What a client is given: certificates as DER (strict libraries cannot even load some)."""

    presented: tuple[bytes, ...]
    anchors: tuple[bytes, ...]
    host: str = HOST
    at: datetime = NOW

    def replacing(self, server: bytes) -> Given:
        """The same with another server certificate in the place of the first."""
        return replace(self, presented=(server, *self.presented[1:]))


@dataclass(frozen=True)
class Case:
    """One row of the conformance table."""

    id: str
    description: str
    make: Callable[[], Given]
    openssl: int
    """The error number (X509_V_ERR) of our `openssl`; 0 accepts, -1 cannot be loaded."""
    webpki: bool
    """Whether a Web PKI client accepts."""
    primary: str | None
    """The rule that tbdiag names as the cause; None where its OpenSSL verdict is accept."""
    program: frozenset[int]
    """The error numbers the installed program may say; others than `openssl` only with `why`."""
    profile: bool
    """Whether cryptography's own, stricter CA/Browser profile accepts."""
    why: str | None
    """Why program and library, or the two profiles, differ."""


CASES: dict[str, Case] = {}


def case(
    *,
    openssl: int,
    webpki: bool,
    primary: str | None = None,
    program: int | set[int] | None = None,
    profile: bool | None = None,
    why: str | None = None,
) -> Callable[[Callable[[], Given]], Callable[[], Given]]:
    """Register the function as a case; a second one of its name is an error."""
    profile = webpki if profile is None else profile
    programs = frozenset(
        {openssl} if program is None else {program} if isinstance(program, int) else program
    )
    assert (programs == {openssl} and profile == webpki) or why, "a difference needs its reason"

    def register(make: Callable[[], Given]) -> Callable[[], Given]:
        assert make.__name__ not in CASES, f"there are two cases {make.__name__}"
        assert make.__doc__, f"{make.__name__} has no description"
        CASES[make.__name__] = Case(
            make.__name__, make.__doc__, make, openssl, webpki, primary, programs, profile, why
        )
        return make

    return register


def der(holder: Holder) -> bytes:
    """The certificate of an authority or a server as DER."""
    if isinstance(holder, bytes):
        return holder
    certificate = holder if isinstance(holder, x509.Certificate) else holder.certificate
    return certificate.public_bytes(Encoding.DER)


def given(server: Issued, *anchors: Holder, host: str = HOST, at: datetime = NOW) -> Given:
    """What `server` presents (its own certificate, then its chain) against these anchors."""
    return presenting(server, *server.chain).against(*anchors, host=host, at=at)


@dataclass(frozen=True)
class Shown:
    """A certificate_list, to be put before a client."""

    presented: tuple[bytes, ...]

    def against(self, *anchors: Holder, host: str = HOST, at: datetime = NOW) -> Given:
        """The same for a client whose CA file holds `anchors`."""
        return Given(self.presented, tuple(map(der, anchors)), host, at)


def presenting(*holders: Holder) -> Shown:
    """Exactly these certificates, in this order."""
    return Shown(tuple(map(der, holders)))
