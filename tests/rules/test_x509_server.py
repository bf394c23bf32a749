"""The server certificate's own faults, the path's, and where the stacks differ."""

from __future__ import annotations

from typing import Any

import pytest

from tbdiag.model import Options, Severity
from tbdiag.rules.x509_path import within
from tbdiag.sandbox.authority import Authority
from tests.chains import DAY, HOST, NOW, chain, chains, judged, renamed

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO
FAULTS: dict[str, dict[str, Severity]] = {
    "good": {},
    "good-deep": {},
    "root-sent": {"x509.root-presented": INFO},
    "self-signed-in-file": {},
    "expired": {"x509.certificate-expired": ERROR},
    "expired-wrong-name": {"x509.certificate-expired": ERROR, "x509.name-mismatch": ERROR},
    "not-yet-valid": {"x509.certificate-not-yet-valid": ERROR},
    "intermediate-expired": {"x509.intermediate-expired": ERROR},
    "wrong-name": {"x509.name-mismatch": ERROR},
    "wildcard": {},
    "wildcard-too-deep": {"x509.name-mismatch": ERROR},
    "no-san": {"x509.no-subject-alt-name": WARNING, "x509.client-stacks-disagree": WARNING},
    "no-san-wrong-name": {"x509.name-mismatch": ERROR, "x509.no-subject-alt-name": WARNING},
    "client-certificate": {"x509.not-server-auth": ERROR},
    "no-purpose": {},
    "rsa": {},
    "weak-ca-key": {"x509.weak-key": ERROR},
    "sha1": {"x509.weak-signature": ERROR},
    "path-length": {"x509.path-length": ERROR},
    "name-constraint": {"x509.name-constraint": ERROR},
    "not-a-ca": {"x509.issuer-not-a-ca": ERROR},
    "no-key-cert-sign": {"x509.issuer-not-a-ca": ERROR},
    "bad-signature": {"x509.bad-signature": ERROR},
    "bad-intermediate-signature": {"x509.bad-signature": ERROR},
    "unknown-critical": {"x509.unknown-critical-extension": ERROR},
    "ca-without-key-usage": {
        "x509.strict-violation": WARNING,
        "x509.client-stacks-disagree": WARNING,
    },
}


@pytest.mark.parametrize(("name", "expected"), FAULTS.items())
def test_a_fault_gives_its_findings_and_no_others(name: str, expected: dict[str, Any]) -> None:
    """Exactly these rules report, with these severities."""
    assert judged(chains()[name]).severities() == expected


def test_an_expired_certificate_is_the_cause_before_a_wrong_name() -> None:
    """Both are errors; the expiry is named as the root cause, although OpenSSL says 62."""
    seen = judged(chains()["expired-wrong-name"])
    assert (seen.primary, seen.evidence.deciding.code) == ("x509.certificate-expired", "62")


def test_a_certificate_that_ends_soon_is_a_warning() -> None:
    """Ten days left of a long life."""
    root = Authority.root()
    soon = root.issue_server(HOST, not_before=NOW - 300 * DAY, not_after=NOW + 10 * DAY)
    assert judged(chain(soon, root)).severities() == {"x509.certificate-expiring": WARNING}


def test_a_six_day_certificate_in_its_first_days_is_fine() -> None:
    """The threshold of a short life is a third of it."""
    root = Authority.root()
    short = root.issue_server(HOST, not_before=NOW - DAY, not_after=NOW + 5 * DAY)
    assert judged(chain(short, root)).findings == ()


def test_critical_days_make_it_an_error() -> None:
    """--critical-days 20 with ten days left."""
    root = Authority.root()
    soon = root.issue_server(HOST, not_before=NOW - 300 * DAY, not_after=NOW + 10 * DAY)
    seen = judged(chain(soon, root), options=Options(critical_days=20))
    assert seen.severities() == {"x509.certificate-expiring": ERROR}


def test_an_expired_intermediate_that_is_not_needed_is_a_warning() -> None:
    """The server still sends it beside the path that works."""
    root = Authority.root()
    gone = root.intermediate("Gone", not_before=NOW - 99 * DAY, not_after=NOW - DAY)
    good = root.intermediate().issue_server(HOST)
    subject = chain(good.presenting(*good.chain, gone.certificate), root)
    assert judged(subject).severities()["x509.intermediate-expired"] is WARNING


def test_everything_in_the_future_means_that_the_clock_is_behind() -> None:
    """All certificates not yet valid, the root too: clock.skew, and the rest follows from it."""
    seen = judged(chains()["good"], at=NOW - 6000 * DAY)
    assert seen.primary == "clock.skew"
    assert "x509.certificate-not-yet-valid" in seen.severities()


