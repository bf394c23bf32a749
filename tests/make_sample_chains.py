"""Write sample_chains/: one folder per case, without any private key.

    python -m tests.make_sample_chains [FOLDER]

Validity is fixed and each case names the moment to judge it at, so the verdicts never change. Keys
are made anew and thrown away: the bytes differ from run to run, what is said of them does not.
"""

from __future__ import annotations

import base64
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from tbdiag.sandbox.authority import Authority, Issued, pem, self_signed

FOLDER = Path(__file__).parents[1] / "sample_chains"
AT = datetime(2026, 1, 15, tzinfo=UTC)
START = datetime(2024, 1, 1, tzinfo=UTC)
FAR = datetime(2044, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
HOST = "broker.example.org"


@dataclass(frozen=True)
class Case:
    """One folder: what the device has, what the server presents, and what must be found."""

    ca: bytes
    presented: bytes
    rules: tuple[str, ...] = ()
    """Rule ids that must be reported."""
    primary: str = ""
    """The root cause; empty when the server is accepted."""
    host: str = HOST
    at: datetime = AT


@dataclass
class Cases:
    """The functions that make the cases, by folder name."""

    table: dict[str, Callable[[], Case]] = field(default_factory=dict)

    def __call__(self, function: Callable[[], Case]) -> Callable[[], Case]:
        self.table[function.__name__.replace("_", "-")] = function
        return function


case = Cases()


def root(name: str = "Example Root", **options: object) -> Authority:
    return Authority.root(name, **{"now": AT, "not_before": START, "not_after": FAR, **options})


def below(authority: Authority, name: str = "Example Issuing CA", **options: object) -> Authority:
    return authority.intermediate(name, **{"not_before": START, "not_after": FAR, **options})


def server(authority: Authority, *names: str, **options: object) -> Issued:
    dates = {"not_before": AT - 30 * DAY, "not_after": AT + 60 * DAY}
    return authority.issue_server(*(names or (HOST,)), **{**dates, **options})


def unwrapped(*certificates: x509.Certificate) -> bytes:
    """PEM as ThingsBoard's documentation offered it: each base64 body on one line."""
    lines = []
    for certificate in certificates:
        body = base64.b64encode(certificate.public_bytes(Encoding.DER))
        lines += [b"-----BEGIN CERTIFICATE-----", body, b"-----END CERTIFICATE-----"]
    return b"\n".join(lines) + b"\n"


@case
def healthy() -> Case:
    """The root on the device, the server presents its certificate and the intermediate."""
    top = root()
    return Case(top.pem(), server(below(top)).chain_pem())


@case
def stale_file() -> Case:
    """The twin of ThingsBoard's own file: an intermediate expired in 2025 beside a valid root."""
    top = root()
    old = below(top, "Example R3", not_after=datetime(2025, 9, 15, 16, tzinfo=UTC))
    found = ("ca.certificate-expired", "ca.unwrapped-base64")
    return Case(unwrapped(old.certificate, top.certificate), server(below(top)).chain_pem(), found)


@case
def wrong_ca_file() -> Case:
    """The device has the root of another installation."""
    primary = "x509.wrong-ca-file"
    return Case(root("Other Root").pem(), server(below(root())).chain_pem(), (primary,), primary)


@case
def missing_intermediate() -> Case:
    """The server presents its own certificate only; the device has the right root."""
    top, primary = root(), "x509.missing-intermediate"
    return Case(top.pem(), server(below(top)).pem(), (primary,), primary)


@case
def ca_file_is_end_entity() -> Case:
    """The device has the server's own certificate in place of its root."""
    made = server(below(root()))
    primary = "x509.ca-file-is-end-entity"
    return Case(made.pem(), made.chain_pem(), (primary, "ca.end-entity-in-file"), primary)


@case
def ca_file_is_old_end_entity() -> Case:
    """The device has the server's certificate from before its renewal."""
    issuing = below(root())
    old = server(issuing, not_before=AT - 120 * DAY, not_after=AT - 30 * DAY)
    primary = "x509.ca-file-is-end-entity"
    return Case(old.pem(), server(issuing).chain_pem(), (primary,), primary)


@case
def ca_file_is_intermediate() -> Case:
    """The device has the intermediate only: OpenSSL refuses, mbedTLS accepts."""
    issuing = below(root())
    primary = "x509.ca-file-is-intermediate"
    found = (primary, "ca.no-root", "x509.client-stacks-disagree")
    return Case(issuing.pem(), server(issuing).chain_pem(), found, primary)


@case
def self_signed_server() -> Case:
    """The server presents a self-signed certificate that is not in the CA file."""
    made = self_signed(HOST, now=AT, not_before=START, not_after=FAR)
    return Case(root().pem(), made.pem(), ("x509.self-signed-server",), "x509.self-signed-server")


@case
def self_signed_server_as_ca_file() -> Case:
    """The server's self-signed certificate is its own CA file: fine."""
    made = self_signed(HOST, now=AT, not_before=START, not_after=FAR)
    return Case(made.pem(), made.pem())


@case
def anchor_key_changed() -> Case:
    """The root was made anew with the same name and another key."""
    top, primary = root(), "x509.anchor-key-changed"
    twin = top.twin(not_before=START, not_after=FAR)
    return Case(twin.pem(), server(below(top)).chain_pem(), (primary,), primary)


@case
def anchor_expired() -> Case:
    """The right root, but it has expired."""
    top = root(not_after=AT - 10 * DAY)
    primary = "x509.anchor-expired"
    found = (primary, "ca.certificate-expired")
    return Case(top.pem(), server(below(top)).chain_pem(), found, primary)


@case
def anchor_expired_beside_its_successor() -> Case:
    """The old root has expired; the same key's newer root is in the file and works."""
    old = root(not_after=AT - 10 * DAY)
    new = old.twin(key=old.key, not_before=START, not_after=FAR)
    ca = pem(old.certificate, new.certificate)
    return Case(ca, server(below(new)).chain_pem(), ("ca.certificate-expired",))


@case
def certificate_expired() -> Case:
    """The server's certificate has expired."""
    top, primary = root(), "x509.certificate-expired"
    made = server(below(top), not_before=AT - 91 * DAY, not_after=AT - DAY)
    return Case(top.pem(), made.chain_pem(), (primary,), primary)


@case
def certificate_not_yet_valid() -> Case:
    """The server's certificate is valid from tomorrow."""
    top, primary = root(), "x509.certificate-not-yet-valid"
    made = server(below(top), not_before=AT + DAY, not_after=AT + 90 * DAY)
    return Case(top.pem(), made.chain_pem(), (primary,), primary)


@case
def short_lived_certificate_expiring() -> Case:
    """A six-day certificate in its last third: accepted, with a warning."""
    top = root()
    made = server(below(top), not_before=AT - 5 * DAY, not_after=AT + DAY)
    return Case(top.pem(), made.chain_pem(), ("x509.certificate-expiring",))


@case
def intermediate_expired() -> Case:
    """The intermediate that the server presents has expired."""
    top, primary = root(), "x509.intermediate-expired"
    old = below(top, not_after=AT - DAY)
    return Case(top.pem(), server(old).chain_pem(), (primary,), primary)


@case
def name_mismatch_and_expired() -> Case:
    """A wrong name on an expired certificate: both are listed."""
    top = root()
    made = server(top, "mqtt.example.org", not_before=AT - 91 * DAY, not_after=AT - DAY)
    found = ("x509.name-mismatch", "x509.certificate-expired")
    return Case(top.pem(), made.chain_pem(), found, found[1])


@case
def wildcard_covers_one_label() -> Case:
    """*.example.org does not cover mqtt.eu.example.org, as on ThingsBoard Cloud."""
    top, primary = root(), "x509.name-mismatch"
    made = server(below(top), "*.example.org")
    return Case(top.pem(), made.chain_pem(), (primary,), primary, "mqtt.eu.example.org")


@case
def documentation_recipe() -> Case:
    """ThingsBoard's own recipe: an X.509 v1 server certificate, a CA without keyUsage."""
    top = root("ThingsBoard-like CA", key_usage=None, key="rsa")
    made = server(top, alt_names=(), version=1, key="rsa")
    found = ("x509.no-subject-alt-name", "ca.strict-violation", "x509.client-stacks-disagree")
    return Case(top.pem(), made.chain_pem(), found)


@case
def wrong_order() -> Case:
    """The server's file has the root before the intermediate."""
    top = root()
    made = server(below(top))
    shown = pem(made.certificate, top.certificate, *made.chain)
    return Case(top.pem(), shown, ("x509.wrong-order", "x509.root-presented"))


@case
def bad_signature() -> Case:
    """A certificate whose signature does not verify."""
    top, primary = root(), "x509.bad-signature"
    made = server(top).with_bad_signature()
    return Case(top.pem(), made.chain_pem(), (primary,), primary)


@case
def authority_key_identifier_differs() -> Case:
    """The certificate names another key of its issuer than the root's: OpenSSL finds no issuer."""
    top, primary = root(), "x509.key-identifier-mismatch"
    made = server(top, aki=b"\x01" * 20)
    return Case(top.pem(), made.chain_pem(), (primary,), primary)


@case
def issuer_name_in_other_letters() -> Case:
    """Issuer and subject differ in the case of an umlaut: equal by RFC 5280, not for OpenSSL."""
    top, primary = root("Ärzte Root"), "x509.unknown-ca"
    made = server(top, issuer="ärzte Root", aki=False)
    return Case(top.pem(), made.pem(), (primary,), primary)


@case
def extension_that_cannot_be_parsed() -> Case:
    """The authorityKeyIdentifier is garbage: OpenSSL finds no issuer of such a certificate."""
    top, primary = root(), "x509.malformed-certificate"
    oid = x509.ObjectIdentifier("2.5.29.35")
    garbage = x509.UnrecognizedExtension(oid, b"\x30\x09\x80")
    made = server(top, aki=False, extensions=[(garbage, False)])
    return Case(top.pem(), made.pem(), (primary,), primary)


@case
def ca_file_as_der() -> Case:
    """The right root as DER: OpenSSL clients need PEM."""
    top = root()
    data = top.certificate.public_bytes(Encoding.DER)
    return Case(data, server(below(top)).chain_pem(), ("ca.not-pem",), "ca.not-pem")


@case
def ca_file_as_pkcs7() -> Case:
    """The right root in a PKCS#7 bundle."""
    top = root()
    data = pkcs7.serialize_certificates([top.certificate], Encoding.PEM)
    return Case(data, server(below(top)).chain_pem(), ("ca.not-pem",), "ca.not-pem")


@case
def ca_file_is_html() -> Case:
    """A login page was saved in place of the CA file."""
    data = b"<!DOCTYPE html>\n<html><head><title>ThingsBoard</title></head></html>\n"
    primary = "ca.not-a-certificate"
    return Case(data, server(root()).chain_pem(), (primary,), primary)


@case
def ca_file_damaged() -> Case:
    """A letter of the base64 was lost in copying: OpenSSL refuses the whole file."""
    top = root()
    lines = (top.pem() + root("Second Root").pem()).splitlines(keepends=True)
    lines[-3] = b"#" + lines[-3][1:]
    primary = "ca.corrupt-pem"
    return Case(b"".join(lines), server(below(top)).chain_pem(), (primary,), primary)


@case
def ca_file_untidy() -> Case:
    """Root first, a copy of it, a stray intermediate and a weak one: accepted, all is listed."""
    top, stray = root(), below(root("Absent Root"), "Stray Intermediate")
    weak = below(top, "Weak CA", key="rsa1024", signature_hash="sha1")
    ca = pem(*(a.certificate for a in (top, weak, stray, top)))
    found = ("ca.wrong-order", "ca.duplicate", "ca.chain-gap", "ca.weak-key", "ca.weak-signature")
    return Case(ca, server(below(top)).chain_pem(), found)


def write(folder: Path) -> None:
    """Write every case below `folder`, in place of what is there."""
    for name, make in case.table.items():
        made, place = make(), folder / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        (place / "ca.pem").write_bytes(made.ca)
        (place / "presented.pem").write_bytes(made.presented)
        (place / "case.toml").write_text(described(made, make.__doc__ or ""), encoding="utf-8")


def described(made: Case, text: str) -> str:
    """The case.toml of a case."""
    rules = ", ".join(f'"{rule}"' for rule in made.rules)
    return (
        f'description = "{" ".join(text.split())}"\n'
        f'host = "{made.host}"\n'
        f"at = {made.at.isoformat().replace('+00:00', 'Z')}\n"
        f"rules = [{rules}]\n"
        f'primary = "{made.primary}"\n'
    )


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
