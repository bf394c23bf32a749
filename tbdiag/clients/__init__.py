"""What each device TLS stack decides about a presented chain, offline: one module per stack.

Every stack runs its real library, with its own rules, on the certificates as captured: no network,
no clock. `CLIENTS` is the table; `decide_all` asks each of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from datetime import datetime

from tbdiag.errors import UsageError
from tbdiag.evidence import Certificate, ClientDecision
from tbdiag.fact import Fact, replace

Decide = Callable[[tuple[Certificate, ...], tuple[Certificate, ...], str, datetime], ClientDecision]
"""decide(presented, anchors, server_name, at): see `Client.decide`."""


class Client(Fact, frozen=True):
    """One device TLS stack."""

    id: str
    module: str
    """The module of this package that holds its `decide`; imported on first use."""
    stands_for: str
    """The devices and programs that decide like this."""
    limits: str
    """What it does not stand for."""

    def decide(
        self,
        presented: tuple[Certificate, ...],
        anchors: tuple[Certificate, ...],
        server_name: str,
        at: datetime,
    ) -> ClientDecision:
        """This stack's verdict on `presented` (end-entity certificate first) for `server_name`.

        `anchors` is what its CA file holds; `at` (aware) is the moment to judge at. The name is
        part of the verdict. Never raises for what the certificates hold.
        """
        module = importlib.import_module(f"tbdiag.clients.{self.module}")
        decision: ClientDecision = module.decide(presented, anchors, server_name, at)
        return replace(decision, client=self.id, stands_for=self.stands_for)


CLIENTS: dict[str, Client] = {
    client.id: client
    for client in (
        Client(
            "openssl",
            "openssl",
            "mosquitto_pub, paho, Python up to 3.12, most Linux gateways",
            "OpenSSL at security level 0 or 1, or with a CA directory besides the CA file.",
        ),
        Client(
            "openssl-strict",
            "openssl_strict",
            "Python 3.13 and newer with ssl.create_default_context()",
            "Python programs that build their own SSLContext: they decide as `openssl` does.",
        ),
        Client(
            "mbedtls",
            "mbedtls",
            "ESP32 (ESP-IDF, Arduino), Zephyr",
            "Firmware that skips the name or the dates (no clock), or changes the profile; "
            "before mbedTLS 3.5 an IP address in the certificate is not matched.",
        ),
        Client(
            "webpki",
            "webpki",
            "rustls, Go, and others that follow the Web PKI",
            "Go trusts an end-entity certificate that is itself in the CA file; rustls does not.",
        ),
    )
}
"""Every stack, in the order reports show them."""

ALIASES = {"python": "openssl-strict", "python3.13": "openssl-strict", "mosquitto": "openssl"}
"""Other words that `--client` takes."""


def client_named(name: str) -> Client:
    """The stack that `--client NAME` means; UsageError names the choices for anything else."""
    client = CLIENTS.get(ALIASES.get(name, name))
    if client is None:
        choices = ", ".join([*CLIENTS, *ALIASES])
        raise UsageError(f"--client {name}: no such TLS stack; choose one of {choices}")
    return client


def decide_all(
    presented: tuple[Certificate, ...],
    anchors: tuple[Certificate, ...],
    server_name: str,
    at: datetime,
) -> tuple[ClientDecision, ...]:
    """The verdict of every stack; see `Client.decide` for the arguments."""
    return tuple(client.decide(presented, anchors, server_name, at) for client in CLIENTS.values())


def require_verdict(decision: ClientDecision) -> None:
    """UsageError when the stack that is to decide could not be asked: its library is missing."""
    if decision.verdict == "unknown":
        raise UsageError(f"--client {decision.client}: {decision.reason}")
