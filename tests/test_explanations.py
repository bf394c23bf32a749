"""`tbdiag explain TEXT`: the data, the search, and what is shown."""

from __future__ import annotations

import re
import time
from re import _parser  # type: ignore[attr-defined]

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tbdiag import catalogue, registry
from tbdiag.catalogue import explain
from tbdiag.cli import run
from tbdiag.explanations import BEST, explanations, matches
from tbdiag.protocol.mqtt import Connect, encode
from tbdiag.protocol.mqtt_codes import REASON_CODES, Version

TOKEN = "A1B2C3D4E5F6G7H8I9J0"

COMPLAINTS = {
    1: "SSLHandshakeException: Received fatal alert: unknown_ca",
    2: 'devices stop all at once 2025-08-28 09:15 EST, cert verification fails, docs CA "has not '
    'changed"',
    3: "SSL routines::certificate verify failed on -h thingsboard.cloud -p 8883 with docs "
    "ca-root.pem",
    4: "error:1416F086 … certificate verify failed, Let's Encrypt at HAProxy",
    5: "certificate verify failed, -h 192.168.0.140 --cafile ca-root.pem",
    6: "[SSL: CERTIFICATE_VERIFY_FAILED] self signed certificate",
    7: "IP address mismatch, certificate is not valid for 'x.x.x.x'",
    8: "works only with --insecure",
    9: "NotSslRecordException: not an SSL/TLS record: 104c00044d515454…",
    10: "Message decoding failed: Illegal BIT 2 or 1 in fixed header of CONNECT message, must be "
    "0, found 3",
    11: "ConnectionResetError [Errno 104] in do_handshake",
    12: "ECONNREFUSED on demo.thingsboard.io:8883, 1883 fine",
    13: "after enabling SSL nothing listens on 1883 or 8883",
    14: "Unable to load private key neither from certFile … nor from keyFile",
    15: "resource …keystore.jks not found, absolute path ignored",
    16: "Get Key failed: Given final block not properly padded",
    17: "mqtts pem cert file is not found! / curl -f 404",
    18: "expired cert on wire after LE renewal",
    19: "SSLHandshakeException: Invalid Device Certificate",
    20: "rc 5 with two-way-ssl on cloud",
    21: "Connection Refused: not authorised rc=5",
    22: "rc=3 Connection refused: Server unavailable",
    23: "connect/disconnect loop, java.io.EOFException, paho rc 7, Channel is closed!",
    24: "disconnected right after publish",
    25: "PUBACK received, no telemetry",
    26: "too large message: 148657 bytes loop",
    27: "+CMQTTCONNECT: 0,32 (handshake failed); plain 1883 OK",
    28: "SIMCom ERROR on CMQTTCONNECT to TB but fine on mosquitto.org",
    29: "Quectel +QMTOPEN: 0,5",
    30: "start_ssl_client(): (-9984) X509 - Certificate verification failed, e.g. CRL, CA or "
    "signature check failed",
    31: "ESP-IDF + own self-signed server fails, MQTT Explorer works",
    32: "ESP mbedtls_ssl_handshake returned -0x7280",
    33: "SSL/TLS has already been configured. (paho ValueError) then gateway inactive",
    34: "gateway caCert: … [Errno 0] Error in do_handshake",
    35: "Cannot use TLS connection on this port. Client will try to connect without TLS.",
    36: "env TB_GW_CERTIFICATE has no effect",
    37: "sockets closed with no CONNACK since 2026-05-28, log message length exceeds 65536: 101",
    38: "root baked in firmware expires soon (YE1 2028)",
    39: "expired DST Root CA X3 in client store",
    40: "QMQTT drops connection on PUBACK",
}
"""The symptom column of the complaint table, by row."""


@pytest.mark.parametrize("row", COMPLAINTS)
def test_every_complaint_is_found(row: int) -> None:
    """Each row of the complaint table is the first explanation of its own text."""
    assert row in matches(COMPLAINTS[row])[0].explanation.rows


