"""The meanings of unknown CA: each chain gives its own primary."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, ObjectIdentifier

from tbdiag.evidence import SecondOpinion
from tbdiag.fact import replace
from tbdiag.model import Options, Severity
from tbdiag.registry import RULES, load
from tbdiag.sandbox.authority import Authority
from tests.chains import DAY, HOST, NOW, Chain, chain, chains, judged, parsed

MEANINGS = {
    "wrong-ca": "x509.wrong-ca-file",
    "wrong-ca-root-sent": "x509.wrong-ca-file",
    "wrong-ca-direct": "x509.wrong-ca-file",
    "leaf-only": "x509.missing-intermediate",
    "leaf-only-intermediate-in-file": "x509.ca-file-is-intermediate",
    "file-is-leaf": "x509.ca-file-is-end-entity",
    "file-is-old-leaf": "x509.ca-file-is-end-entity",
    "file-is-intermediate": "x509.ca-file-is-intermediate",
    "file-is-leaf-and-intermediate": "x509.ca-file-is-intermediate",
    "self-signed-elsewhere": "x509.self-signed-server",
    "self-signed-renewed": "x509.self-signed-server",
    "twin": "x509.anchor-key-changed",
    "twin-without-ids": "x509.anchor-key-changed",
    "anchor-expired": "x509.anchor-expired",
    "cross-signed-old-root": "x509.anchor-expired",
    "expired-wrong-ca": "x509.wrong-ca-file",
    "intermediate-expired-wrong-ca": "x509.wrong-ca-file",
}
UNKNOWN_CA = {
    *MEANINGS.values(),
    "x509.tls-intercepted",
    "x509.web-ca-not-mqtt-ca",
    "x509.unknown-ca",
}


@pytest.mark.parametrize(("name", "primary"), MEANINGS.items())
def test_each_meaning_is_its_own_primary(name: str, primary: str) -> None:
    """The chain's one meaning of unknown CA is the root cause, and no other is reported."""
    seen = judged(chains()[name])
    assert seen.primary == primary
    assert UNKNOWN_CA & {f.rule for f in seen.findings if f.severity is Severity.ERROR} == {primary}


@pytest.mark.parametrize("name", sorted(set(chains()) - set(MEANINGS)))
def test_other_faults_are_not_called_an_unknown_ca(name: str) -> None:
    """No meaning of unknown CA is reported where a path to the CA file exists."""
    seen = judged(chains()[name])
    assert not UNKNOWN_CA & {f.rule for f in seen.findings if f.severity is Severity.ERROR}


@pytest.mark.parametrize("client", ["openssl", "openssl-strict", "mbedtls", "webpki"])
@pytest.mark.parametrize("name", sorted(chains()))
def test_no_refusal_is_mute(name: str, client: str) -> None:
    """Whichever stack decides: a refusal has an error finding, an acceptance has none."""
    if client == "mbedtls":
        pytest.importorskip("mbedtls")
    seen = judged(chains()[name], client=client)
    assert seen.evidence.trusted == (seen.primary is None)
    assert seen.primary != "tbdiag.unexplained"


@pytest.mark.parametrize("name", sorted(chains()))
def test_every_finding_says_what_why_and_what_to_do(name: str) -> None:
    """No finding leaves its message, cause or fix empty."""
    for finding in judged(chains()[name]).findings:
        assert all((finding.message, finding.cause, finding.fix, finding.reference)), finding.rule


def test_an_expired_root_beside_a_working_path_is_not_the_cause() -> None:
    """With the new root in the file the connection works and no expiry is reported as an error."""
    assert judged(chains()["cross-signed-both-roots"]).primary is None


def test_two_faults_are_both_listed_the_cause_first() -> None:
    """A wrong CA file and an expired certificate: both are errors, the CA file comes first."""
    rules = [f.rule for f in judged(chains()["expired-wrong-ca"]).findings]
    assert rules == ["x509.wrong-ca-file", "x509.certificate-expired"]


def test_an_expired_intermediate_is_seen_although_the_ca_is_unknown() -> None:
    """OpenSSL hides it; the dates of every presented certificate are compared here."""
    severities = judged(chains()["intermediate-expired-wrong-ca"]).severities()
    assert severities["x509.intermediate-expired"] is Severity.ERROR


def test_insecure_does_not_soften_a_finding() -> None:
    """With --insecure an unknown CA stays an error."""
    assert judged(chains()["wrong-ca"], options=Options(insecure=True)).primary


