"""The server's name: subjectAltName, common name, wildcards, addresses (RFC 9525, RFC 5280)."""

from __future__ import annotations

from typing import Any

from cryptography import x509

from tests.conformance.issuing import leaf, raw, root
from tests.conformance.registry import HOST, Given, case, given

SUBJECT_ALT_NAME = "2.5.29.17"


def named(*names: str, host: str = HOST, **options: Any) -> Given:
    """A server certificate for `names` in subjectAltName, before a client that asks for `host`."""
    top = root()
    return given(leaf(top, *names, **options), top, host=host)


def only_common_name(name: str, host: str = HOST) -> Given:
    """A server certificate that names the server in its common name only."""
    top = root()
    return given(leaf(top, subject=f"CN={name}", alt_names=()), top, host=host)


def with_alt_name(*names: x509.GeneralName, critical: bool = False, subject: Any = None) -> Given:
    """A server certificate with exactly this subjectAltName."""
    top = root()
    value = x509.SubjectAlternativeName(list(names))
    who = {"subject": x509.Name([]) if subject is None else subject}
    return given(leaf(top, alt_names=(), extensions=[(value, critical)], **who), top)


@case(openssl=62, webpki=False, primary="x509.name-mismatch")
def another_name() -> Given:
    """A certificate for another name is refused."""
    return named("other.example.org")


@case(openssl=0, webpki=True)
def upper_case_in_the_certificate() -> Given:
    """Names are compared without regard to case."""
    return named("MQTT.Example.ORG")


@case(openssl=0, webpki=True)
def upper_case_in_the_reference() -> Given:
    """The same for the name that the client asks for."""
    return named(HOST, host="MQTT.EXAMPLE.ORG")


@case(openssl=0, webpki=True)
def second_of_three_names() -> Given:
    """Any name of subjectAltName will do."""
    return named("a.example.org", HOST, "b.example.org")


@case(openssl=0, webpki=True)
def thousand_names() -> Given:
    """A thousand names are looked through."""
    return named(*(f"n{number}.example.org" for number in range(1000)), HOST)


@case(openssl=0, webpki=True)
def wildcard() -> Given:
    """A wildcard stands for one leftmost label."""
    return named("*.example.org")


@case(openssl=62, webpki=False, primary="x509.name-mismatch")
def wildcard_for_two_labels() -> Given:
    """A wildcard does not stand for two labels."""
    return named("*.example.org", host="mqtt.eu.example.org")


@case(openssl=62, webpki=False, primary="x509.name-mismatch")
def wildcard_for_no_label() -> Given:
    """A wildcard does not stand for nothing."""
    return named("*.example.org", host="example.org")


@case(openssl=62, webpki=True, primary="x509.name-mismatch")
def wildcard_of_a_top_level_domain() -> Given:
    """A wildcard needs two labels after it."""
    return named("*.org", host="example.org")


@case(openssl=62, webpki=False, primary="x509.name-mismatch")
def wildcard_in_the_middle() -> Given:
    """A wildcard is the leftmost label or none."""
    return named("mqtt.*.org")


@case(openssl=62, webpki=False, primary="x509.name-mismatch")
def wildcard_twice() -> Given:
    """Two wildcards are none."""
    return named("*.*.org")


@case(openssl=62, webpki=False, primary="x509.name-mismatch")
def wildcard_alone() -> Given:
    """A lone asterisk matches nothing."""
    return named("*", host="localhost")


@case(
    openssl=62,
    webpki=False,
    primary="x509.name-mismatch",
    program=0,
    why="X509_check_host allows it; Python and mosquitto ask it not to",
)
def wildcard_for_part_of_a_label() -> Given:
    """An asterisk inside a label: the function of OpenSSL allows it, its users forbid it."""
    return named("m*.example.org")


@case(openssl=0, webpki=True)
def wildcard_for_an_international_label() -> Given:
    """A wildcard stands for an A-label as well."""
    return named("*.example.org", host="xn--bcher-kva.example.org")


@case(openssl=62, webpki=False, primary="x509.name-mismatch")
def wildcard_for_a_label_with_an_underscore() -> Given:
    """A wildcard and a host name with an underscore, which DNS names of hosts must not have."""
    return named("*.example.org", host="mqtt_1.example.org")


@case(openssl=0, webpki=False)
def underscore() -> Given:
    """The same underscore on both sides."""
    return named("mqtt_1.example.org", host="mqtt_1.example.org")


@case(openssl=0, webpki=True)
def international_name() -> Given:
    """A client asks for the U-label form; the certificate holds the A-label form."""
    return named("xn--bcher-kva.example.org", host="bücher.example.org")


@case(openssl=62, webpki=False, primary="x509.name-mismatch")
def trailing_dot_in_the_reference() -> Given:
    """A client asks for the name with the root's dot at its end."""
    return named(HOST, host=f"{HOST}.")


@case(openssl=62, webpki=False, primary="x509.name-mismatch")
def trailing_dot_in_the_certificate() -> Given:
    """A certificate must not end its names with a dot."""
    return named(f"{HOST}.")


@case(openssl=0, webpki=False)
def common_name_alone() -> Given:
    """Without subjectAltName OpenSSL takes the common name; the Web PKI does not."""
    return only_common_name(HOST)


