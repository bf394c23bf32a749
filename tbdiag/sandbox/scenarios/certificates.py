"""The right CA file, and a server certificate or chain with something wrong in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from tbdiag.registry import scenario
from tbdiag.sandbox.authority import Authority, self_signed
from tbdiag.sandbox.stand import Room, Stand

REFUSED = {"tls.handshake": "ok", "tls.verify": "failed", "mqtt.connect": "blocked"}
WORKS = {"tls.verify": "warning", "mqtt.connect": "ok"}


@scenario("expired", primary="x509.certificate-expired", status=REFUSED)
@contextmanager
def expired(room: Room) -> Iterator[Stand]:
    """The server certificate has expired."""
    with room.serve_chain(room.issue(not_after=room.now - timedelta(days=1))) as stand:
        yield stand


@scenario("not-yet-valid", primary="x509.certificate-not-yet-valid", status=REFUSED)
@contextmanager
def not_yet_valid(room: Room) -> Iterator[Stand]:
    """The server certificate is not valid yet."""
    with room.serve_chain(room.issue(not_before=room.now + timedelta(days=2))) as stand:
        yield stand


@scenario("clock-behind", primary="clock.skew", status=REFUSED)
@contextmanager
def clock_behind(room: Room) -> Iterator[Stand]:
    """The device's clock stands at 1970: every certificate lies in the future."""
    options = {"at": datetime(1970, 1, 1, 0, 5, tzinfo=UTC)}
    with room.serve_chain(room.issue(), options=options) as stand:
        yield stand


@scenario("expiring", rules=("x509.certificate-expiring",), status=WORKS)
@contextmanager
def expiring(room: Room) -> Iterator[Stand]:
    """The server certificate has ten days left."""
    life = {"not_before": room.now - timedelta(days=80)}
    issued = room.issue(**life, not_after=room.now + timedelta(days=10))
    with room.serve_chain(issued) as stand:
        yield stand


@scenario("intermediate-expired", primary="x509.intermediate-expired", status=REFUSED)
@contextmanager
def intermediate_expired(room: Room) -> Iterator[Stand]:
    """The intermediate has expired; the server certificate has not."""
    old = room.root.intermediate("Expired Intermediate", not_after=room.now - timedelta(days=1))
    with room.serve_chain(old.issue_server(now=room.now)) as stand:
        yield stand


@scenario("name-mismatch", primary="x509.name-mismatch", status=REFUSED)
@contextmanager
def name_mismatch(room: Room) -> Iterator[Stand]:
    """The certificate was issued for another name."""
    with room.serve_chain(room.issue(names=("iot.example.org",))) as stand:
        yield stand


@scenario(
    "name-mismatch-and-expired",
    primary="x509.certificate-expired",
    rules=("x509.name-mismatch",),
    status=REFUSED,
)
@contextmanager
def name_and_date(room: Room) -> Iterator[Stand]:
    """A wrong name on an expired certificate: both are listed."""
    issued = room.issue(names=("iot.example.org",), not_after=room.now - timedelta(days=1))
    with room.serve_chain(issued) as stand:
        yield stand


@scenario("no-subject-alt-name", rules=("x509.no-subject-alt-name",), status=WORKS)
@contextmanager
def no_subject_alt_name(room: Room) -> Iterator[Stand]:
    """The name stands in the common name only, as in ThingsBoard's self-signed recipe."""
    with room.serve_chain(room.issue(alt_names=())) as stand:
        yield stand


@scenario("documentation-recipe", rules=("x509.strict-violation",), status=WORKS)
@contextmanager
def documentation_recipe(room: Room) -> Iterator[Stand]:
    """ThingsBoard's own recipe: a v1 certificate, a CA without keyUsage. Python 3.13 refuses."""
    root = Authority.root("ThingsBoard CA", key_usage=None, now=room.now)
    issued = root.issue_server(version=1)
    with room.serve_chain(issued, root.pem()) as stand:
        yield stand


@scenario(
    "strict-violation-in-file", rules=("ca.strict-violation",), status={"tls.verify": "warning"}
)
@contextmanager
def strict_violation(room: Room) -> Iterator[Stand]:
    """The root has no keyUsage: Python 3.13's default context refuses it."""
    root = Authority.root("No keyUsage", key_usage=None, now=room.now)
    with room.serve_chain(root.issue_server(), root.pem()) as stand:
        yield stand