def test_the_presented_root_is_offered_with_its_fingerprint() -> None:
    """A wrong CA file's fix holds the presented root's PEM and the fingerprint to compare."""
    finding = judged(chains()["wrong-ca-root-sent"]).of("x509.wrong-ca-file")
    assert "-----BEGIN CERTIFICATE-----" in (finding.pem or "")
    assert "fingerprint" in finding.fix


def test_a_private_root_that_nobody_sends_is_named_and_not_invented() -> None:
    """Without the root there is no PEM, but its name."""
    finding = judged(chains()["wrong-ca"]).of("x509.wrong-ca-file")
    assert finding.pem is None
    assert '"tbdiag Root"' in finding.fix


def test_a_self_signed_server_comes_with_its_pem_and_a_warning_to_verify_it() -> None:
    """The PEM to put into the CA file is given, and that its fingerprint must be compared first."""
    finding = judged(chains()["self-signed-elsewhere"]).of("x509.self-signed-server")
    assert "-----BEGIN CERTIFICATE-----" in (finding.pem or "")
    assert finding.fix.startswith("Compare its SHA-256 fingerprint")


def test_the_web_servers_ca_is_recognised() -> None:
    """The CA file validates what 443 presents, by another CA: that is the cause."""
    web, _ = chains()["good"].facts()
    opinion = SecondOpinion(web_chain=web, web_trusted_by_ca_file=True)
    seen = judged(chains()["self-signed-elsewhere"], opinion=opinion)
    assert seen.primary == "x509.web-ca-not-mqtt-ca"


def test_a_web_server_that_sends_the_missing_intermediate_proves_it() -> None:
    """Port 443 sends the issuer: certain, and its PEM is given."""
    web, _ = chains()["good"].facts()
    opinion = SecondOpinion(web_chain=web, web_trusted_by_ca_file=True)
    finding = judged(chains()["leaf-only"], opinion=opinion).of("x509.missing-intermediate")
    assert '"tbdiag Intermediate" is an intermediate' in finding.cause
    assert finding.pem


def test_a_public_root_is_named_and_given() -> None:
    """The second opinion found the public root above the path: it is what the file lacks."""
    root = parsed(chains()["good"].anchors[0])
    seen = judged(chains()["wrong-ca"], opinion=SecondOpinion(public_anchor=root))
    assert "Put the public root" in seen.of("x509.wrong-ca-file").fix


def test_an_inspecting_proxy_is_named() -> None:
    """A chain issued by Zscaler is interception, not a wrong CA file."""
    proxy = Authority.root("CN=Zscaler Root CA,O=Zscaler Inc.")
    seen = judged(chain(proxy.issue_server(HOST), Authority.root("Mine")))
    assert seen.primary == "x509.tls-intercepted"
    assert "Zscaler" in seen.of("x509.tls-intercepted").cause


def test_an_inspecting_proxy_whose_ca_is_trusted_is_no_finding() -> None:
    """A CA file that holds the proxy's CA accepts its certificates."""
    proxy = Authority.root("CN=Zscaler Root CA,O=Zscaler Inc.")
    assert judged(chain(proxy.issue_server(HOST), proxy)).primary is None


def test_an_omitted_intermediate_in_the_file_is_a_warning() -> None:
    """It works here, and not on a device that holds only the root."""
    severities = judged(chains()["leaf-only-both-in-file"]).severities()
    assert severities == {"x509.missing-intermediate": Severity.WARNING}


def leaf_only(issuer: Authority, *anchors: Authority, **options: object) -> Chain:
    """A server that presents its certificate alone."""
    return chain(issuer.issue_server(HOST, **options).presenting(), *anchors)  # type: ignore[arg-type]


def aia(url: str) -> tuple[x509.ExtensionType, bool]:
    """authorityInformationAccess with caIssuers."""
    where = x509.UniformResourceIdentifier(url)
    access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, where)
    return x509.AuthorityInformationAccess([access]), False


def test_a_leaf_alone_of_a_ca_that_may_be_a_root_names_both_explanations() -> None:
    """Nothing tells a missing intermediate from a wrong file: the cause says so."""
    finding = judged(leaf_only(Authority.root("Acme CA"), Authority.root("Other CA")))
    assert finding.primary == "x509.wrong-ca-file"
    assert "nothing tells them apart" in finding.of("x509.wrong-ca-file").cause


@pytest.mark.parametrize("name", ["Acme Issuing CA 2", "Acme Intermediate", "Acme Sub-CA 1"])
def test_an_issuer_called_an_intermediate_is_taken_for_one(name: str) -> None:
    """The issuer's name says that it is no root."""
    authority = Authority.root("X").intermediate(name)
    assert judged(leaf_only(authority, Authority.root("Y"))).primary == "x509.missing-intermediate"


