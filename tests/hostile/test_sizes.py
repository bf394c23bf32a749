"""However much a peer or a file holds, what tbdiag reads, computes with and shows is bounded."""

from __future__ import annotations

import base64
import functools
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import lcm, prod
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import BasicConstraints, CertificateBuilder, Name, NameAttribute
from cryptography.x509.oid import NameOID

from tbdiag import Report
from tbdiag.clients import CLIENTS
from tbdiag.protocol import ca_file, x509_signature
from tbdiag.protocol.mqtt import Publish
from tbdiag.protocol.x509 import issued_by
from tbdiag.report import FORMATS, render
from tbdiag.sandbox import knobs
from tbdiag.sandbox.authority import Authority, Issued, make_name
from tbdiag.sandbox.broker import Broker
from tbdiag.sandbox.connection import Tls
from tbdiag.sandbox.http import HttpApi, HugeBody
from tbdiag.sandbox.server import Server
from tbdiag.sandbox.session import Session
from tests.chains import parsed
from tests.hostile_servers import ISSUED, ROOT, TOKEN, ManyCaNames, Scripted, diagnosed, target_of

PEAK = 200
"""Megabytes that a process may reach, whatever it meets."""
ACCEPTED = b"\x20\x03\0\0\0"
CHUNK = bytes(16000)


def presenting(count: int) -> Issued:
    """A server certificate with `count` more certificates after it."""
    more = (ROOT.intermediate(f"More {n}", key=ROOT.key).certificate for n in range(count))
    return replace(ISSUED, chain=tuple(more))


def many_names(count: int) -> Issued:
    """A server certificate with `count` dNSNames."""
    return ROOT.issue_server("localhost", *(f"host{n}.example.org" for n in range(count)))


def long_subject() -> Issued:
    """A server certificate whose subject has 900 organizations."""
    unit = NameAttribute(NameOID.ORGANIZATION_NAME, "o" * 60)
    return ROOT.issue_server(subject=Name([unit] * 900))


@functools.cache
def composite_rsa(bits: int) -> rsa.RSAPrivateKey:
    """An RSA key of many small primes: as large as any on the wire, and made in a moment."""
    halves: list[list[int]] = [[], []]
    while len(halves[0]) < bits // 1024:
        numbers = rsa.generate_private_key(65537, 1024).private_numbers()
        halves[0].append(numbers.p)
        halves[1].append(numbers.q)
    p, q = prod(halves[0]), prod(halves[1])
    order_p, order_q = (lcm(*(prime - 1 for prime in half)) for half in halves)
    d = pow(65537, -1, lcm(order_p, order_q))
    public = rsa.RSAPublicNumbers(65537, p * q)
    private = rsa.RSAPrivateNumbers(p, q, d, d % order_p, d % order_q, pow(q, -1, p), public)
    return private.private_key(unsafe_skip_rsa_key_validation=True)


class ManyAnswers(knobs.Fault):
    """Right after CONNACK, 20 attribute responses of 64 KB that hold every awkward byte."""

    def connected(self, session: Session) -> None:
        """Send them."""
        payload = bytes(range(256)) * 250
        topic = "v1/devices/me/attributes/response/1"
        for _ in range(20):
            session.send(Publish(topic, payload, version=session.version))


LONG_REASON = knobs.ReasonString(
    "reason " * 9000, {"user_property": tuple(("k" * 30_000, "v" * 30_000) for _ in range(15))}
)
SERVERS: dict[str, Callable[[], Server]] = {
    "150 certificates": lambda: Broker(tls=Tls(presenting(150))),
    "1000 certificates": lambda: Broker(tls=Tls(presenting(1000))),
    "300 CA names": lambda: ManyCaNames(300),
    "3500 subject alternative names": lambda: Broker(tls=Tls(many_names(3500))),
    "a subject of 60 KB": lambda: Broker(tls=Tls(long_subject())),
    "reason strings of 64 KB": lambda: Broker(tls=Tls(ISSUED), faults=(LONG_REASON,)),
    "attributes of 64 KB": lambda: Broker(tls=Tls(ISSUED), faults=(ManyAnswers(),)),
    "a CONNACK of 256 MB": lambda: Scripted(b"\x20\xff\xff\xff\x7f\0\0", CHUNK, tls=Tls(ISSUED)),
    "a PUBLISH of 256 MB": lambda: Scripted(
        ACCEPTED + b"\x30\xff\xff\xff\x7f", CHUNK, tls=Tls(ISSUED)
    ),
}
SHORT = {"timeout": 2.0}


