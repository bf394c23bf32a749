"""The reference identifier against what a certificate presents (RFC 9525).

The rules are those of OpenSSL's X509_check_host and X509_check_ip, which mosquitto, paho and most
gateways inherit: subjectAltName first; the common name only where there is no DNS name in it.
"""

from __future__ import annotations

import ipaddress
import re

from tbdiag.evidence import Certificate, NameMatch
from tbdiag.protocol.x509_names import common_names

_LABEL = re.compile(r"[a-z0-9-]+")
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def ip_literal(name: str) -> IpAddress | None:
    """The IP address that `name` spells, or None for a DNS name."""
    if ":" not in name and not name.lstrip("[")[:1].isdigit():
        return None
    try:
        return ipaddress.ip_address(name.strip("[]").partition("%")[0])
    except ValueError:
        return None


def _ascii_name(name: str) -> str:
    """The A-label form in lower case (RFC 5890); the name itself where it has none."""
    if name.isascii():
        return name.lower()
    try:
        return name.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return name.lower()


def dns_matches(pattern: str, name: str) -> bool:
    """Whether a presented DNS name covers `name` (RFC 9525 section 6.3).

    A wildcard stands for exactly one whole leftmost label, with at least two labels after it. As in
    OpenSSL it stands for letters, digits and hyphens only.
    """
    pattern, name = pattern.lower(), _ascii_name(name)
    if pattern == name:
        return "*" not in pattern
    left, _, parent = pattern.partition(".")
    label, _, rest = name.partition(".")
    labels = parent.split(".")
    if left != "*" or len(labels) < 2 or not all(labels) or "*" in parent:
        return False
    return rest == parent and _LABEL.fullmatch(label) is not None


def name_match(reference: str, certificate: Certificate) -> NameMatch:
    """Compare the reference identifier with every presented identifier of the certificate.

    An IP address matches only an iPAddress in subjectAltName. A DNS name matches a dNSName, or a
    common name where the certificate has no dNSName (`by_common_name`).
    """
    presented = tuple(certificate.subject_alt_name or ())
    address = ip_literal(reference)
    if address is not None:
        return NameMatch(reference, presented, f"IP:{address}" in presented)
    names = [entry[4:] for entry in presented if entry.startswith("DNS:")]
    if names:
        return NameMatch(reference, presented, any(dns_matches(n, reference) for n in names))
    commons = common_names(certificate.subject_der)
    by_common_name = any(dns_matches(name, reference) for name in commons)
    presented += tuple(f"CN:{name}" for name in commons)
    return NameMatch(reference, presented, by_common_name, by_common_name)
