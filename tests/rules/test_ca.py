"""rules.ca*: what is said of a CA file, and how grave it is for this connection."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tbdiag import registry
from tbdiag.checks.ca import summary
from tbdiag.context import Case
from tbdiag.evidence import (
    CaEvidence,
    CaProblem,
    CaSource,
    ClientDecision,
    HandshakeEvidence,
    NameMatch,
    SecondOpinion,
    VerifyEvidence,
)
from tbdiag.model import Options, Severity, Target
from tbdiag.protocol import x509
from tbdiag.protocol.ca_file import read_ca
from tbdiag.protocol.public_roots import public_source
from tbdiag.rules import ca, ca_certificates, ca_chain
from tbdiag.rules._expiry import expiry_severity, in_words
from tbdiag.rules._strict import strict_violations
from tbdiag.sandbox.authority import Authority, key_pem, self_signed

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO
MODULES = (ca, ca_certificates, ca_chain)


def parsed(thing):
    certificate = getattr(thing, "certificate", thing)
    return x509.parse_certificate(certificate.public_bytes(Encoding.DER))


@pytest.fixture(scope="module")
def root():
    return Authority.root("Root", now=NOW)


def pem(*things):
    return x509.encode_pem([parsed(t) for t in things]).encode()


def verified(verdict="accept", path=(), client="openssl", opinion=None):
    decision = ClientDecision(client, verdict, "ok", path=tuple(map(parsed, path)))
    match = NameMatch("broker.example", ("DNS:broker.example",), True)
    return VerifyEvidence(NOW, match, client, (decision,), opinion or SecondOpinion())


def judge(data=None, *, evidence=None, verify=None, presented=(), options=None, now=NOW):
    """The findings of every ca.* rule, as {rule id: [finding]}."""
    if evidence is None:
        evidence = CaEvidence((read_ca(data, "ca.pem", "file", "ca.pem"),))
    seen = {CaEvidence: evidence}
    if verify:
        seen[VerifyEvidence] = verify
    if presented:
        chain = tuple(map(parsed, presented))
        seen[HandshakeEvidence] = HandshakeEvidence(
            "broker.example", True, "established", certificate_list=chain
        )
    case = Case(Target("broker.example"), options or Options(), now, seen)
    found = {}
    for rule in registry.RULES.values():
        if rule.id.startswith("ca."):
            for finding in rule.findings(case):
                found.setdefault(rule.id, []).append(finding)
    return found


def severities(found):
    return {rule: finding[0].severity for rule, finding in found.items()}


def broken(kind, detail="x", refused=False, certificates=(), origin="file", status=None):
    problem = CaProblem(kind, detail, None, refused)
    return CaSource(
        "ca.pem",
        origin,
        "ca.pem",
        problems=(problem,),
        certificates=tuple(map(parsed, certificates)),
        http_status=status,
    )


def test_a_good_root_has_no_finding(root):
    """A file with one valid root earns nothing."""
    assert judge(pem(root)) == {}


def test_a_root_with_its_intermediate_has_no_finding(root):
    """The usual order, intermediate before root, is fine."""
    assert judge(pem(root.intermediate("I"), root)) == {}


def test_public_roots_have_no_finding():
    """Oddities of the public bundle are not the user's business."""
    assert judge(evidence=CaEvidence((public_source("public"),))) == {}


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("file-not-found", "ca.file-not-found"),
        ("file-unreadable", "ca.file-unreadable"),
        ("empty", "ca.empty"),
        ("not-a-certificate", "ca.not-a-certificate"),
        ("download-failed", "ca.download-failed"),
        ("download-not-configured", "ca.download-not-configured"),
    ],
)
def test_a_source_without_certificates_is_an_error(kind, rule):
    """Each way to have no certificate is one rule's error, with a repair."""
    found = judge(evidence=CaEvidence((broken(kind, refused=True),)))
    assert severities(found) == {rule: ERROR}
    assert (
        "tbdiag ca recommend broker.example:8883" in found[rule][0].fix
        or "ls -ld" in found[rule][0].fix
        or "curl" in found[rule][0].fix
    )