@functools.cache
def report_of(server: str, folder: Path) -> Report:
    with diagnosed(SERVERS[server](), folder, SHORT) as (report, _):
        return report


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sizes")


def peak_of(words: list[str]) -> tuple[int, subprocess.CompletedProcess[str]]:
    """Megabytes that `tbdiag` with these arguments reached, and how it ended."""
    code = """
import resource, sys
from tbdiag.cli import run
code = run(sys.argv[1:])
try:
    status = open("/proc/self/status").read()
    peak = int(status.split("VmHWM:")[1].split()[0])
except OSError:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print("PEAK", peak // 1024, file=sys.stderr)
sys.exit(code)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**os.environ, "TBDIAG_TOKEN": TOKEN, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = re.search(r"PEAK (\d+)", done.stderr)
    assert found, done.stderr
    return int(found.group(1)), done


def check_line(server: Server, folder: Path, *more: str) -> list[str]:
    cafile = target_of(server, folder).cafile[0]
    words = ["check", f"localhost:{server.port}", "--no-compare-web", "--timeout", "4", *more]
    return words if "--cafile" in more else [*words, "--cafile", cafile]


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_cannot_make_the_process_large(server: str, tmp_path: Path) -> None:
    """The whole process, its report as HTML included, stays under 200 MB."""
    with SERVERS[server]() as running:
        peak, done = peak_of(check_line(running, tmp_path, "-f", "html", "-o", os.devnull))
    assert done.returncode in (0, 1), done.stderr
    assert peak < PEAK


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("format_id", FORMATS)
def test_no_output_grows_with_what_a_server_sends(
    server: str, format_id: str, folder: Path
) -> None:
    """Whatever was sent, a report stays below a megabyte, and no line of it over 150 KB."""
    text = render(report_of(server, folder), format_id)
    assert len(text) < 1_000_000
    if format_id not in ("html", "jsonl"):
        assert max(map(len, text.split("\n"))) < 150_000


def test_what_was_cut_from_the_handshake_says_so(folder: Path) -> None:
    """Certificates and CA names beyond the limit are counted in the evidence and in the table."""
    chain = report_of("150 certificates", folder)
    cut = "151 certificates presented, the first 32 kept"
    assert cut in " ".join(render(chain, "table", width=200).split())
    assert len(chain.stage("tls.handshake").evidence.certificate_list) == 32
    names = report_of("300 CA names", folder).stage("tls.handshake").evidence
    assert "names in CertificateRequest, the first 32 kept" in (names.truncated or "")
    too_much = report_of("1000 certificates", folder)
    assert too_much.primary == "tls.alert"
    assert "longer than OpenSSL allows" in too_much.stage("tls.handshake").evidence.truncated


def test_what_was_cut_from_mqtt_says_so(folder: Path) -> None:
    """A packet over the limit is told with both sizes, a long reason string with its length."""
    for server in ("a CONNACK of 256 MB", "a PUBLISH of 256 MB"):
        shown = render(report_of(server, folder), "json")
        assert "the packet has 268435455 bytes, the limit is 1048576" in shown
    assert "characters, cut)" in render(report_of("reason strings of 64 KB", folder), "json")


def test_names_are_counted_in_a_message_not_listed() -> None:
    """With 10,000 subject alternative names, a verdict's words and findings stay short."""
    leaf, at = parsed(many_names(10_000).certificate), datetime.now(UTC)
    for client in CLIENTS.values():
        started = time.monotonic()
        decision = client.decide((leaf,), (parsed(ROOT.certificate),), "other.test", at)
        assert decision.verdict in ("reject", "unknown")
        assert len(decision.reason) < 500
        assert time.monotonic() - started < 2


def test_names_are_counted_in_a_finding_not_listed(folder: Path, tmp_path: Path) -> None:
    """The mismatch with one of 3,500 names is told in a screen's worth of text."""
    server = Broker(tls=Tls(many_names(3500)))
    with diagnosed(server, tmp_path, SHORT, server_name="other.test") as (report, _):
        assert report.primary == "x509.name-mismatch"
        assert report.root_cause
        assert len(report.root_cause.message + report.root_cause.fix) < 2000
        assert "more" in report.root_cause.message


def with_public_key(bits: int) -> Authority:
    """A root whose certificate says it has an RSA key of `bits`; nobody has the private one."""
    key = rsa.RSAPublicNumbers(65537, (1 << bits) - 1).public_key()
    name = make_name("Hostile Root")
    at = datetime.now(UTC)
    certificate = (
        CertificateBuilder(name, name, key, 1, at - timedelta(1), at + timedelta(9))
        .add_extension(BasicConstraints(True, None), critical=True)
        .sign(ROOT.key, SHA256())
    )
    return replace(ROOT, certificate=certificate, path=(certificate,))


