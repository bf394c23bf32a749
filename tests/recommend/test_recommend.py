"""Which CA file is recommended, how sure that is, and that it works."""

from __future__ import annotations

import contextlib
import functools
import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID

from tbdiag.deadline import Deadline
from tbdiag.errors import UsageError
from tbdiag.evidence import CaEvidence, CaSource, SecondOpinion
from tbdiag.protocol.ca_file import read_ca
from tbdiag.recommend import (
    ENCODERS,
    Recommendation,
    Sources,
    encode,
    fetch_issuers,
    recommend,
)
from tbdiag.sandbox.authority import Authority, self_signed
from tests.chains import DAY, HOST, NOW, Chain, chain, chains, parsed


def recommended(subject: Chain, *, with_file: bool = True, **sources: Any) -> Recommendation:
    """The recommendation for a chain, its CA file among the sources or not."""
    presented, anchors = subject.facts()
    given = Sources(ca_file=anchors if with_file else (), **sources)
    return recommend(presented, given, subject.host, NOW)


def stacks(found: Recommendation) -> set[str]:
    """The verdicts of all stacks that could be asked."""
    return {d.verdict for d in found.proof if d.verdict != "unknown"}


def test_the_right_root_in_the_file_is_kept_and_the_rest_dropped() -> None:
    """Of a file with twenty-one roots the one that the server needs remains."""
    found = recommended(chains()["good-many-anchors"])
    assert found.confidence == "ca-file"
    assert [c.name for c in found.anchors] == ["tbdiag Root"]
    assert stacks(found) == {"accept"}
    assert found.warnings == ()


def test_a_presented_private_root_has_to_be_compared_first() -> None:
    """Only the server vouches for it: the warning holds the fingerprint."""
    found = recommended(chains()["wrong-ca-root-sent"])
    assert found.confidence == "unverified"
    assert found.anchors[0].name == "tbdiag Root"
    assert stacks(found) == {"accept"}
    assert any("fingerprint" in warning for warning in found.warnings)


def test_a_self_signed_server_certificate_is_its_own_ca_file() -> None:
    """The certificate itself, to be compared first, accepted by every stack."""
    found = recommended(chains()["self-signed-elsewhere"])
    assert found.anchors == (found.path[0],)
    assert found.confidence == "unverified"
    assert stacks(found) == {"accept"}


def test_a_private_root_that_nobody_sends_is_named_and_not_invented() -> None:
    """The intermediate can be pinned, with the day on which that breaks; the root is named."""
    found = recommended(chains()["wrong-ca"])
    assert found.confidence == "pinned"
    assert [c.name for c in found.anchors] == ["tbdiag Intermediate"]
    assert '"tbdiag Root"' in found.missing[0]
    assert found.breaks_on == found.anchors[0].not_after
    assert "openssl" not in found.accepted_by
    assert "openssl-strict" in found.accepted_by
    assert any("openssl refuses" in warning for warning in found.warnings)


def test_a_missing_intermediate_is_for_the_server_to_send() -> None:
    """With the intermediate from elsewhere: the server's bundle, and the device's workaround."""
    middle = parsed(chains()["good"].issued.chain[0])
    found = recommended(chains()["leaf-only"], elsewhere=(middle,))
    assert found.confidence == "ca-file"
    assert found.bundle == (found.path[0], middle)
    assert [c.name for c in found.anchors] == ["tbdiag Root", "tbdiag Intermediate"]
    assert stacks(found) == {"accept"}
    assert f"{middle.not_after:%Y-%m-%d}" in found.warnings[0]


def test_a_missing_intermediate_that_is_nowhere_leaves_the_leaf() -> None:
    """Only the server's own certificate can be pinned, until its renewal."""
    found = recommended(chains()["leaf-only"])
    assert found.confidence == "pinned"
    assert found.anchors == (found.path[0],)
    assert "server's own certificate" in found.warnings[0]