@pytest.mark.parametrize("kind", ["corrupt-pem", "not-pem"])
@pytest.mark.parametrize(
    ("client", "refused", "expected"),
    [
        ("openssl", True, ERROR),
        ("mbedtls", True, WARNING),
        ("openssl", False, WARNING),
    ],
)
def test_a_file_that_openssl_refuses_is_an_error_for_openssl(root, kind, client, refused, expected):
    """OpenSSL refuses the whole file for one damaged block; mbedTLS passes over it."""
    source = broken(kind, refused=refused, certificates=[root])
    found = judge(evidence=CaEvidence((source,)), verify=verified(client=client))
    assert severities(found) == {f"ca.{kind}": expected}
    assert found[f"ca.{kind}"][0].pem.count("BEGIN CERTIFICATE") == 1


def test_der_is_converted_by_a_command(root):
    """A DER file is named, with the openssl command that turns it into PEM."""
    found = judge(parsed(root).der)
    assert "openssl x509 -inform der -in ca.pem -out ca-new.pem" in found["ca.not-pem"][0].fix


def test_a_stranger_beside_a_certificate_is_a_warning(root):
    """A public key beside a good root does not stop anyone."""
    source = broken("not-a-certificate", certificates=[root])
    assert severities(judge(evidence=CaEvidence((source,)))) == {"ca.not-a-certificate": WARNING}


def test_unwrapped_base64_is_a_warning_with_the_wrapped_file(root):
    """The finding holds the same certificate at 64 columns."""
    body = base64.b64encode(parsed(root).der)
    data = b"-----BEGIN CERTIFICATE-----\n" + body + b"\n-----END CERTIFICATE-----\n"
    found = judge(data)
    assert severities(found) == {"ca.unwrapped-base64": WARNING}
    assert max(map(len, found["ca.unwrapped-base64"][0].pem.splitlines())) <= 64


def test_a_private_key_in_the_file_is_a_warning_without_its_text(root):
    """The key is named; not a line of it appears in the finding."""
    key = key_pem(root.key)
    found = judge(pem(root) + key)
    assert severities(found) == {"ca.private-key-in-file": WARNING}
    assert not any(line in repr(found) for line in key.decode().splitlines()[1:-1])


def expired(root):
    return root.intermediate("Old", not_before=NOW - 90 * DAY, not_after=NOW - DAY)


def test_an_expired_intermediate_beside_a_good_root_is_a_warning(root):
    """The twin of ThingsBoard's own stale file: harmless, and said so."""
    found = judge(pem(expired(root), root))
    assert severities(found) == {"ca.certificate-expired": WARNING}
    assert "2026-02-28" in found["ca.certificate-expired"][0].message


def test_an_expired_root_alone_is_an_error_until_a_chain_was_judged():
    """Without another anchor nothing can be accepted; with a verdict x509 names the cause."""
    old = Authority.root("Old", now=NOW, not_before=NOW - 90 * DAY, not_after=NOW - DAY)
    assert severities(judge(pem(old))) == {"ca.certificate-expired": ERROR}
    found = judge(pem(old), verify=verified("reject"))
    assert severities(found) == {"ca.certificate-expired": WARNING}


def test_a_root_that_is_not_valid_yet():
    """A root from the future names the clock."""
    early = Authority.root("Early", now=NOW, not_before=NOW + DAY, not_after=NOW + 400 * DAY)
    found = judge(pem(early))
    assert severities(found) == {"ca.certificate-not-yet-valid": ERROR}
    assert "date -u" in found["ca.certificate-not-yet-valid"][0].fix


def test_expiring_follows_the_thresholds(root):
    """29 days left is a warning, an error with --critical-days 30, and idle it stays a warning."""
    soon = Authority.root("Soon", now=NOW, not_after=NOW + 29 * DAY)
    critical = Options(critical_days=30)
    rule = "ca.certificate-expiring"
    long = Authority.root("L", now=NOW, not_before=NOW - 900 * DAY, not_after=NOW + 29 * DAY)
    assert severities(judge(pem(long)))[rule] is WARNING
    assert severities(judge(pem(soon), options=critical))[rule] is ERROR
    idle = judge(pem(soon, root), options=critical, verify=verified(path=[root]))
    assert severities(idle)[rule] is WARNING


