"""OpenSSL as Python 3.13's ssl.create_default_context() sets it up.

VERIFY_X509_STRICT refuses what RFC 5280 forbids (a CA without keyUsage, …).
VERIFY_X509_PARTIAL_CHAIN trusts any certificate of the CA file as an anchor: an intermediate, and
the server's own too.
"""

from __future__ import annotations

from datetime import datetime

from tbdiag.clients.openssl import decision, verify
from tbdiag.evidence import Certificate, ClientDecision

PARTIAL_CHAIN = 0x80000
X509_STRICT = 0x20


def decide(
    presented: tuple[Certificate, ...],
    anchors: tuple[Certificate, ...],
    server_name: str,
    at: datetime,
) -> ClientDecision:
    """The verdict of Python 3.13's default context."""
    seen = verify(presented, anchors, at, PARTIAL_CHAIN | X509_STRICT)
    return decision(seen, presented[0], server_name)