def test_one_certificate_in_the_future_does_not_blame_the_clock() -> None:
    """The CA is valid, so the clock is believed."""
    assert "clock.skew" not in judged(chains()["not-yet-valid"]).severities()


def test_a_wildcard_that_is_too_short_is_explained() -> None:
    """*.example.org covers one label."""
    cause = judged(chains()["wildcard-too-deep"]).of("x509.name-mismatch").cause
    assert cause == "The wildcard *.example.org covers one label only, so not mqtt.eu.example.org."


def test_an_address_in_the_common_name_is_explained() -> None:
    """ThingsBoard's older recipe with an IP address: it stands there as a name."""
    root = Authority.root()
    seen = judged(chain(root.issue_server("127.0.0.1", alt_names=()), root, host="127.0.0.1"))
    cause = seen.of("x509.name-mismatch").cause
    assert cause == "127.0.0.1 stands in the certificate as a name, not as an IP address."
    assert "subjectAltName=IP:127.0.0.1" in seen.of("x509.name-mismatch").fix


def test_thingsboard_clouds_web_host_is_redirected() -> None:
    """thingsboard.cloud is the web host; MQTT is at mqtt.thingsboard.cloud."""
    seen = judged(renamed(chains()["good"], "thingsboard.cloud"))
    assert "mqtt.thingsboard.cloud" in seen.of("x509.name-mismatch").fix


def test_an_address_that_only_old_mbedtls_misses_is_worth_knowing() -> None:
    """mbedTLS before 3.5 does not compare IP addresses: an info, not a warning."""
    pytest.importorskip("mbedtls")
    root = Authority.root()
    seen = judged(chain(root.issue_server(), root, host="127.0.0.1"))
    assert seen.severities() == {"x509.client-stacks-disagree": INFO}


def test_the_same_name_refused_by_the_deciding_mbedtls_is_explained() -> None:
    """With --client mbedtls the refusal by address is a name mismatch that names the reason."""
    pytest.importorskip("mbedtls")
    root = Authority.root()
    seen = judged(chain(root.issue_server(), root, host="127.0.0.1"), client="mbedtls")
    assert "before 3.5" in seen.of("x509.name-mismatch").cause


def test_a_ca_certificate_first_is_an_error() -> None:
    """The first certificate is taken for the server's: wrong order is the cause of the rest."""
    root = Authority.root()
    middle = root.intermediate()
    issued = middle.issue_server(HOST)

    class Swapped:
        certificate = middle.certificate
        chain = (issued.certificate,)

    seen = judged(chain(Swapped, root))  # type: ignore[arg-type]
    assert seen.primary == "x509.wrong-order"


def test_reversed_intermediates_break_mbedtls_only() -> None:
    """OpenSSL sorts them, mbedTLS looks forward only: a warning here, the cause there."""
    pytest.importorskip("mbedtls")
    assert judged(chains()["reversed"]).severities()["x509.wrong-order"] is WARNING
    assert judged(chains()["reversed"], client="mbedtls").primary == "x509.wrong-order"


def test_each_stack_has_its_words_when_they_disagree() -> None:
    """The message holds one clause per stack with its own reason."""
    finding = judged(chains()["file-is-intermediate"]).of("x509.client-stacks-disagree")
    assert "openssl rejects: unable to get issuer certificate (2)" in finding.message
    assert "openssl-strict accepts" in finding.message


def test_python_3_13s_refusal_names_the_certificate() -> None:
    """A CA without keyUsage passes everywhere but there."""
    finding = judged(chains()["ca-without-key-usage"]).of("x509.strict-violation")
    assert finding.subject == '"No keyUsage"'
    assert "(92)" in finding.message


def test_a_strict_violation_is_an_error_where_python_decides() -> None:
    """With --client python it is what refuses."""
    seen = judged(chains()["ca-without-key-usage"], client="openssl-strict")
    assert seen.primary == "x509.strict-violation"


@pytest.mark.parametrize(
    ("name", "subtree", "inside"),
    [
        ("DNS:a.example.org", "DNS:example.org", True),
        ("DNS:a.example.org", "DNS:.example.org", True),
        ("DNS:example.org", "DNS:.example.org", False),
        ("DNS:badexample.org", "DNS:example.org", False),
        ("IP:10.1.2.3", "IP:10.0.0.0/8", True),
        ("IP:11.1.2.3", "IP:10.0.0.0/8", False),
        ("IP:10.1.2.3", "DNS:example.org", False),
    ],
)
def test_subtrees_of_name_constraints(name: str, subtree: str, inside: bool) -> None:
    """A name lies in a subtree by whole labels, an address by its network."""
    assert within(name, subtree) is inside