@pytest.mark.parametrize(
    ("life", "left", "options", "expected"),
    [
        (3650, 31, Options(), None),
        (3650, 29, Options(), WARNING),
        (90, 29, Options(), WARNING),
        (45, 16, Options(), None),
        (45, 14, Options(), WARNING),
        (6, 2.5, Options(), None),
        (6, 1.5, Options(), WARNING),
        (3650, 50, Options(warn_days=60), WARNING),
        (3650, 50, Options(warn_days=60, critical_days=55), ERROR),
        (3650, -1, Options(), None),
    ],
)
def test_expiry_severity(life, left, options, expected):
    """Days, or a third of a short life; nothing once it has expired."""
    end = NOW + left * DAY
    made = parsed(Authority.root("R", now=NOW, not_before=end - life * DAY, not_after=end))
    assert expiry_severity(made, NOW, options) is expected


def test_expiry_in_words(root):
    """Days both ways, hours at the end."""
    made = parsed(root)
    assert in_words(made, made.not_after - 10 * DAY).endswith("(in 10 days)")
    assert in_words(made, made.not_after + 10 * DAY).endswith("(10 days ago)")
    assert in_words(made, made.not_after - timedelta(hours=5)).endswith("(in 5 hours)")


def test_intermediates_alone_have_no_root(root):
    """The topmost certificate of the file is named; with a judged chain it is a warning."""
    low = root.intermediate("Middle").intermediate("Low")
    data = pem(low, root.intermediate("Middle"))
    found = judge(pem(low, *low.path[1:2]))
    assert severities(found) == {"ca.no-root": ERROR}
    assert found["ca.no-root"][0].subject == "Middle"
    assert severities(judge(data, verify=verified()))["ca.no-root"] is WARNING


def test_an_end_entity_certificate_in_the_file(root):
    """A leaf beside its root is a warning; alone it is an error until a chain was judged."""
    leaf = root.issue_server("broker.example")
    rule = "ca.end-entity-in-file"
    assert severities(judge(pem(leaf, root))) == {rule: WARNING}
    assert severities(judge(pem(leaf)))[rule] is ERROR
    assert severities(judge(pem(leaf), verify=verified("reject")))[rule] is WARNING


def test_a_self_signed_server_certificate_as_its_own_ca_file_is_fine():
    """The server presents this very certificate: nothing to object to."""
    own = self_signed("broker.example", now=NOW)
    assert judge(pem(own), presented=[own], verify=verified(path=[own])) == {}


def test_a_self_signed_certificate_that_is_no_ca(root):
    """CA:FALSE in a root is named when the server presents something else."""
    own = self_signed("broker.example", now=NOW, is_ca=False)
    assert severities(judge(pem(own)))["ca.not-a-ca"] is WARNING
    leaf = root.issue_server("broker.example")
    assert "ca.not-a-ca" in judge(pem(own), presented=[leaf], verify=verified("reject"))


def test_the_ca_of_the_documentation_recipe_is_a_strict_violation():
    """A CA without keyUsage works with OpenSSL and is refused by Python 3.13."""
    recipe = Authority.root("Recipe", now=NOW, key_usage=None)
    found = judge(pem(recipe))
    assert severities(found) == {"ca.strict-violation": WARNING}
    assert "without keyUsage" in found["ca.strict-violation"][0].message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"key_usage": None}, "without keyUsage"),
        ({"basic_constraints_critical": False}, "not critical"),
        ({"ski": False}, "without subjectKeyIdentifier"),
        ({"aki": False}, "no authorityKeyIdentifier"),
        ({"is_ca": False}, "keyCertSign although"),
    ],
)
def test_each_strict_violation_has_its_words(root, options, words):
    """Every deviation from the profile is one clause."""
    assert any(words in v for v in strict_violations(parsed(root.intermediate("I", **options))))


