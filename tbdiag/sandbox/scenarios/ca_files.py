"""A healthy server, and a CA file with something wrong in it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from tbdiag.registry import scenario
from tbdiag.sandbox.authority import Authority, key_pem, pem
from tbdiag.sandbox.stand import Room, Stand

BLOCKED = {"ca.load": "failed", "tls.verify": "blocked", "mqtt.connect": "blocked"}
DECADE = timedelta(days=3650)
WORKS = {"ca.load": "warning", "tls.verify": "ok", "mqtt.connect": "ok"}


def _stand(room: Room, cafile: bytes) -> Iterator[Stand]:
    with room.serve(room.broker(), cafile) as stand:
        yield stand


@scenario("ca-file-not-found", primary="ca.file-not-found", status=BLOCKED)
@contextmanager
def not_found(room: Room) -> Iterator[Stand]:
    """The CA file does not exist."""
    with room.serve(room.broker(), str(room.folder / "missing.pem")) as stand:
        yield stand


@scenario("ca-file-unreadable", primary="ca.file-unreadable", status=BLOCKED)
@contextmanager
def unreadable(room: Room) -> Iterator[Stand]:
    """The CA file is a folder."""
    (room.folder / "certs").mkdir()
    with room.serve(room.broker(), str(room.folder / "certs")) as stand:
        yield stand


@scenario("ca-file-empty", primary="ca.empty", status=BLOCKED)
@contextmanager
def empty(room: Room) -> Iterator[Stand]:
    """The CA file is empty."""
    yield from _stand(room, b"\n")


@scenario("ca-file-html", primary="ca.not-a-certificate", status=BLOCKED)
@contextmanager
def html(room: Room) -> Iterator[Stand]:
    """The CA file is the login page that curl saved instead of a certificate."""
    yield from _stand(room, b"<!doctype html><html><head><title>ThingsBoard</title></head></html>")


@scenario("ca-file-json", primary="ca.not-a-certificate", status=BLOCKED)
@contextmanager
def json_error(room: Room) -> Iterator[Stand]:
    """The CA file is the JSON error that the platform answered the download with."""
    yield from _stand(room, b'{"status":404,"message":"mqtts pem cert file is not found!"}')


@scenario("ca-file-corrupt", primary="ca.corrupt-pem", status=BLOCKED)
@contextmanager
def corrupt(room: Room) -> Iterator[Stand]:
    """The CA file was cut while it was copied."""
    yield from _stand(room, room.root.pem()[:300])


@scenario("ca-file-der", primary="ca.not-pem", status={"ca.load": "failed", "tls.verify": "ok"})
@contextmanager
def der(room: Room) -> Iterator[Stand]:
    """The CA file is DER: readable for tbdiag, but mosquitto, paho and devices need PEM."""
    text = room.root.pem().decode()
    yield from _stand(room, base64.b64decode("".join(text.splitlines()[1:-1])))


@scenario("ca-file-unwrapped", rules=("ca.unwrapped-base64",), status=WORKS)
@contextmanager
def unwrapped(room: Room) -> Iterator[Stand]:
    """The base64 of the CA file stands on one line: some modem parsers refuse that."""
    first, *body, last = room.root.pem().splitlines()
    yield from _stand(room, b"\n".join([first, b"".join(body), last, b""]))


@scenario("ca-file-with-key", rules=("ca.private-key-in-file",), status=WORKS)
@contextmanager
def with_key(room: Room) -> Iterator[Stand]:
    """The CA file that is copied to every device holds the CA's private key."""
    yield from _stand(room, room.root.pem() + key_pem(room.root.key))


@scenario("stale-intermediate-in-file", rules=("ca.certificate-expired",), status=WORKS)
@contextmanager
def stale_intermediate(room: Room) -> Iterator[Stand]:
    """An expired intermediate beside the good root, as in ThingsBoard's own old file: harmless."""
    old = room.root.intermediate("Old R3", not_after=room.now - timedelta(days=400))
    yield from _stand(room, pem(old.certificate, room.root.certificate))


@scenario("future-certificate-in-file", rules=("ca.certificate-not-yet-valid",), status=WORKS)
@contextmanager
def future(room: Room) -> Iterator[Stand]:
    """The next root, not valid yet, beside today's: harmless."""
    next_root = Authority.root("Next Root", now=room.now + timedelta(days=30))
    yield from _stand(room, pem(room.root.certificate, next_root.certificate))


@scenario("ca-file-expiring", rules=("ca.certificate-expiring",), status={"tls.verify": "ok"})
@contextmanager
def expiring(room: Room) -> Iterator[Stand]:
    """A certificate in the CA file that the connection does not use expires in ten days."""
    end = room.now + timedelta(days=10)
    old = Authority.root("Old Root", not_before=room.now - DECADE, not_after=end)
    yield from _stand(room, pem(room.root.certificate, old.certificate))


@scenario("leaf-beside-root", rules=("ca.end-entity-in-file",), status=WORKS)
@contextmanager
def leaf_beside_root(room: Room) -> Iterator[Stand]:
    """The CA file holds a server certificate beside the root: it does nothing there."""
    yield from _stand(room, pem(room.issue().certificate, room.root.certificate))


@scenario("root-not-a-ca", rules=("ca.not-a-ca",), status={"ca.load": "warning"})
@contextmanager
def not_a_ca(room: Room) -> Iterator[Stand]:
    """The CA file holds a self-signed certificate that says it is no CA."""
    plain = Authority.root("Not a CA", is_ca=False, now=room.now)
    yield from _stand(room, pem(plain.certificate, room.root.certificate))


@scenario("weak-root-in-file", rules=("ca.weak-key",), status={"ca.load": "warning"})
@contextmanager
def weak_key(room: Room) -> Iterator[Stand]:
    """The CA file holds a root with a 1024-bit RSA key."""
    weak = Authority.root("Weak Root", key="rsa1024", now=room.now)
    yield from _stand(room, pem(weak.certificate, room.root.certificate))


@scenario("sha1-in-file", rules=("ca.weak-signature",), status={"ca.load": "warning"})
@contextmanager
def weak_signature(room: Room) -> Iterator[Stand]:
    """The CA file holds an intermediate signed with SHA-1."""
    weak = room.root.intermediate("SHA-1 Intermediate", signature_hash="sha1")
    yield from _stand(room, pem(weak.certificate, room.root.certificate))


@scenario("gap-in-file", rules=("ca.chain-gap",), status={"tls.verify": "ok"})
@contextmanager
def gap(room: Room) -> Iterator[Stand]:
    """The CA file holds an intermediate whose issuer is missing, beside the good root."""
    orphan = Authority.root("Absent Root", now=room.now).intermediate("Orphan", now=room.now)
    yield from _stand(room, pem(room.root.certificate, orphan.certificate))


@scenario("file-in-wrong-order", rules=("ca.wrong-order",), status={"tls.verify": "ok"})
@contextmanager
def wrong_order(room: Room) -> Iterator[Stand]:
    """The CA file lists the root before the intermediate it issued: a few parsers stop there."""
    yield from _stand(room, pem(room.root.certificate, room.intermediate.certificate))


@scenario("duplicate-in-file", rules=("ca.duplicate",), status={"tls.verify": "ok"})
@contextmanager
def duplicate(room: Room) -> Iterator[Stand]:
    """The CA file holds the same root twice."""
    yield from _stand(room, room.root.pem() * 2)