@case(openssl=62, webpki=False, primary="x509.name-mismatch")
def common_name_of_another_host() -> Given:
    """The common name is compared as well."""
    return only_common_name("other.example.org")


@case(openssl=0, webpki=False)
def wildcard_in_the_common_name() -> Given:
    """A wildcard in the common name works as in subjectAltName."""
    return only_common_name("*.example.org")


@case(openssl=64, webpki=False, primary="x509.name-mismatch")
def address_in_the_common_name() -> Given:
    """An IP address in the common name counts for nothing."""
    return only_common_name("192.0.2.7", host="192.0.2.7")


@case(openssl=62, webpki=False, primary="x509.name-mismatch")
def common_name_beside_other_dns_names() -> Given:
    """The common name is not looked at where subjectAltName has a DNS name."""
    return named("other.example.org", subject=f"CN={HOST}")


@case(openssl=0, webpki=False)
def common_name_beside_an_address() -> Given:
    """The common name is looked at where subjectAltName has only an address."""
    return named("192.0.2.7", subject=f"CN={HOST}")


@case(openssl=0, webpki=False)
def common_name_beside_a_uri() -> Given:
    """The common name is looked at where subjectAltName has only a URI."""
    uri = x509.UniformResourceIdentifier("mqtts://mqtt.example.org")
    return with_alt_name(uri, subject=f"CN={HOST}")


@case(openssl=0, webpki=False)
def second_common_name() -> Given:
    """Each of several common names counts."""
    return only_common_name("first,CN=" + HOST)


@case(openssl=0, webpki=True)
def address() -> Given:
    """An IPv4 address in subjectAltName as an address."""
    return named("192.0.2.7", host="192.0.2.7")


@case(openssl=0, webpki=True)
def address_of_version_6() -> Given:
    """An IPv6 address in subjectAltName, asked for in another spelling."""
    return named("2001:db8::7", host="2001:db8:0:0:0:0:0:7")


@case(openssl=64, webpki=False, primary="x509.name-mismatch")
def another_address() -> Given:
    """Another address is refused."""
    return named("192.0.2.7", host="192.0.2.8")


@case(openssl=64, webpki=False, primary="x509.name-mismatch")
def address_as_dns_name() -> Given:
    """An address written as a DNS name does not count as an address."""
    top = root()
    value = x509.SubjectAlternativeName([x509.DNSName("192.0.2.7")])
    options = {"subject": "CN=device", "alt_names": (), "extensions": [(value, False)]}
    return given(leaf(top, **options), top, host="192.0.2.7")


@case(openssl=64, webpki=False, primary="x509.name-mismatch")
def address_by_wildcard() -> Given:
    """A wildcard does not cover an address."""
    return named("*.0.2.7", host="192.0.2.7")


@case(openssl=64, webpki=False, primary="x509.name-mismatch")
def dns_name_asked_as_address() -> Given:
    """A certificate for DNS names only is refused when the client connects by address."""
    return named(HOST, host="192.0.2.7")


@case(openssl=0, webpki=True)
def empty_subject_with_critical_alternative_name() -> Given:
    """An empty subject with a critical subjectAltName is what RFC 5280 prescribes."""
    return with_alt_name(x509.DNSName(HOST), critical=True)


@case(openssl=0, webpki=True, profile=False, why="the profile wants subjectAltName critical there")
def empty_subject_with_uncritical_alternative_name() -> Given:
    """An empty subject with a subjectAltName that is not critical; only strict readers object."""
    return with_alt_name(x509.DNSName(HOST))


@case(openssl=0, webpki=False)
def empty_alternative_name() -> Given:
    """An empty subjectAltName is against the grammar."""
    top = root()
    empty = raw(SUBJECT_ALT_NAME, b"\x30\0")
    return given(leaf(top, alt_names=(), extensions=[empty]), top)


@case(openssl=20, webpki=False, primary="x509.malformed-certificate")
def alternative_name_that_cannot_be_parsed() -> Given:
    """A subjectAltName of garbage."""
    top = root()
    garbage = raw(SUBJECT_ALT_NAME, b"\x30\x20\x82\x10mqtt")
    return given(leaf(top, alt_names=(), extensions=[garbage]), top)


@case(openssl=62, webpki=False, primary="x509.name-mismatch")
def mail_address_only() -> Given:
    """A mail address is no server name."""
    return with_alt_name(x509.RFC822Name("a@example.org"))


@case(openssl=62, webpki=False, primary="x509.name-mismatch")
def nul_in_the_name() -> Given:
    """mqtt.example.org followed by NUL and another name is not mqtt.example.org."""
    top = root()
    name = b"mqtt.example.org\0.evil.test"
    value = b"\x82" + bytes([len(name)]) + name
    extension = raw(SUBJECT_ALT_NAME, b"\x30" + bytes([len(value)]) + value)
    return given(leaf(top, subject="CN=evil.test", alt_names=(), extensions=[extension]), top)


@case(openssl=62, webpki=False, primary="x509.name-mismatch")
def space_in_the_name() -> Given:
    """A DNS name with a space in it matches nothing."""
    return with_alt_name(x509.DNSName(f" {HOST}"))


@case(openssl=0, webpki=False)
def root_without_a_name() -> Given:
    """A root whose subject is empty is found by its empty name."""
    top = root(x509.Name([]))  # type: ignore[arg-type]
    return given(leaf(top), top)