def test_the_platforms_download_counts_only_over_https() -> None:
    """The same root: certain from HTTPS, to be compared from plain HTTP."""
    root = (parsed(chains()["good"].anchors[0]),)
    safe = recommended(chains()["wrong-ca"], downloaded=root, downloaded_safely=True)
    plain = recommended(chains()["wrong-ca"], downloaded=root)
    assert (safe.confidence, plain.confidence) == ("download", "unverified")


def test_a_public_root_is_found() -> None:
    """Public roots complete a path that the CA file does not."""
    root = (parsed(chains()["good"].anchors[0]),)
    found = recommended(chains()["wrong-ca"], public=root)
    assert (found.confidence, found.anchors) == ("public", root)


def test_an_expired_root_is_never_recommended() -> None:
    """Beside the cross-signed path the new root is chosen."""
    found = recommended(chains()["cross-signed-both-roots"])
    assert [c.name for c in found.anchors] == ["tbdiag Root"]
    assert recommended(chains()["anchor-expired"]).confidence == "pinned"


def test_what_no_ca_file_repairs_is_said() -> None:
    """An expired certificate for another name: both are named, and the proof refuses."""
    found = recommended(chains()["expired-wrong-name"])
    assert sum("no CA file helps" in warning for warning in found.warnings) == 2
    assert found.accepted_by == ()


def test_sources_keep_the_public_roots_apart_from_the_users_file() -> None:
    """`--cafile auto` falling back to the public roots is not the user's own trust."""
    root = parsed(chains()["good"].anchors[0])
    public = CaSource("auto", "public", "public roots", certificates=(root,))
    url = "https://tb.example/api/device-connectivity/mqtts/certificate/download"
    load = CaSource("auto", "download", url, certificates=(root,))
    assert Sources.of(CaEvidence((public,)), SecondOpinion()).ca_file == ()
    sources = Sources.of(CaEvidence((load,)), SecondOpinion())
    assert (sources.downloaded, sources.downloaded_safely) == ((root,), True)
    assert sources.trust_of(root) == "download"


@functools.cache
def anchors() -> tuple[Any, ...]:
    """A root with an awkward name."""
    return (parsed(Authority.root("CN=Evil \\\\\nRoot */ -----END,O=x").certificate),)


def test_pem_der_and_esp_idf_are_read_back() -> None:
    """Each form that a CA file can have gives the same certificate again."""
    for form in ("pem", "der", "esp-idf"):
        source = read_ca(encode(anchors(), form), "f", "file", "f")
        assert [c.name for c in source.certificates] == [anchors()[0].name], form


def test_pem_is_wrapped_with_line_feeds() -> None:
    """64 columns, LF, nothing but the block."""
    lines = encode(anchors(), "pem").decode().split("\n")
    assert lines[0] == "-----BEGIN CERTIFICATE-----"
    assert max(map(len, lines)) == 64
    assert "\r" not in "".join(lines)


@pytest.mark.parametrize("form", ["c", "arduino"])
def test_a_c_string_holds_the_pem_and_no_surprise(form: str) -> None:
    """Comments stay on their line, whatever the certificate is called."""
    text = encode(anchors(), form).decode("ascii")
    comments = [line for line in text.splitlines() if line.startswith("//")]
    assert all(not line.endswith("\\") for line in comments)
    assert text.count("-----BEGIN CERTIFICATE-----") == 1
    assert text.count("-----END CERTIFICATE-----") == 1
    assert text.rstrip().endswith(";")


def test_the_c_string_is_the_pem() -> None:
    """Undoing the C notation gives the PEM, byte for byte."""
    text = encode(anchors(), "c").decode("ascii")
    literals = [line.strip().strip(';"') for line in text.splitlines() if line.startswith("    ")]
    assert "".join(literals).replace("\\n", "\n").encode() == encode(anchors(), "pem")


def test_der_refuses_more_than_one() -> None:
    """A DER file holds one certificate."""
    with pytest.raises(UsageError, match="use pem"):
        encode(anchors() * 2, "der")


