"""What is fuzzed: each target is a function of bytes that must return, whatever the bytes are.

A target lets through the exceptions that its reader documents (UsageError, MalformedPacket …) and
nothing else. The test suite runs them on mutated seeds, `make fuzz` for longer.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tbdiag.errors import UsageError
from tbdiag.evidence import Certificate

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "sample_chains"
AT = datetime(2026, 1, 15, tzinfo=UTC)
HOST = "broker.example.org"
SECONDS = 5.0
"""No input of a few kilobytes may take longer."""


@dataclass(frozen=True)
class Target:
    """One reader under test: what runs it, inputs to start from, and words that it knows."""

    name: str
    run: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    words: tuple[bytes, ...]


TARGETS: dict[str, Target] = {}


def target(
    seeds: Callable[[], Iterable[bytes]], words: str = ""
) -> Callable[[Callable[[bytes], object]], Callable[[bytes], object]]:
    """Register a function of bytes; `words` (separated by blanks) are mixed into its inputs."""

    def register(run: Callable[[bytes], object]) -> Callable[[bytes], object]:
        name = run.__name__
        listed = tuple(_unescaped(word) for word in words.split())
        TARGETS[name] = Target(name, run, lambda: list(seeds()), listed)
        return run

    return register


def _unescaped(word: str) -> bytes:
    """A word with its escapes resolved (a lone backslash stays one)."""
    plain = word.encode()
    return plain if plain.endswith(b"\\") else plain.decode("unicode_escape").encode()


def text_of(data: bytes) -> str:
    """Bytes as an argument of a command line arrives: what is not UTF-8 becomes half surrogates."""
    return data.decode("utf-8", "surrogateescape")


def one_sentence(error: Exception) -> None:
    """A refusal says something, on one line."""
    text = str(error)
    assert text, "the refusal has no text"
    assert "\n" not in text, f"the refusal has several lines: {text!r}"


_FOLDER = tempfile.TemporaryDirectory(prefix="tbdiag-fuzz-")


def file_of(data: bytes, name: str) -> Path:
    """A file with these bytes; the next call with that name overwrites it."""
    path = Path(_FOLDER.name) / name
    path.write_bytes(data)
    return path


def sample_files(pattern: str) -> list[bytes]:
    """The files of sample_chains/ with that name, the smallest first."""
    return sorted((path.read_bytes() for path in SAMPLES.glob(f"*/{pattern}")), key=len)


def sample_certificates() -> list[bytes]:
    """Certificates of sample_chains/ as DER."""
    from tbdiag.protocol.ca_file import read_ca

    kept: dict[bytes, None] = {}
    for data in sample_files("presented.pem"):
        source = read_ca(data, "seed", "file", "seed")
        kept |= {certificate.der: None for certificate in source.certificates}
    return list(kept)[:24]


@target(lambda: sample_files("ca.pem"), r"-----BEGIN -----END CERTIFICATE----- PKCS7 KEY 0\x82 \n")
def ca_file(data: bytes) -> None:
    """The CA loader takes any bytes: there are certificates, or problems in words."""
    from tbdiag.protocol.ca_file import read_ca

    source = read_ca(data, "ca.pem", "file", "ca.pem")
    assert source.certificates or source.problems
    assert all(problem.detail for problem in source.problems)


@target(lambda: sample_files("ca.pem"), r"-----BEGIN -----END CERTIFICATE----- X509 CRL \r\n")
def ca_inspect(data: bytes) -> None:
    """`ca inspect` reports on any file, as a table and as JSON."""
    from tbdiag.ca_commands.inspect import inspect
    from tbdiag.report.inspect import ca_json, ca_table

    report = inspect(str(file_of(data, "ca.pem")), AT)
    assert json.loads(ca_json(report))["command"] == "inspect"
    assert ca_table(report, verbose=True, width=60)


@target(sample_certificates)
def certificate(data: bytes) -> None:
    """A certificate is parsed, or refused in one sentence."""
    found = parsed(data)
    if found is not None:
        assert found.role
        assert found.name
        assert str(found.key)


def parsed(data: bytes) -> Certificate | None:
    """The certificate in the bytes, if there is one."""
    from tbdiag.protocol.x509 import UnparsableCertificate, parse_certificate

    try:
        return parse_certificate(data)
    except UnparsableCertificate as error:
        one_sentence(error)
    return None


@target(sample_certificates)
def presented_chain(data: bytes) -> None:
    """Every stack and every rule judges whatever certificate a server presents."""
    from tbdiag.offline import verify_files
    from tbdiag.protocol.x509 import encode_pem
    from tbdiag.report import render

    found = parsed(data)
    if found is None:
        return
    presented = file_of(encode_pem([found]).encode(), "presented.pem")
    for cafile in (SAMPLES / "healthy" / "ca.pem", presented):
        report = verify_files(str(cafile), presented, HOST, AT)
        assert render(report, "json")
        assert render(report, "table")


_TOML = b"""[defaults]
cafile = "ca.pem"
token = "${TOKEN}"
warn_days = 14
[[targets]]
name = "one"
target = "mqtts://one.example.org:8883"
[[targets]]
host = "two.example.org"
port = 1883
transport = "mqtt"
ignore = ["ca.duplicate"]
"""
_YAML = b"""defaults: {cafile: ca.pem, token: "${TOKEN}", qos: 1}
targets:
- one.example.org:8883
- {name: two, host: two.example.org, port: 1883, transport: mqtt, alpn: [mqtt]}
"""
_CSV = b"""name,host,port,cafile,token,ignore
one,one.example.org,8883,ca.pem,${TOKEN},ca.duplicate;ca.no-root
"two, three",two.example.org,1883,,,
"""
_KEYS = "name target host port transport cafile token token_file cert key qos proxy ignore ~x/y"


def _fleet(data: bytes, suffix: str) -> None:
    from tbdiag.fleet.config import load_fleet

    try:
        fleet = load_fleet(file_of(data, f"fleet.{suffix}"))
    except UsageError as error:
        one_sentence(error)
        return
    assert fleet.specs
    assert all(spec.name and spec.target.host for spec in fleet.specs)


@target(lambda: [_TOML], _KEYS + ' = " [[ ]] [ ] { } ${A} """ \\u0000 1e999 nan')
def fleet_toml(data: bytes) -> None:
    """A fleet file in TOML is a fleet, or a sentence."""
    _fleet(data, "toml")