def test_the_table_has_forty_rows() -> None:
    """The data claims the forty rows, each once."""
    claimed = [row for entry in explanations() for row in entry.rows]
    assert sorted(claimed) == list(COMPLAINTS) == list(range(1, 41))


@pytest.mark.parametrize("entry", explanations(), ids=lambda e: e.title[:50])
def test_every_rule_exists(entry) -> None:
    """No explanation names a rule that is not registered."""
    registry.load("rules")
    assert set(entry.rules) - registry.RULES.keys() == set()


@pytest.mark.parametrize("entry", explanations(), ids=lambda e: e.title[:50])
def test_every_explanation_is_found_by_its_own_texts(entry) -> None:
    """Each literal of an entry leads to the entry itself."""
    for literal in entry.literals:
        found = [m.explanation for m in matches(literal)]
        assert entry in found or entry.general, literal


EXAMPLES = [
    ("Verify return code: 20 (unable to get local issuer certificate)", "x509.wrong-ca-file"),
    ("verify error:num=10:certificate has expired", "x509.certificate-expired"),
    ("Verify return code: 62", "x509.name-mismatch"),
    ("error 18 at 0 depth lookup", "x509.self-signed-server"),
    ("verify error:num=92", "x509.strict-violation"),
    ("SSL alert number 48", "x509.wrong-ca-file"),
    ("tlsv13 alert certificate required:SSL alert number 116", "tls.client-certificate-required"),
    ("alert 70", "tls.protocol-version"),
    ("0x87", "token.unknown"),
    ("DISCONNECT reason code 142", "mqtt.session-takeover"),
    ("PUBACK 0x90", "mqtt.publish-topic-rejected"),
    ("rc=5", "mqtt.not-authorized"),
    ("Connected with result code: rc 4", "mqtt.bad-credentials"),
    ("return code 2", "mqtt.identifier-rejected"),
    ("failed, rc=-2 try again in 5 seconds", "tcp.refused"),
    ("-0x2700", "clock.skew"),
    ("-9984", "clock.skew"),
    ("mbedtls_ssl_handshake returned -0x7280", "tls.plaintext-port"),
    ("esp-tls-mbedtls: mbedtls_ssl_handshake returned -29312", "tls.plaintext-port"),
    ("mbedtls_x509_crt_parse returned -0x21A2", "ca.corrupt-pem"),
    ("esp-tls error 0x8001", "dns.name-not-found"),
    ("curl: (60) SSL certificate problem: unable to get local issuer", "x509.wrong-ca-file"),
    ("curl: (7) Failed to connect", "tcp.refused"),
    ("+QMTCONN: 0,0,5", "mqtt.not-authorized"),
    ("+CMQTTCONNECT: 0,31", "mqtt.not-authorized"),
    ("[Errno 111] Connection refused", "tcp.refused"),
    ("socket.gaierror: [Errno -2] Name or service not known", "dns.name-not-found"),
    ("Error: Connection refused", "tcp.refused"),
    ("Unable to connect (A TLS error occurred.).", "x509.wrong-ca-file"),
    ("javax.net.ssl.SSLHandshakeException: PKIX path building failed", "x509.wrong-ca-file"),
    ("x509: certificate is valid for a, not b", "x509.name-mismatch"),
    ("first bytes 15 03 03 00 02 02 0a", "mqtt.tls-port"),
    ("4.01", "coap.unauthorized"),
    ("esp-tls: mbedtls_ssl_handshake returned -0x2700 then 0x801a", "clock.skew"),
    ("error 0x801a", "tls.plaintext-port"),
    ("SSL_ERROR_SYSCALL errno=104", "tls.closed-in-handshake"),
]