def test_an_unknown_form_and_an_empty_list_are_usage_errors() -> None:
    """The message names the forms."""
    with pytest.raises(UsageError, match="arduino"):
        encode(anchors(), "hex")
    with pytest.raises(UsageError, match="no certificate"):
        encode((), "pem")
    assert set(ENCODERS) == {"pem", "der", "c", "esp-idf", "arduino"}


@contextlib.contextmanager
def serving(bodies: dict[str, bytes]) -> Iterator[int]:
    """An HTTP server on loopback; a body b"redirect" redirects elsewhere."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = bodies.get(self.path, b"")
            self.send_response(302 if body == b"redirect" else 200 if body else 404)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def issuers_at(*urls: str) -> tuple[x509.ExtensionType, bool]:
    """authorityInformationAccess with these caIssuers."""
    places = [
        x509.AccessDescription(
            AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(url)
        )
        for url in urls
    ]
    return x509.AuthorityInformationAccess(places), False


def test_absent_issuers_are_fetched_from_where_the_certificate_says() -> None:
    """The leaf names its intermediate's URL, the intermediate the root's: both are found."""
    bodies: dict[str, bytes] = {}
    with serving(bodies) as port:
        base = f"http://127.0.0.1:{port}"
        root = Authority.root()
        middle = root.intermediate(extensions=[issuers_at(f"{base}/root.cer")])
        leaf = middle.issue_server(HOST, extensions=[issuers_at(f"{base}/gone", f"{base}/i.cer")])
        bodies["/i.cer"] = middle.certificate.public_bytes(Encoding.DER)
        bodies["/root.cer"] = root.certificate.public_bytes(Encoding.DER)
        presented, _ = chain(leaf.presenting()).facts()
        found, problems = fetch_issuers(presented, Deadline.after(5), private=True)
    assert [c.name for c in found] == ["tbdiag Intermediate", "tbdiag Root"]
    assert problems == (f"{base}/gone: HTTP 404",)
    assert recommend(presented, Sources(elsewhere=found), HOST, NOW).confidence == "unverified"


@pytest.mark.parametrize(
    ("path", "private", "problem"),
    [
        ("/big", True, "longer than 64 KiB"),
        ("/redirect", True, "HTTP 302"),
        ("/stranger", True, "does not hold the issuer"),
        ("/big", False, "not a public address"),
    ],
)
def test_a_fetch_is_bounded(path: str, private: bool, problem: str) -> None:
    """Size, redirects, strangers and private addresses end it, each with its reason."""
    stranger = Authority.root("Stranger").pem()
    bodies = {"/big": b"x" * 70_000, "/redirect": b"redirect", "/stranger": stranger}
    with serving(bodies) as port:
        url = f"http://127.0.0.1:{port}{path}"
        leaf = Authority.root().issue_server(HOST, extensions=[issuers_at(url)])
        presented, _ = chain(leaf.presenting()).facts()
        found, problems = fetch_issuers(presented, Deadline.after(5), private=private)
    assert found == ()
    assert problem in problems[0]


def test_only_http_urls_are_fetched() -> None:
    """A file: or ldap: URL in a certificate is left alone."""
    leaf = Authority.root().issue_server(HOST, extensions=[issuers_at("file:///etc/passwd")])
    presented, _ = chain(leaf.presenting()).facts()
    _, problems = fetch_issuers(presented, Deadline.after(5), private=True)
    assert problems == ("file:///etc/passwd: not a URL that is fetched",)


def test_the_dates_of_a_recommendation() -> None:
    """`breaks_on` is the file's own end, `works_until` the first end on the path."""
    found = recommended(chains()["good"])
    assert found.breaks_on == found.anchors[0].not_after
    assert found.works_until == found.path[0].not_after


def test_an_expired_self_signed_certificate_is_not_called_certain() -> None:
    """Its own end is said, and every stack refuses."""
    own = self_signed(HOST, not_before=NOW - 90 * DAY, not_after=NOW - DAY)
    found = recommended(chain(own, own))
    assert any("expired" in warning for warning in found.warnings)
    assert found.accepted_by == ()