@target(lambda: [_YAML], _KEYS + " : - { } [ ] &a *a !! << ? | > ${A} .nan 2020-01-01 0x10 ~ !!set")
def fleet_yaml(data: bytes) -> None:
    """A fleet file in YAML is a fleet, or a sentence."""
    _fleet(data, "yaml")


@target(lambda: [_CSV], _KEYS + ' , ; " "" ${A} \\r \\n \\t')
def fleet_csv(data: bytes) -> None:
    """A fleet file in CSV is a fleet, or a sentence."""
    _fleet(data, "csv")


_GATEWAY = {
    "thingsboard": {
        "host": "mqtt.example.org",
        "port": 8883,
        "remoteShell": False,
        "security": {"type": "tlsAccessToken", "accessToken": "TOKEN", "caCert": "ca.pem"},
        "qos": 1,
        "proxy_host": "proxy.example.org",
    },
    "connectors": [],
}


def _gateway(data: bytes, suffix: str) -> None:
    from tbdiag.targets.gateway import parse_gateway_config

    try:
        pasted = parse_gateway_config(str(file_of(data, f"tb_gateway.{suffix}")), {})
    except UsageError as error:
        one_sentence(error)
        return
    assert pasted.target.host
    assert all(pasted.target.notes)


_SECURITY = "security type accessToken usernamePassword x509Certificate caCert cert privateKey port"


@target(lambda: [json.dumps(_GATEWAY).encode()], _SECURITY + ' " : { } [ ] null true 1e9 \\u0000')
def gateway_json(data: bytes) -> None:
    """A gateway's JSON configuration is a target, or a sentence."""
    _gateway(data, "json")


@target(
    lambda: [b"thingsboard:\n  host: h.example\n  security:\n    accessToken: T\n    caCert: c\n"],
    _SECURITY + " : - { } [ ] &a *a !!python/none << 2020-01-01 ~ yes",
)
def gateway_yaml(data: bytes) -> None:
    """A gateway's YAML configuration is a target, or a sentence."""
    _gateway(data, "yaml")


_COMMANDS = (
    b"mosquitto_pub -d -q 1 --cafile ca.pem -h mqtt.example.org -p 8883 -t v1/devices/me/telemetry"
    b' -u "TOKEN" -m {"temperature":25}',
    b"curl -f -S -o ca.pem https://tb.example/api/device-connectivity/mqtts/certificate/download\n"
    b"mosquitto_pub --cafile ca.pem -h h -p 8883 -t t -u T -m 'x'",
    b"curl -v -X POST https://tb.example/api/v1/TOKEN/telemetry --header Content-Type:a --data {}",
    b'coap-client -v 6 -m POST -R ca.pem coaps://h.example:5684/api/v1/T/telemetry -t json -e "{}"',
    b'docker run --rm -it thingsboard/mosquitto-clients sh -c "mosquitto_pub -L mqtts://u:p@h/t"',
)


@target(
    lambda: _COMMANDS,
    "-h -p -u -P -t -m -L --cafile --capath --cert --key --proxy sh -c | > < && ; ' \" \\ $ ${A}"
    " %A% C:\\\\ca.pem .exe @ - mqtts:// https:// /api/v1/ \\u201c \\u2014 \\r\\n ^ ` <TOKEN>",
)
def pasted_command(data: bytes) -> None:
    """A pasted command is a target, or a sentence that repeats nothing of it."""
    from tbdiag.targets.pasted import parse_pasted

    try:
        pasted = parse_pasted(text_of(data))
    except UsageError as error:
        one_sentence(error)
        return
    assert pasted.target.host
    assert all(pasted.target.notes)