@pytest.mark.parametrize(("text", "rule"), EXAMPLES, ids=[t for t, _ in EXAMPLES])
def test_known_texts_and_numbers(text: str, rule: str) -> None:
    """The text of a client, a verify code, an alert, a reason code or a modem's code is known."""
    assert rule in matches(text)[0].explanation.rules


@pytest.mark.parametrize("code", [c for c in REASON_CODES if 0x81 <= c <= 0x9F])
def test_reason_codes_say_the_same_in_hex_and_decimal(code: int) -> None:
    """`0x87` and `reason code 135` are one."""
    titles = [[m.explanation.title for m in matches(t)] for t in (hex(code), f"reason code {code}")]
    assert titles[0] == titles[1]


PASTED_LOG = """
2026-11-20 09:12:01,123 [nioEventLoopGroup-5-1] ERROR o.t.s.t.mqtt.MqttTransportHandler - [ab12]
 Unexpected Exception
io.netty.handler.codec.DecoderException: javax.net.ssl.SSLHandshakeException: \x1b[31mReceived
   fatal alert:\x1b[0m unknown_ca
\tat io.netty.handler.codec.ByteToMessageDecoder.callDecode(ByteToMessageDecoder.java:499)
\tat java.base/java.lang.Thread.run(Thread.java:840)
"""


def test_a_pasted_log_with_wrapped_lines_works() -> None:
    """Colours, time stamps, stack frames and wrapped lines do not hide the error."""
    assert [m.explanation.rows for m in matches(PASTED_LOG)] == [(1,)]


def test_typographic_quotes_and_capitals_do_not_matter() -> None:
    """A text copied from a web page is found as well."""
    text = "CERTIFICATE IS NOT VALID FOR \u2018192.0.2.1\u2019: ip ADDRESS\u00a0mismatch"
    assert 7 in matches(text)[0].explanation.rows


@pytest.mark.parametrize(
    "text", ["", "   ", "hello world", "everything is fine", "2026-11-20 12:00", TOKEN, "192.0.2.1"]
)
def test_unknown_text_is_unknown(text: str) -> None:
    """What means nothing is not explained."""
    assert explain(text) is None


def connect_packet(version: Version = Version.V311) -> bytes:
    return encode(Connect(client_id="device", username=TOKEN, version=version))


@pytest.mark.parametrize("version", list(Version))
def test_the_bytes_of_a_connect_are_named_and_the_token_is_not_shown(version: Version) -> None:
    """The hex of NotSslRecordException is a CONNECT; its token never appears, in hex or text."""
    packet = connect_packet(version)
    shown = explain(f"NotSslRecordException: not an SSL/TLS record: {packet.hex()}") or ""
    assert f"a plain MQTT {version.label} CONNECT packet" in " ".join(shown.split())
    assert "do not share that line" in " ".join(shown.split())
    assert TOKEN not in shown
    assert TOKEN.encode().hex() not in shown


def test_bare_hex_is_decoded() -> None:
    """Only the bytes, with spaces, are enough."""
    assert "plain MQTT CONNECT" in str(matches("10 4c 00 04 4d515454")[0].bytes_are)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"GET / HTTP/1.1\r\n", "an HTTP GET request"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "a PROXY protocol header"),
        (b"\x15\x03\x03\x00\x02\x02\x0a", "a TLS alert, number 10"),
    ],
)
def test_other_first_bytes_are_named(data: bytes, words: str) -> None:
    """Not only MQTT ends in NotSslRecordException."""
    assert words in str(matches(f"not an SSL/TLS record: {data.hex()}")[0].bytes_are)


def test_only_the_matched_words_of_a_log_are_shown() -> None:
    """What stands beside a known text (a token, a host) is not repeated."""
    shown = explain(f"user {TOKEN} Connection Refused: not authorised. host secret.example") or ""
    assert TOKEN not in shown
    assert "secret.example" not in shown