@scenario("chain-in-wrong-order", rules=("x509.wrong-order",), status=WORKS)
@contextmanager
def wrong_order(room: Room) -> Iterator[Stand]:
    """The server presents its intermediates in the wrong order."""
    lower = room.intermediate.intermediate("Lower Intermediate")
    issued = lower.issue_server()
    with room.serve_chain(issued.presenting(*reversed(issued.chain))) as stand:
        yield stand


@scenario("root-presented", rules=("x509.root-presented",), status={"tls.verify": "ok"})
@contextmanager
def root_presented(room: Room) -> Iterator[Stand]:
    """The server sends its root too: harmless, but bytes on the air."""
    issued = room.issue()
    with room.serve_chain(issued.presenting(*issued.chain, room.root.certificate)) as stand:
        yield stand


@scenario("not-server-auth", primary="x509.not-server-auth", status=REFUSED)
@contextmanager
def not_server_auth(room: Room) -> Iterator[Stand]:
    """The certificate was issued for clients, not for servers."""
    with room.serve_chain(room.issue(extended_key_usage=("clientAuth",))) as stand:
        yield stand


@scenario("weak-key", primary="x509.weak-key", status=REFUSED)
@contextmanager
def weak_key(room: Room) -> Iterator[Stand]:
    """The server certificate has a 1024-bit RSA key."""
    with room.serve_chain(room.issue(key="rsa1024", key_usage=("digital_signature",))) as stand:
        yield stand


@scenario("weak-signature", primary="x509.weak-signature", status=REFUSED)
@contextmanager
def weak_signature(room: Room) -> Iterator[Stand]:
    """The server certificate is signed with SHA-1."""
    with room.serve_chain(room.issue(signature_hash="sha1")) as stand:
        yield stand


@scenario("path-length", primary="x509.path-length", status=REFUSED)
@contextmanager
def path_length(room: Room) -> Iterator[Stand]:
    """An intermediate that may issue no CA has issued one."""
    limited = room.root.intermediate("Limited", path_length=0)
    issued = limited.intermediate("Too Deep").issue_server()
    with room.serve_chain(issued) as stand:
        yield stand


@scenario("name-constraint", primary="x509.name-constraint", status=REFUSED)
@contextmanager
def name_constraint(room: Room) -> Iterator[Stand]:
    """The intermediate may only issue for example.org."""
    limited = room.root.intermediate("Only example.org", permitted=("example.org",))
    with room.serve_chain(limited.issue_server("localhost")) as stand:
        yield stand


@scenario("issuer-not-a-ca", primary="x509.issuer-not-a-ca", status=REFUSED)
@contextmanager
def issuer_not_a_ca(room: Room) -> Iterator[Stand]:
    """The certificate that issued the server's says it is no CA."""
    plain = room.root.intermediate("Not a CA", is_ca=False)
    with room.serve_chain(plain.issue_server()) as stand:
        yield stand


@scenario("bad-signature", primary="x509.bad-signature", status=REFUSED)
@contextmanager
def bad_signature(room: Room) -> Iterator[Stand]:
    """The signature of the server certificate does not verify."""
    broken = room.intermediate.with_bad_signature()
    issued = broken.issue_server()
    with room.serve_chain(issued) as stand:
        yield stand


@scenario("unknown-critical-extension", primary="x509.unknown-critical-extension", status=REFUSED)
@contextmanager
def unknown_critical(room: Room) -> Iterator[Stand]:
    """The server certificate has a critical extension that nobody knows."""
    with room.serve_chain(room.issue(unknown_critical=True)) as stand:
        yield stand


@scenario("self-signed-wrong-name", primary="x509.name-mismatch", status=REFUSED)
@contextmanager
def self_signed_wrong_name(room: Room) -> Iterator[Stand]:
    """A self-signed certificate for another name, carried as CA file: only the name is wrong."""
    issued = self_signed("iot.example.org", now=room.now)
    with room.serve_chain(issued, issued.pem()) as stand:
        yield stand