_LOGS = (
    b"Error: A TLS error occurred.",
    b"verify error:num=20:unable to get local issuer certificate",
    b"E (1234) esp-tls-mbedtls: mbedtls_ssl_handshake returned -0x2700",
    b"not an SSL/TLS record: 485454502f312e31",
    b"ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate",
    b"x509.wrong-ca-file",
)


@target(
    lambda: _LOGS, "verify error num= rc= -0x 0x8 alert errno curl: ( ) -1 0000000000 ssl tls x509"
)
def explained_text(data: bytes) -> None:
    """`explain` knows a text or not; it shows no control character of it."""
    from tbdiag.catalogue import explain

    shown = explain(text_of(data), width=60)
    assert shown is None or all(c.isprintable() or c == "\n" for c in shown)


BASELINE = {
    "baseline_version": 1,
    "address": "h.example:8883",
    "server_name": "h.example",
    "saved_at": "2026-01-15T00:00:00Z",
    "rooted": True,
    "path": [
        {
            "subject": "CN=h.example",
            "issuer": "CN=Root",
            "fingerprint_sha256": "00" * 32,
            "key_sha256": "11" * 32,
            "not_after": "2026-04-15T00:00:00Z",
        }
    ],
}


@target(
    lambda: [json.dumps(BASELINE).encode()], 'null true [ ] { } " , 1e999 -1 T Z +99:99 \\\\ud800'
)
def baseline(data: bytes) -> None:
    """A baseline file is a baseline that can be written again, or a sentence."""
    from tbdiag.baseline import encode_baseline, load_baseline, parse_baseline

    try:
        found = load_baseline(file_of(data, "baseline.json"))
    except UsageError as error:
        one_sentence(error)
        return
    assert parse_baseline(encode_baseline(found)).path == found.path


_ADDRESSES = (
    b"mqtt.thingsboard.cloud",
    b"mqtts://mqtt.example.org:8883",
    b"[2001:db8::1%eth0]:8883",
    b"coaps://192.0.2.1",
    b"https://tb.example/base",
    b"2027-06-01T12:00:00+02:00",
)


@target(
    lambda: _ADDRESSES, "mqtts:// http:// [ ] :: @ % / ? # : 8883 xn-- . \\u00fc \\u0130 -W52-7"
)
def address(data: bytes) -> None:
    """A target, URL, proxy, host name or moment of the command line is one, or a sentence."""
    from tbdiag.moment import parse_moment
    from tbdiag.protocol.hostnames import InvalidName, ascii_name
    from tbdiag.targets import limits
    from tbdiag.targets.address import parse_target

    text = text_of(data)
    for read in (parse_target, limits.http_base, limits.proxy_url, parse_moment, ascii_name):
        try:
            assert read(text)
        except (UsageError, InvalidName) as error:
            one_sentence(error)


def _packets() -> list[bytes]:
    from tbdiag.protocol import mqtt
    from tbdiag.protocol.mqtt_codes import Version

    properties = {"reason_string": "no", "user_property": (("a", "b"),)}
    return [
        mqtt.encode(mqtt.Connect("id", "T", b"p", version=Version.V5)),
        mqtt.encode(mqtt.Connack(0x87, False, Version.V5, properties)),
        mqtt.encode(mqtt.Publish("t", b"{}", 1, 7, version=Version.V5)),
        mqtt.encode(mqtt.Puback(7, 0x87, Version.V5, properties)),
        mqtt.encode(mqtt.Disconnect(0x8E, Version.V5, properties)),
        bytes.fromhex("82080001000374237401"),
    ]


@target(_packets, "MQTT MQIsdp \\u0000 \\u007f")
def mqtt_packets(data: bytes) -> None:
    """A stream of MQTT packets is read or refused; what is read can be written and read again."""
    from tbdiag.protocol.mqtt_codes import Version
    from tbdiag.protocol.mqtt_wire import MalformedPacket, PacketReader

    for version in Version:
        reader = PacketReader(65_536)
        try:
            for header, body in reader.feed(data):
                _again(header, body, version)
        except MalformedPacket as error:
            one_sentence(error)


def _again(header: object, body: bytes, version: object) -> None:
    from tbdiag.protocol import mqtt
    from tbdiag.protocol.mqtt_wire import MalformedPacket, PacketReader

    try:
        packet = mqtt.parse(header, body, version)  # type: ignore[arg-type]
    except MalformedPacket as error:
        one_sentence(error)
        return
    for again, rest in PacketReader().feed(mqtt.encode(packet)):
        assert mqtt.parse(again, rest, version) == packet  # type: ignore[arg-type]


def _journals() -> list[bytes]:
    return [
        b'{"journal":1,"settings":"s"}\n{"key":"a","outcome":{}}\n',
        b'{"journal":1,"settings":"s"}\n',
    ]


@target(_journals, 'journal settings key outcome fragment null " { } [ ] : , \\n')
def journal(data: bytes) -> None:
    """A fleet run that is to be resumed takes what it can of any journal."""
    from tbdiag.fleet.journal import Journal

    path = file_of(data, "journal.jsonl")
    Journal(path, "s", resume=True).close(done=False)
    Journal(path, "s", resume=True).close(done=True)