@pytest.mark.parametrize("bits", [16_384, 32_768, 262_144])
def test_rsa_keys_of_any_size_cost_no_time(bits: int) -> None:
    """Where the issuer's RSA key is of any size, every stack and our own verdict take a moment."""
    leaf = parsed(ISSUED.certificate)
    root = parsed(with_public_key(bits).certificate)
    started = time.monotonic()
    for client in CLIENTS.values():
        decision = client.decide((leaf, root), (root,), "localhost", datetime.now(UTC))
        assert decision.verdict in ("reject", "unknown")
    assert not issued_by(leaf, root)
    assert time.monotonic() - started < 2


def test_rsa_signatures_are_computed_up_to_16384_bits() -> None:
    """A signature by a key of 16,384 bits is verified, in a moment; the limit says so."""
    big = Authority.root("Big", key=composite_rsa(16_384))
    leaf, root = parsed(big.issue_server().certificate), parsed(big.certificate)
    started = time.monotonic()
    assert issued_by(leaf, root)
    assert time.monotonic() - started < 1
    assert x509_signature.MAX_RSA_BITS == 16_384


def test_a_server_with_an_rsa_key_of_16384_bits_is_diagnosed_in_time(tmp_path: Path) -> None:
    """The handshake with it ends in time; what it proves is not worse for the size."""
    issued = ROOT.issue_server(key=composite_rsa(16_384))
    with diagnosed(Broker(tls=Tls(issued)), tmp_path, {"timeout": 8.0}) as (report, seconds):
        assert seconds < 8
        assert report.stage("tls.handshake").status == "ok"


def distinct_certificates(count: int, root: Authority = ROOT) -> bytes:
    """A PEM file of `count` certificates of one name that differ in their serial number alone."""
    der, number = parsed(root.certificate).der, root.certificate.serial_number
    serial = number.to_bytes((number.bit_length() + 7) // 8, "big")
    blocks = []
    for step in range(count):
        other = (int.from_bytes(serial) - step).to_bytes(len(serial), "big")
        text = base64.encodebytes(der.replace(serial, other, 1))
        blocks += [b"-----BEGIN CERTIFICATE-----\n", text, b"-----END CERTIFICATE-----\n"]
    return b"".join(blocks)


CA_FILES: dict[str, Callable[[], bytes]] = {
    "2100 copies of the root": lambda: distinct_certificates(2100),
    "2100 of its name, another key": lambda: distinct_certificates(2100, ROOT.twin()),
    "500000 damaged blocks": lambda: (
        ROOT.pem() + b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATEX-----\n" * 500_000
    ),
    "40 MB of text": lambda: ROOT.pem() + b"not a certificate " * 2_300_000,
    "40 MB of base64": lambda: b"MIIB" * 10_000_000,
    "40 MB of BEGIN": lambda: b"-----BEGIN " * 3_700_000,
}


@pytest.mark.parametrize("content", CA_FILES)
def test_a_ca_file_cannot_make_the_process_large_or_slow(content: str, tmp_path: Path) -> None:
    """A CA file of any size is judged in seconds, under 200 MB, and what was not read is said."""
    path = tmp_path / "big.pem"
    path.write_bytes(CA_FILES[content]())
    with Broker(tls=Tls(ISSUED)) as broker:
        words = check_line(broker, tmp_path, "--cafile", str(path), "--timeout", "20", "-f", "json")
        started = time.monotonic()
        peak, done = peak_of(words)
        assert time.monotonic() - started < 20
    assert peak < PEAK
    assert done.returncode in (0, 1), done.stderr
    assert re.search(r"were (not )?read", done.stdout), done.stdout[-3000:]
    assert len(done.stdout) < 1_000_000


def test_a_download_is_cut_at_a_megabyte(tmp_path: Path) -> None:
    """An HTTP server that sends without end fills no memory, and the report says the limit."""
    with (
        HttpApi(faults=[HugeBody(1 << 40, declared=False)]) as api,
        Broker(tls=Tls(ISSUED)) as broker,
    ):
        words = check_line(broker, tmp_path, "--cafile", f"{api.url}/ca.pem", "-f", "json")
        peak, done = peak_of(words)
    assert peak < PEAK
    assert "longer than 1024 KiB" in done.stdout
    assert ca_file.MAX_BYTES <= 16 << 20
