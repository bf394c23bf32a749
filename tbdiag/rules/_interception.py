"""Recognise the CAs of products that decrypt TLS on the way and sign certificates of their own."""

from __future__ import annotations

import re

from tbdiag.evidence import Certificate

PRODUCTS = {
    "avast": "Avast",
    "avg technologies": "AVG",
    "barracuda": "Barracuda",
    "bitdefender": "Bitdefender",
    "blue ?coat": "Blue Coat (Symantec)",
    "charles proxy": "Charles Proxy",
    "check ?point": "Check Point",
    "cisco umbrella": "Cisco Umbrella",
    "cloudflare(?: for teams|.*gateway ca)": "Cloudflare Gateway",
    "do_not_trust_fiddler": "Fiddler",
    "eset ssl filter": "ESET",
    "forcepoint": "Forcepoint",
    "forti(?:gate|net)": "Fortinet FortiGate",
    "iboss": "iboss",
    "kaspersky": "Kaspersky",
    "mcafee web gateway|skyhigh": "Skyhigh Secure Web Gateway",
    "mitmproxy": "mitmproxy",
    "netskope": "Netskope",
    "palo alto networks": "Palo Alto Networks",
    "portswigger": "Burp Suite",
    "smoothwall": "Smoothwall",
    "sonicwall": "SonicWall",
    "sophos": "Sophos",
    "squid": "Squid",
    "trend micro": "Trend Micro",
    "untangle": "Untangle",
    "watchguard|fireware": "WatchGuard",
    "websense": "Websense",
    "zscaler": "Zscaler",
}
"""What stands in the name of the signing CA (a regular expression), and the product it betrays."""
_PATTERNS = tuple(
    (re.compile(rf"\b(?:{words})", re.IGNORECASE), p) for words, p in PRODUCTS.items()
)


def inspecting_product(certificate: Certificate) -> str | None:
    """The product whose name the issuer carries, or None.

    Only the issuer's name counts: a server of such a company has the name in its subject.
    """
    for pattern, product in _PATTERNS:
        if pattern.search(certificate.issuer):
            return product
    return None