def test_a_weak_key_and_a_weak_signature():
    """RSA 1024 and SHA-1 on an intermediate are warnings; SHA-1 on a root is not."""
    weak = Authority.root("Weak", now=NOW, key="rsa1024", signature_hash="sha1")
    assert severities(judge(pem(weak))) == {"ca.weak-key": WARNING}
    low = weak.intermediate("Low", signature_hash="sha1")
    assert judge(pem(low, weak))["ca.weak-signature"][0].subject == "Low"


def test_a_gap_between_intermediate_and_root(root):
    """An intermediate whose issuer is another CA, or the same name with another key, is a gap."""
    other = Authority.root("Other", now=NOW).intermediate("Stray")
    assert "is not in the file" in judge(pem(other, root))["ca.chain-gap"][0].message
    child = root.intermediate("Child")
    assert "another key" in judge(pem(child, root.twin()))["ca.chain-gap"][0].message


def test_a_cross_signed_root_is_no_gap(root):
    """Beside the root of the same key its cross-signed twin needs no issuer in the file."""
    crossed = Authority.root("Older", now=NOW).cross_sign(root)
    assert judge(pem(crossed, root)) == {}


def test_order_and_duplicates_are_worth_knowing(root):
    """Root first, or the same certificate twice, is an info."""
    assert severities(judge(pem(root, root.intermediate("I")))) == {"ca.wrong-order": INFO}
    assert severities(judge(pem(root, root))) == {"ca.duplicate": INFO}


def downloaded(*things):
    location = "https://tb.example/api/device-connectivity/mqtts/certificate/download"
    certificates = tuple(map(parsed, things))
    return CaEvidence((CaSource("auto", "download", location, certificates=certificates),))


def test_a_download_that_does_not_reach_the_server_is_stale(root):
    """The platform's own CA file does not lead to what the port presents: an error when used."""
    leaf = Authority.root("New", now=NOW).issue_server("broker.example")
    found = judge(evidence=downloaded(root), presented=[leaf], verify=verified("reject"))
    assert severities(found) == {"ca.stale-download": ERROR}


def test_a_download_that_reaches_the_server_is_not_stale(root):
    """The right CA with another fault (a name, a date) is not called stale."""
    leaf = root.issue_server("other.example")
    found = judge(evidence=downloaded(root), presented=[leaf], verify=verified("reject"))
    assert found == {}


def test_a_stale_download_beside_a_good_file_is_a_warning(root):
    """Compared as a second opinion it cannot stop this client."""
    opinion = SecondOpinion(downloaded_from="https://tb.example/x", downloaded_trusts=False)
    leaf = root.issue_server("broker.example")
    found = judge(pem(root), presented=[leaf], verify=verified(path=[leaf, root], opinion=opinion))
    assert severities(found) == {"ca.stale-download": WARNING}


def test_a_failed_attempt_of_auto_does_not_fail_the_diagnosis():
    """A guessed address that offers nothing is an info, 404 of ThingsBoard as well."""
    for kind, rule in (
        ("download-failed", "ca.download-failed"),
        ("download-not-configured", "ca.download-not-configured"),
        ("not-a-certificate", "ca.download-failed"),
    ):
        attempt = broken(kind, "an HTML page", origin="download")
        evidence = CaEvidence((public_source("auto"),), (attempt,))
        assert severities(judge(evidence=evidence)) == {rule: INFO}


def test_every_ca_rule_explains_itself():
    """Each has a title and an explanation, and speaks of the stage ca.load."""
    rules = [r for r in registry.RULES.values() if r.id.startswith("ca.")]
    assert len(rules) == 23
    for rule in rules:
        assert rule.title
        assert len(rule.doc) > 60
        assert rule.stage == "ca.load"


def test_the_summary_names_the_first_to_expire(root):
    """One line: how many, from where, which ends first and when."""
    evidence = CaEvidence((read_ca(pem(expired(root), root), "ca.pem", "file", "ca.pem"),))
    expected = "2 certificates from ca.pem; earliest expiry 2026-02-28 (Old)"
    assert summary(evidence) == expected