def test_an_issuer_called_a_root_is_taken_for_one() -> None:
    """The name says root, so it is the file that lacks it."""
    seen = judged(leaf_only(Authority.root("Acme Root CA"), Authority.root("Acme Root CA 2")))
    assert seen.primary == "x509.wrong-ca-file"


def test_a_root_of_the_same_family_speaks_for_a_missing_intermediate() -> None:
    """The file holds "Acme Root", the issuer is "Acme Devices": an intermediate between them."""
    root = Authority.root("Acme Root")
    subject = leaf_only(root.intermediate("Acme Devices"), root)
    assert judged(subject).primary == "x509.missing-intermediate"


def test_a_root_that_allows_no_intermediate_speaks_against_one() -> None:
    """pathLenConstraint 0 in the file's root: nothing can stand between."""
    subject = leaf_only(
        Authority.root("Z").intermediate("Acme Devices"), Authority.root("Acme Root", path_length=0)
    )
    assert judged(subject).primary == "x509.wrong-ca-file"


def test_ca_issuers_speaks_for_a_missing_intermediate() -> None:
    """A certificate that says where to fetch its issuer has one that can be absent."""
    subject = leaf_only(
        Authority.root("Acme CA"), Authority.root("B"), extensions=[aia("http://ca.example/i.cer")]
    )
    seen = judged(subject)
    assert seen.primary == "x509.missing-intermediate"
    assert "http://ca.example/i.cer" in seen.of("x509.missing-intermediate").cause


def test_a_public_cas_certificate_is_never_issued_by_a_root() -> None:
    """A CA/Browser Forum policy makes the missing intermediate certain."""
    policy = x509.PolicyInformation(ObjectIdentifier("2.23.140.1.2.1"), None)
    extension = (x509.CertificatePolicies([policy]), False)
    subject = leaf_only(Authority.root("Acme CA"), Authority.root("B"), extensions=[extension])
    finding = judged(subject).of("x509.missing-intermediate")
    assert '"Acme CA" is an intermediate' in finding.cause


def test_authority_cert_issuer_tells_an_intermediate_from_a_root() -> None:
    """authorityCertIssuer names the issuer's issuer: another name means an intermediate."""
    above = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Acme Top")])
    extension = x509.AuthorityKeyIdentifier(b"k" * 20, [x509.DirectoryName(above)], 7)
    subject = leaf_only(
        Authority.root("Acme CA"), Authority.root("B"), aki=False, extensions=[(extension, False)]
    )
    finding = judged(subject).of("x509.missing-intermediate")
    assert "authorityKeyIdentifier" in finding.cause


def test_a_bundle_of_another_certificate_speaks_for_a_missing_intermediate() -> None:
    """The server sends CA certificates, but after a renewal not the one that issued its own."""
    old = Authority.root("Q").intermediate("Old R3")
    issued = Authority.root("Acme CA").issue_server(HOST).presenting(old.certificate)
    assert judged(chain(issued, Authority.root("B"))).primary == "x509.missing-intermediate"


def test_without_a_ca_file_the_public_roots_are_what_lacks_the_root() -> None:
    """With --cafile auto or public the text speaks of the public roots, not of a file."""
    finding = judged(chains()["wrong-ca"], public=True).of("x509.wrong-ca-file")
    assert "not in the public roots" in finding.message


def test_the_certificate_chain_of_2021_needs_its_time() -> None:
    """Moving the moment moves the verdict: accepted in time, expired after it."""
    assert judged(chains()["good"]).primary is None
    assert judged(chains()["good"], at=NOW + 200 * DAY).primary == "x509.certificate-expired"


def test_every_rule_has_a_title_an_explanation_and_a_reference() -> None:
    """The published text of each x509 rule and of clock.skew is complete."""
    load("rules")
    for rule in RULES.values():
        if rule.id.startswith(("x509.", "clock.")):
            assert rule.title, rule.id
            assert rule.doc, rule.id
            assert rule.reference, rule.id


def test_the_opinion_alone_never_makes_a_finding() -> None:
    """A web server with another certificate is nothing to report while the chain is accepted."""
    web, _ = chains()["self-signed-elsewhere"].facts()
    seen = judged(chains()["good"], opinion=SecondOpinion(web_chain=web))
    assert seen.findings == ()
    assert replace(seen.evidence, insecure=True).trusted
