"""Graphs of certificates: cross-signatures, loops, same names, wrong order, what is missing."""

from __future__ import annotations

from tbdiag.fact import replace
from tbdiag.sandbox.authority import self_signed
from tests.conformance.issuing import DAY, leaf, middle, root
from tests.conformance.registry import HOST, NOW, Given, case, given, presenting

OLD = {"not_before": NOW - 900 * DAY, "not_after": NOW - DAY}


@case(openssl=20, webpki=False, primary="x509.wrong-ca-file")
def unknown_root() -> Given:
    """The CA file holds another root."""
    _, below = middle()
    return given(leaf(below), root("Other"))


@case(openssl=20, webpki=False, primary="x509.missing-intermediate")
def missing_intermediate() -> Given:
    """The server sends its own certificate only."""
    top, below = middle()
    return given(leaf(below).presenting(), top)


@case(openssl=0, webpki=True)
def missing_intermediate_in_the_ca_file() -> Given:
    """The server sends its own certificate only, and the CA file holds the intermediate."""
    top, below = middle()
    return given(leaf(below).presenting(), below, top)


@case(openssl=20, webpki=False, primary="x509.missing-intermediate")
def missing_upper_intermediate() -> Given:
    """Of two intermediates the upper one is not sent."""
    top, below = middle()
    lower = below.intermediate("Lower")
    return given(leaf(lower).presenting(lower.certificate), top)


@case(openssl=20, webpki=False, primary="x509.missing-intermediate")
def missing_lower_intermediate() -> Given:
    """Of two intermediates the lower one is not sent."""
    top, below = middle()
    return given(leaf(below.intermediate("Lower")).presenting(below.certificate), top)


@case(openssl=2, webpki=True, primary="x509.ca-file-is-intermediate")
def intermediate_as_anchor() -> Given:
    """The CA file holds the intermediate without the root."""
    _, below = middle()
    return given(leaf(below), below)


@case(openssl=20, webpki=True, primary="x509.ca-file-is-end-entity")
def leaf_as_anchor() -> Given:
    """The CA file holds the server's own certificate, which a CA issued."""
    _, below = middle()
    issued = leaf(below)
    return given(issued, issued)


@case(openssl=2, webpki=True, primary="x509.ca-file-is-intermediate")
def leaf_and_intermediate_as_anchors() -> Given:
    """The CA file holds everything but the root."""
    _, below = middle()
    issued = leaf(below)
    return given(issued, issued, below)


@case(openssl=0, webpki=True, profile=False, why="the profile wants no CA as a server")
def self_signed_leaf_as_anchor() -> Given:
    """A self-signed server certificate is its own anchor."""
    own = self_signed(HOST, now=NOW)
    return given(own, own)


@case(openssl=0, webpki=True, profile=False, why="the profile wants an authorityKeyIdentifier")
def self_signed_leaf_that_is_no_ca() -> Given:
    """A self-signed certificate that says CA:FALSE is its own anchor nevertheless."""
    own = self_signed(HOST, now=NOW, is_ca=False)
    return given(own, own)


@case(openssl=18, webpki=False, primary="x509.self-signed-server")
def self_signed_leaf_unknown() -> Given:
    """A self-signed server certificate that is not in the CA file."""
    return given(self_signed(HOST, now=NOW), root())


@case(openssl=18, webpki=False, primary="x509.self-signed-server")
def self_signed_leaf_renewed() -> Given:
    """The CA file holds the self-signed certificate from before its renewal."""
    return given(self_signed(HOST, now=NOW), self_signed(HOST, now=NOW))


@case(openssl=0, webpki=True)
def root_sent_too() -> Given:
    """The server sends the root, which the CA file holds."""
    top, below = middle()
    return given(leaf(below).presenting(below.certificate, top.certificate), top)


@case(openssl=19, webpki=False, primary="x509.wrong-ca-file")
def root_sent_but_unknown() -> Given:
    """The server sends the root, which the CA file does not hold."""
    top, below = middle()
    shown = leaf(below).presenting(below.certificate, top.certificate)
    return given(shown, root("Other"))


