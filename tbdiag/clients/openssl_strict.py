"""OpenSSL as Python 3.13's ssl.create_default_context() sets it up.

VERIFY_X509_STRICT refuses what RFC 5280 forbids (a CA without keyUsage, …).
VERIFY_X509_PARTIAL_CHAIN trusts any certificate of the CA file as an anchor: an intermediate, and
the server's own too.
"""

from __future__ import annotations

from datetime import datetime

from tbdiag.clients._openssl_errors import AFTER_NAME
from tbdiag.clients.openssl import Verification, decision, verify
from tbdiag.evidence import Certificate, ClientDecision
from tbdiag.fact import replace
from tbdiag.protocol.tls_names import verify_error

PARTIAL_CHAIN = 0x80000
X509_STRICT = 0x20
NOT_CRITICAL = 89
BASIC_CONSTRAINTS = "2.5.29.19"


def decide(
    presented: tuple[Certificate, ...],
    anchors: tuple[Certificate, ...],
    server_name: str,
    at: datetime,
) -> ClientDecision:
    """The verdict of Python 3.13's default context."""
    seen = verify(presented, anchors, at, PARTIAL_CHAIN | X509_STRICT)
    return decision(_as_openssl_3(seen), presented[0], server_name)


def _as_openssl_3(seen: Verification) -> Verification:
    """OpenSSL 3, which Python 3.13 is built with, also wants basicConstraints of CAs critical.

    OpenSSL 4, which judges here, no longer does.
    """
    lax = [n for n, c in enumerate(seen.path) if c.is_ca and BASIC_CONSTRAINTS not in c.critical]
    earlier = [error for error in seen.errors if error.code not in AFTER_NAME]
    if not lax or earlier or len(seen.path) < 2:
        return seen
    first = verify_error(NOT_CRITICAL, lax[0], seen.path[lax[0]].der)
    return replace(seen, errors=(first, *seen.errors))
