"""nameConstraints (RFC 5280 section 4.2.1.10)."""

from __future__ import annotations

from typing import Any

from cryptography import x509

from tests.conformance.issuing import leaf, middle, raw, root
from tests.conformance.registry import HOST, Given, case, given

NAME_CONSTRAINTS = "2.5.29.30"


def limited(*names: str, host: str = HOST, critical: bool = True, **limits: Any) -> Given:
    """A server certificate for `names` below an intermediate with these name constraints."""
    permitted, excluded = limits.get("permitted"), limits.get("excluded")
    value = x509.NameConstraints(permitted, excluded)
    top, below = middle(extensions=[(value, critical)])
    subject = limits.get("subject", "CN=device")
    return given(leaf(below, *(names or (HOST,)), subject=subject), top, host=host)


def dns(name: str) -> x509.GeneralName:
    return x509.DNSName(name)


def directory(name: str) -> x509.GeneralName:
    return x509.DirectoryName(x509.Name.from_rfc4514_string(name))


def network(text: str) -> x509.GeneralName:
    import ipaddress

    return x509.IPAddress(ipaddress.ip_network(text))


@case(openssl=0, webpki=True)
def permitted_domain() -> Given:
    """A name inside the permitted domain."""
    return limited(permitted=[dns("example.org")])


@case(openssl=47, webpki=False, primary="x509.name-constraint")
def outside_the_permitted_domain() -> Given:
    """A name outside the permitted domain."""
    return limited(permitted=[dns("example.com")])


@case(openssl=47, webpki=False, primary="x509.name-constraint")
def one_name_outside_the_permitted_domain() -> Given:
    """Every name of the certificate counts, not only the one asked for."""
    return limited(HOST, "other.example.com", permitted=[dns("example.org")])


@case(openssl=47, webpki=False, primary="x509.name-constraint")
def similar_to_the_permitted_domain() -> Given:
    """notexample.org is not in example.org."""
    return limited(
        "mqtt.notexample.org", host="mqtt.notexample.org", permitted=[dns("example.org")]
    )


@case(openssl=0, webpki=False)
def permitted_domain_with_a_leading_dot() -> Given:
    """A constraint that begins with a dot, as many CAs write it."""
    return limited(permitted=[dns(".example.org")])


@case(openssl=47, webpki=False, primary="x509.name-constraint")
def leading_dot_and_the_bare_domain() -> Given:
    """With the leading dot the bare domain itself is outside for OpenSSL."""
    return limited("example.org", host="example.org", permitted=[dns(".example.org")])


@case(openssl=0, webpki=True)
def permitted_in_another_case() -> Given:
    """Constraints are compared without regard to case."""
    return limited(permitted=[dns("EXAMPLE.org")])


@case(openssl=0, webpki=False)
def nothing_permitted() -> Given:
    """An empty DNS constraint permits every name."""
    return limited(permitted=[dns("")])


@case(openssl=0, webpki=True)
def wildcard_inside_the_permitted_domain() -> Given:
    """A wildcard name inside the permitted domain."""
    return limited("*.example.org", permitted=[dns("example.org")])


@case(openssl=48, webpki=False, primary="x509.name-constraint")
def excluded_domain() -> Given:
    """A name inside an excluded domain."""
    return limited(excluded=[dns("example.org")])


@case(openssl=0, webpki=True)
def outside_the_excluded_domain() -> Given:
    """A name outside the excluded domain."""
    return limited(excluded=[dns("example.com")])


@case(openssl=48, webpki=False, primary="x509.name-constraint")
def excluded_inside_permitted() -> Given:
    """What is excluded stays excluded inside what is permitted."""
    return limited(permitted=[dns("example.org")], excluded=[dns(HOST)])


@case(openssl=0, webpki=False)
def wildcard_that_may_be_excluded() -> Given:
    """A wildcard that could stand for the excluded name."""
    return limited("*.example.org", excluded=[dns(HOST)])


@case(openssl=0, webpki=True)
def permitted_network() -> Given:
    """An address inside the permitted network."""
    return limited("192.0.2.7", host="192.0.2.7", permitted=[network("192.0.2.0/24")])


@case(openssl=47, webpki=False, primary="x509.name-constraint")
def outside_the_permitted_network() -> Given:
    """An address outside the permitted network."""
    return limited("198.51.100.7", host="198.51.100.7", permitted=[network("192.0.2.0/24")])