@case(openssl=0, webpki=True)
def wrong_order() -> Given:
    """The intermediates are sent in the wrong order."""
    top, below = middle()
    lower = below.intermediate("Lower")
    return given(leaf(lower).presenting(below.certificate, lower.certificate), top)


@case(openssl=26, webpki=False, primary="x509.wrong-order")
def server_certificate_last() -> Given:
    """The server's certificate comes last: a CA's is judged as the server's."""
    top, below = middle()
    return presenting(top, below, leaf(below)).against(top)


@case(openssl=26, webpki=False, primary="x509.wrong-order")
def server_certificate_second() -> Given:
    """The intermediate comes before the server's certificate."""
    top, below = middle()
    return presenting(below, leaf(below)).against(top)


@case(openssl=0, webpki=True)
def strangers_between() -> Given:
    """Certificates that belong to nothing are sent along."""
    top, below = middle()
    others = [root(f"Stranger {n}").intermediate().certificate for n in range(3)]
    return given(leaf(below).presenting(*others, below.certificate), top)


@case(openssl=0, webpki=True)
def everything_twice() -> Given:
    """Every certificate is sent twice, and the CA file holds the root twice."""
    top, below = middle()
    issued = leaf(below)
    return presenting(issued, issued, below, below).against(top, top)


@case(openssl=20, webpki=False, primary="x509.anchor-key-changed")
def same_name_other_key() -> Given:
    """The CA file holds a root of the right name with another key."""
    top, below = middle()
    return given(leaf(below), top.twin())


@case(openssl=7, webpki=False, primary="x509.anchor-key-changed")
def same_name_other_key_without_identifiers() -> Given:
    """The same where no key identifier tells the two apart."""
    bare = {"ski": False, "aki": False}
    top = root(**bare)
    return given(leaf(top, **bare), top.twin(**bare))


@case(openssl=0, webpki=True)
def same_name_both_keys() -> Given:
    """The CA file holds two roots of one name, the wrong one first."""
    top, below = middle()
    return given(leaf(below), top.twin(), top)


@case(
    openssl=7,
    webpki=True,
    primary="x509.anchor-key-changed",
    profile=False,
    why="the profile wants key identifiers",
)
def same_name_both_keys_without_identifiers() -> Given:
    """The same without key identifiers: OpenSSL takes the first of the name."""
    bare = {"ski": False, "aki": False}
    top = root(**bare)
    return given(leaf(top, **bare), top.twin(**bare), top)


@case(openssl=0, webpki=True)
def same_name_intermediates_sent() -> Given:
    """Two intermediates of one name with two keys are sent, the wrong one first."""
    top, below = middle()
    other = top.intermediate("Intermediate")
    return given(leaf(below).presenting(other.certificate, below.certificate), top)


@case(openssl=0, webpki=True)
def same_key_same_name_two_dates() -> Given:
    """A root was renewed with its key; the CA file holds the expired one and the new one."""
    top = root()
    old = root(key=top.key, **OLD)
    return given(leaf(top), old, top)


@case(openssl=10, webpki=False, primary="x509.anchor-expired")
def same_key_same_name_only_the_expired() -> Given:
    """A root was renewed with its key; the CA file holds the expired one only."""
    top = root()
    return given(leaf(top), root(key=top.key, **OLD))


@case(openssl=0, webpki=True)
def self_issued_key_rollover() -> Given:
    """The old key of a CA signed its new key under the same name (RFC 4210 section 4.4)."""
    old = root()
    new = old.intermediate("Root")
    return given(leaf(new), old)


@case(openssl=0, webpki=True)
def cross_signed_to_the_old_root() -> Given:
    """The new root is not in the CA file, but the old root signed it and is."""
    new, old = root("New"), root("Old")
    crossed = old.cross_sign(new)
    below = new.intermediate()
    return given(leaf(below).presenting(below.certificate, crossed.certificate), old)


@case(openssl=0, webpki=True)
def cross_signed_to_the_new_root() -> Given:
    """The cross-signed certificate is sent, and the CA file holds the new root."""
    new, old = root("New"), root("Old")
    crossed = old.cross_sign(new)
    below = new.intermediate()
    return given(leaf(below).presenting(below.certificate, crossed.certificate), new)