def test_a_crowd_of_errors_shows_the_best_and_lists_the_rest() -> None:
    """A log with many errors explains three of them in full."""
    shown = explain("\n".join(COMPLAINTS.values())) or ""
    assert shown.count("Run next") == BEST
    assert "Also recognised" in shown


@pytest.mark.parametrize("row", COMPLAINTS)
def test_the_page_fits_80_columns(row: int) -> None:
    """No line but a command is wider than the terminal."""
    for line in str(explain(COMPLAINTS[row], width=80)).splitlines():
        assert len(line) <= 80 or line.startswith("  tbdiag") or "TBDIAG_TOKEN" in line, line


@pytest.mark.parametrize("entry", explanations(), ids=lambda e: e.title[:50])
def test_expressions_are_linear(entry) -> None:
    """No regular expression of the data repeats without a bound, or repeats a repetition."""
    for pattern in entry.patterns:
        assert unbounded(_parser.parse(pattern.pattern)) == []


def unbounded(parsed, inside: bool = False) -> list[str]:
    found = []
    for op, value in parsed:
        name = str(op)
        if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            low, high, body = value
            if int(high) > 200 or (inside and int(high) > 1):
                found.append(f"{low},{high}")
            found += unbounded(body, True)
        elif name == "SUBPATTERN":
            found += unbounded(value[-1], inside)
        elif name == "BRANCH":
            for branch in value[1]:
                found += unbounded(branch, inside)
        elif name in ("GROUPREF", "ATOMIC_GROUP"):
            found.append(name)
    return found


FRAGMENTS = st.sampled_from(
    [
        *(t[:30] for t in COMPLAINTS.values()),
        "\n",
        "\t\r\0\x1b[31m",
        "-0x",
        "rc=",
        "alert",
        "0x8",
        "errno",
        "not an SSL/TLS record: ",
        "\ud800",
        "İ",
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=400), st.lists(FRAGMENTS, max_size=30).map(" ".join)))
@example("not an ssl/tls record: 10")
@example("not an ssl/tls record: 1")
@example("not an SSL/TLS record: 10ffffffffffffff0004")
def test_any_text_is_survived(text: str) -> None:
    """No text makes a traceback, and what is shown holds no control character."""
    shown = explain(text, width=80)
    assert shown is None or not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown)


@pytest.mark.parametrize(
    "filler",
    [
        "a",
        "-0x",
        " rc=",
        "1 ",
        "not an ssl/tls record: ",
        "0a",
        "keystore ",
        ".jks ",
        "alert ",
        "\n",
    ],
)
def test_a_huge_text_takes_no_time(filler: str) -> None:
    """64 KiB of the worst filler is searched in a moment."""
    text = filler * (1 << 20 // len(filler))
    started = time.process_time()
    matches(text)
    assert time.process_time() - started < 2


def test_the_command_reads_standard_input(capsys, monkeypatch) -> None:
    """`tbdiag explain -` takes a log from a pipe."""
    import io
    import sys

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(PASTED_LOG.encode())))
    assert run(["explain", "-"]) == 0
    assert "x509.wrong-ca-file" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["-9984"], ["-0x2700"], ["rc=5"], ["Connection", "refused"]])
def test_the_command_takes_texts_that_look_like_options(words: list[str]) -> None:
    """A code that begins with a dash needs no quoting tricks."""
    assert run(["explain", *words]) == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("tcp.refusd", "did you mean tcp.refused"),
        ("nothing that is known", "nothing is known about that text"),
        ("", "the text is empty"),
    ],
)
def test_unknown_text_is_a_usage_error(words: str, sentence: str, capsys) -> None:
    """One sentence on stderr, exit code 2, and the text is not repeated at length."""
    assert run(["explain", words]) == 2
    assert sentence in capsys.readouterr().err


def test_a_stage_id_is_explained() -> None:
    """`tbdiag explain tls.handshake` says what the stage observes."""
    assert "(stage)" in str(catalogue.explain("tls.handshake"))