@case(openssl=48, webpki=False, primary="x509.name-constraint")
def excluded_network() -> Given:
    """An address inside an excluded network."""
    return limited("192.0.2.7", host="192.0.2.7", excluded=[network("192.0.2.0/24")])


@case(openssl=48, webpki=False, primary="x509.name-constraint")
def excluded_network_of_version_6() -> Given:
    """The same with IPv6."""
    return limited("2001:db8::7", host="2001:db8::7", excluded=[network("2001:db8::/32")])


@case(openssl=0, webpki=True)
def address_under_a_domain_constraint() -> Given:
    """A constraint on DNS names says nothing about addresses."""
    return limited("192.0.2.7", host="192.0.2.7", permitted=[dns("example.org")])


@case(openssl=0, webpki=True)
def domain_under_a_network_constraint() -> Given:
    """A constraint on addresses says nothing about DNS names."""
    return limited(permitted=[network("192.0.2.0/24")])


@case(openssl=47, webpki=False, primary="x509.name-constraint")
def common_name_outside() -> Given:
    """Where there is no subjectAltName, OpenSSL holds the common name to the constraint."""
    value = x509.NameConstraints([dns("example.com")], None)
    top, below = middle(extensions=[(value, True)])
    return given(leaf(below, subject=f"CN={HOST}", alt_names=()), top)


@case(openssl=0, webpki=False)
def permitted_directory_name() -> Given:
    """A subject inside the permitted directory name."""
    return limited(permitted=[directory("O=Works")], subject="CN=device,O=Works")


@case(openssl=47, webpki=False, primary="x509.name-constraint")
def outside_the_permitted_directory_name() -> Given:
    """A subject outside the permitted directory name."""
    return limited(permitted=[directory("O=Works")], subject="CN=device,O=Others")


@case(openssl=48, webpki=False, primary="x509.name-constraint")
def excluded_directory_name() -> Given:
    """A subject inside an excluded directory name."""
    return limited(excluded=[directory("O=Works")], subject="CN=device,O=Works")


@case(openssl=0, webpki=True)
def constraint_on_mail_addresses() -> Given:
    """A constraint on mail addresses says nothing about a server."""
    return limited(permitted=[x509.RFC822Name("example.com")])


@case(openssl=0, webpki=True)
def constraint_on_uris() -> Given:
    """A constraint on URIs says nothing about a certificate without one."""
    return limited(permitted=[x509.UniformResourceIdentifier("example.com")])


@case(openssl=0, webpki=True)
def constraint_on_registered_identifiers() -> Given:
    """A kind of constraint that no stack processes, and no name of that kind."""
    return limited(permitted=[x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))])


@case(openssl=47, webpki=False, primary="x509.name-constraint")
def constraint_not_critical() -> Given:
    """Name constraints count when they are not critical, too."""
    return limited(permitted=[dns("example.com")], critical=False)


@case(openssl=49, webpki=True, primary="x509.name-constraint")
def constraint_with_a_minimum() -> Given:
    """A minimum other than zero is not supported by anyone (RFC 5280 forbids it)."""
    tree = bytes.fromhex("300d820b") + b"example.org"
    tree = b"\x30" + bytes([len(tree) - 2 + 3]) + tree[2:] + bytes.fromhex("800101")
    value = bytes([0x30, len(tree) + 2, 0xA0, len(tree)]) + tree
    top, below = middle(extensions=[raw(NAME_CONSTRAINTS, value, critical=True)])
    return given(leaf(below), top)


@case(openssl=20, webpki=False, primary="x509.malformed-certificate")
def constraint_that_cannot_be_parsed() -> Given:
    """Name constraints of garbage."""
    top, below = middle(extensions=[raw(NAME_CONSTRAINTS, b"\x30\x05\xa0", critical=True)])
    return given(leaf(below), top)


@case(openssl=47, webpki=False, primary="x509.name-constraint")
def constraint_in_the_root() -> Given:
    """OpenSSL holds servers to the constraints of trust anchors too."""
    top = root(permitted=["example.com"])
    return given(leaf(top), top)


@case(openssl=0, webpki=False)
def constraint_in_the_leaf() -> Given:
    """Name constraints in a server certificate mean nothing."""
    top = root()
    return given(leaf(top, permitted=["example.com"]), top)