@case(openssl=0, webpki=True)
def cross_signed_old_root_expired() -> Given:
    """The old root has expired; the CA file holds both, and the path to the new one works."""
    new, old = root("New"), root("Old", **OLD)
    crossed = old.cross_sign(new)
    below = new.intermediate()
    return given(leaf(below).presenting(below.certificate, crossed.certificate), old, new)


@case(openssl=10, webpki=False, primary="x509.anchor-expired")
def cross_signed_only_the_expired_root() -> Given:
    """The old root has expired, and the CA file holds nothing else."""
    new, old = root("New"), root("Old", **OLD)
    crossed = old.cross_sign(new)
    below = new.intermediate()
    return given(leaf(below).presenting(below.certificate, crossed.certificate), old)


@case(openssl=0, webpki=True)
def cross_certificate_expired() -> Given:
    """An expired cross-signed certificate is sent beside a path that needs none."""
    new, old = root("New"), root("Old")
    crossed = old.cross_sign(new, **OLD)
    below = new.intermediate()
    return given(leaf(below).presenting(below.certificate, crossed.certificate), new)


@case(openssl=20, webpki=False, primary="x509.wrong-ca-file")
def loop_without_a_root() -> Given:
    """Two CAs signed each other, and neither is a root."""
    one, two = root("One"), root("Two")
    sent = [two.cross_sign(one).certificate, one.cross_sign(two).certificate]
    return given(leaf(one).presenting(*sent), root("Other"))


@case(openssl=0, webpki=True)
def loop_with_a_root_behind_it() -> Given:
    """Two CAs signed each other, and the CA file holds the second as a root."""
    one, two = root("One"), root("Two")
    sent = [two.cross_sign(one).certificate, one.cross_sign(two).certificate]
    return given(leaf(one).presenting(*sent), two)


@case(openssl=20, webpki=True, primary="x509.wrong-order")
def loop_of_three() -> Given:
    """Three CAs signed each other in a ring; the CA file holds the root above one of them."""
    top = root()
    one, two, three = (top.intermediate(name) for name in ("One", "Two", "Three"))
    ring = [two.cross_sign(one), three.cross_sign(two), one.cross_sign(three)]
    sent = [*(member.certificate for member in ring), three.certificate]
    return given(leaf(one).presenting(*sent), top)


@case(openssl=20, webpki=False, primary="x509.wrong-ca-file")
def mesh_of_six() -> Given:
    """Six CAs signed each other in every pair: there are hundreds of ways, and no root."""
    members = [root(f"Member {n}") for n in range(6)]
    mesh = [a.cross_sign(b).certificate for a in members for b in members if a is not b]
    return given(leaf(members[0]).presenting(*mesh), root("Other"))


@case(openssl=0, webpki=True)
def many_of_one_name() -> Given:
    """Twenty intermediates of one name are sent; the last is the right one."""
    top, below = middle()
    others = [top.intermediate("Intermediate").certificate for _ in range(19)]
    return given(leaf(below).presenting(*others, below.certificate), top)


@case(openssl=7, webpki=False, primary="x509.bad-signature")
def bad_signature_of_the_leaf() -> Given:
    """The signature of the server's certificate does not verify."""
    top, below = middle()
    return given(leaf(below).with_bad_signature(), top)


@case(openssl=7, webpki=False, primary="x509.bad-signature")
def bad_signature_of_the_intermediate() -> Given:
    """The signature of the intermediate does not verify."""
    top, below = middle()
    damaged = below.with_bad_signature()
    return given(leaf(damaged), top)


@case(openssl=0, webpki=True)
def bad_signature_of_the_root() -> Given:
    """The signature of a trust anchor is not looked at."""
    top, below = middle()
    return given(leaf(below), top.with_bad_signature())


@case(openssl=0, webpki=False)
def issuer_name_in_another_case() -> Given:
    """Issuer and subject differ in case and spaces only (RFC 5280 section 7.1)."""
    top = root("Acme Root")
    renamed = root("acme  root", key=top.key)
    return given(leaf(top), replace(renamed))


@case(openssl=0, webpki=True)
def junk_among_the_anchors() -> Given:
    """The CA file holds a server certificate and an expired root beside the right one."""
    top, below = middle()
    other = root("Other")
    return given(leaf(below), leaf(other), root("Past", **OLD), top)
