"""basicConstraints (RFC 5280 section 4.2.1.9): who is a CA, and how many may stand below."""

from __future__ import annotations

from tbdiag.protocol.x509_extensions import BASIC_CONSTRAINTS
from tests.conformance.issuing import ladder, leaf, middle, raw, root
from tests.conformance.registry import Given, case, given

NO_USAGE = {"key_usage": ("digital_signature",)}


@case(openssl=0, webpki=True)
def path_length_zero_above_the_leaf() -> Given:
    """pathLenConstraint 0 allows end-entity certificates."""
    top = root(path_length=0)
    return given(leaf(top), top)


@case(openssl=25, webpki=False, primary="x509.path-length")
def path_length_zero_above_an_intermediate() -> Given:
    """pathLenConstraint 0 forbids an intermediate below."""
    top = root(path_length=0)
    return given(leaf(top.intermediate()), top)


@case(openssl=25, webpki=False, primary="x509.path-length")
def path_length_of_an_intermediate_exceeded() -> Given:
    """The constraint counts from the intermediate that carries it."""
    top, below = middle(path_length=0)
    return given(leaf(below.intermediate("Lower")), top)


@case(openssl=0, webpki=True)
def path_length_exactly_used_up() -> Given:
    """Two intermediates below pathLenConstraint 2 are allowed."""
    top = root(path_length=2)
    return given(leaf(ladder(top, 2)), top)


@case(openssl=0, webpki=False)
def path_length_counts_no_self_issued() -> Given:
    """A self-issued intermediate (same name, new key) does not count."""
    top = root(path_length=0)
    renewed = top.intermediate("Root", key="ec")
    return given(leaf(renewed), top)


@case(openssl=0, webpki=True)
def path_length_of_a_leaf() -> Given:
    """A path length in a certificate that is no CA is against RFC 5280."""
    top = root()
    extension = raw(BASIC_CONSTRAINTS, bytes.fromhex("3003020100"))
    return given(leaf(top, is_ca=None, extensions=[extension]), top)


@case(openssl=20, webpki=False, primary="x509.malformed-certificate")
def negative_path_length() -> Given:
    """A negative path length is not a number of certificates."""
    extension = raw(BASIC_CONSTRAINTS, bytes.fromhex("30060101ff0201ff"), critical=True)
    top, below = middle(is_ca=None, extensions=[extension])
    return given(leaf(below), top)


@case(openssl=0, webpki=True)
def eight_intermediates() -> Given:
    """Eight intermediates are within every stack's limit but cryptography's depth of eight."""
    top = root()
    return given(leaf(ladder(top, 8)), top)


@case(openssl=0, webpki=False)
def thirty_intermediates() -> Given:
    """Thirty intermediates are within OpenSSL's limit of a hundred."""
    top = root()
    return given(leaf(ladder(top, 30)), top)


@case(openssl=79, webpki=False, primary="x509.issuer-not-a-ca")
def intermediate_without_basic_constraints() -> Given:
    """An issuer without basicConstraints is no CA."""
    top, below = middle(is_ca=None)
    return given(leaf(below), top)


@case(openssl=79, webpki=False, primary="x509.issuer-not-a-ca")
def intermediate_without_any_extension_of_a_ca() -> Given:
    """An issuer with neither basicConstraints nor keyUsage is no CA either."""
    top, below = middle(is_ca=None, key_usage=None)
    return given(leaf(below), top)


@case(openssl=79, webpki=False, primary="x509.issuer-not-a-ca")
def intermediate_that_is_no_ca() -> Given:
    """An issuer that says CA:FALSE is no CA."""
    top, below = middle(is_ca=False, **NO_USAGE)
    return given(leaf(below), top)


@case(openssl=79, webpki=False, primary="x509.issuer-not-a-ca")
def leaf_that_issued_a_leaf() -> Given:
    """A server certificate cannot issue another."""
    top = root()
    first = leaf(top)
    thief = top.intermediate("mqtt.example.org", is_ca=False, **NO_USAGE)
    return given(leaf(thief), top, first)


@case(openssl=0, webpki=False)
def root_without_basic_constraints() -> Given:
    """A v3 root needs basicConstraints, unless its keyUsage says that it signs certificates."""
    top = root(is_ca=None)
    return given(leaf(top), top)


@case(openssl=79, webpki=False, primary="x509.issuer-not-a-ca")
def root_without_any_extension_of_a_ca() -> Given:
    """A v3 root with neither basicConstraints nor keyUsage is no CA."""
    top = root(is_ca=None, key_usage=None)
    return given(leaf(top), top)


@case(openssl=79, webpki=False, primary="x509.issuer-not-a-ca")
def root_that_is_no_ca() -> Given:
    """A root that says CA:FALSE cannot issue."""
    top = root(is_ca=False, key_usage=None)
    return given(leaf(top), top)


@case(openssl=0, webpki=True, profile=False, why="the profile wants basicConstraints critical")
def basic_constraints_not_critical() -> Given:
    """basicConstraints of a CA should be critical; most stacks do not insist."""
    top = root(basic_constraints_critical=False)
    return given(leaf(top), top)


@case(openssl=0, webpki=True, profile=False, why="the profile wants no CA as a server")
def leaf_that_is_a_ca() -> Given:
    """A CA certificate may serve TLS itself, for those who do not object."""
    top = root()
    return given(leaf(top, is_ca=True, key_usage=("digital_signature", "key_cert_sign")), top)


@case(openssl=20, webpki=False, primary="x509.malformed-certificate")
def basic_constraints_that_cannot_be_parsed() -> Given:
    """basicConstraints of garbage make no CA."""
    extension = raw(BASIC_CONSTRAINTS, b"\x30\x05\x01", critical=True)
    top, below = middle(is_ca=None, extensions=[extension])
    return given(leaf(below), top)
