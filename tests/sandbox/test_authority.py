"""The sandbox's certificate authority, judged by the openssl command."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from tbdiag.sandbox.authority import Authority, Issued, Options, pem, self_signed

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)


def verify(folder: Path, anchors: bytes, issued: Issued, *more: str) -> str:
    """Return what `openssl verify` says about a presented chain at NOW, strictly."""
    for name, data in (("ca", anchors), ("leaf", issued.pem()), ("chain", pem(*issued.chain))):
        (folder / name).write_bytes(data)
    command = ["openssl", "verify", "-no-CApath", "-no-CAstore", "-CAfile", "ca", *more]
    command += ["-attime", str(int(NOW.timestamp())), "-purpose", "sslserver"]
    command += ["-untrusted", "chain"] if issued.chain else []
    command.append("leaf")
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=30, check=False
    )
    return done.stdout + done.stderr


@pytest.fixture
def root() -> Authority:
    """A root that is valid at NOW."""
    return Authority.root(now=NOW)


@pytest.mark.parametrize("key", ["ec", "ec384", "ed25519", "rsa", "rsa4096"])
def test_defaults_are_valid_under_strict_rules(tmp_path: Path, key: str) -> None:
    """Without overrides every kind of key gives a path that openssl accepts with -x509_strict."""
    root = Authority.root(now=NOW, key=key)
    issued = root.intermediate(key=key).issue_server("localhost", key=key)
    said = verify(tmp_path, root.pem(), issued, "-x509_strict", "-verify_hostname", "localhost")
    assert said == "leaf: OK\n"


@pytest.mark.parametrize("name", ["127.0.0.1", "::1"])
def test_default_names_are_the_loopback_ones(tmp_path: Path, root: Authority, name: str) -> None:
    """A server certificate without names is for localhost by name and by address."""
    assert verify(tmp_path, root.pem(), root.issue_server(), "-verify_ip", name) == "leaf: OK\n"


def test_lives() -> None:
    """A leaf lives 90 days from now, a CA ten years, both from the day before."""
    root = Authority.root(now=NOW)
    leaf = root.issue_server().certificate
    assert leaf.not_valid_before_utc == NOW - timedelta(days=1)
    assert leaf.not_valid_after_utc == NOW + timedelta(days=90)
    assert root.certificate.not_valid_after_utc == NOW + timedelta(days=3650)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"not_after": NOW - timedelta(days=3)}, "certificate has expired"),
        ({"not_before": NOW + timedelta(days=3)}, "certificate is not yet valid"),
        ({"alt_names": ("other.example",)}, "hostname mismatch"),
        ({"extended_key_usage": ("clientAuth",)}, "unsuitable certificate purpose"),
        ({"unknown_critical": True}, "unhandled critical extension"),
        ({"aki": b"12345678"}, "unable to get local issuer certificate"),
        ({"issuer": "CN=nobody"}, "unable to get local issuer certificate"),
    ],
)
def test_one_override_is_one_fault(
    tmp_path: Path, root: Authority, fault: Options, said: str
) -> None:
    """Overriding one argument of a leaf gives exactly that error from openssl."""
    issued = root.issue_server("localhost", **fault)
    assert said in verify(tmp_path, root.pem(), issued, "-verify_hostname", "localhost")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"is_ca": False}, "invalid CA certificate"),
        ({"is_ca": None, "key_usage": ("digital_signature",)}, "invalid CA certificate"),
        ({"not_after": NOW - timedelta(days=3)}, "certificate has expired"),
        ({"permitted": ("example.org",)}, "permitted subtree violation"),
        ({"excluded": ("localhost",)}, "excluded subtree violation"),
    ],
)
def test_faults_of_an_intermediate(
    tmp_path: Path, root: Authority, fault: Options, said: str
) -> None:
    """Overriding one argument of an intermediate gives exactly that error from openssl."""
    issued = root.intermediate(**fault).issue_server("localhost")
    assert said in verify(tmp_path, root.pem(), issued)


def test_path_length(tmp_path: Path, root: Authority) -> None:
    """A CA below one with path_length 0 makes the path too long."""
    issued = root.intermediate("A", path_length=0).intermediate("B").issue_server()
    assert "path length constraint exceeded" in verify(tmp_path, root.pem(), issued)


def test_missing_intermediate(tmp_path: Path, root: Authority) -> None:
    """A leaf presented without its intermediate has no issuer."""
    issued = root.intermediate().issue_server().presenting()
    assert "unable to get local issuer" in verify(tmp_path, root.pem(), issued)


def test_version_1(tmp_path: Path, root: Authority) -> None:
    """A version 1 leaf has no extensions and verifies, as those made by the docs' recipe."""
    issued = root.issue_server("localhost", version=1)
    assert issued.certificate.version is x509.Version.v1
    assert verify(tmp_path, root.pem(), issued) == "leaf: OK\n"


@pytest.mark.parametrize(("hash_name", "key"), [("sha1", "ec"), ("sha1", "rsa"), ("md5", "rsa")])
def test_weak_signatures(tmp_path: Path, hash_name: str, key: str) -> None:
    """A weak signature is refused only because it is weak."""
    root = Authority.root(now=NOW, key=key)
    issued = root.issue_server(signature_hash=hash_name)
    assert issued.certificate.signature_hash_algorithm is not None
    assert issued.certificate.signature_hash_algorithm.name == hash_name
    assert verify(tmp_path, root.pem(), issued) == "leaf: OK\n"
    assert "signature digest algorithm too weak" in verify(
        tmp_path, root.pem(), issued, "-auth_level", "2"
    )


def test_weak_key(tmp_path: Path, root: Authority) -> None:
    """A 1024 bit RSA key is refused only because it is short."""
    issued = root.issue_server(key="rsa1024")
    assert isinstance(issued.key, rsa.RSAPrivateKey)
    assert verify(tmp_path, root.pem(), issued) == "leaf: OK\n"
    assert "key too weak" in verify(tmp_path, root.pem(), issued, "-auth_level", "2")


def test_bad_signature(tmp_path: Path, root: Authority) -> None:
    """A corrupted signature does not verify, on a leaf and on an intermediate."""
    middle = root.intermediate()
    leaf = middle.issue_server().with_bad_signature()
    below = middle.with_bad_signature().issue_server()
    assert "signature failure" in verify(tmp_path, root.pem(), leaf)
    assert "signature failure" in verify(tmp_path, root.pem(), below)


def test_cross_sign(tmp_path: Path, root: Authority) -> None:
    """A cross-signed CA carries its leaves to either root."""
    old = Authority.root("Old", now=NOW)
    crossed = old.cross_sign(root)
    issued = root.issue_server().presenting(crossed.certificate)
    assert crossed.certificate.subject == root.certificate.subject
    assert verify(tmp_path, root.pem(), issued) == "leaf: OK\n"
    assert verify(tmp_path, old.pem(), issued) == "leaf: OK\n"


def test_twin(tmp_path: Path, root: Authority) -> None:
    """A root of the same name with another key does not vouch for the first one's leaves."""
    twin = root.twin()
    assert twin.certificate.subject == root.certificate.subject
    issued = root.issue_server(aki=False)
    assert "signature failure" in verify(tmp_path, root.twin(ski=False).pem(), issued)
    assert "unable to get local issuer" in verify(tmp_path, twin.pem(), root.issue_server())


def test_self_signed_is_its_own_ca_file(tmp_path: Path) -> None:
    """The documentation's self-signed server certificate works as its own CA file."""
    issued = self_signed("localhost", alt_names=(), now=NOW)
    said = verify(tmp_path, issued.pem(), issued, "-verify_hostname", "localhost")
    assert said == "leaf: OK\n"


def test_key_pem_belongs_to_the_certificate(root: Authority) -> None:
    """The PEM files of a leaf hold one key pair, and its chain no root."""
    issued = root.intermediate().issue_server()
    loaded = x509.load_pem_x509_certificates(issued.chain_pem())
    assert loaded == [issued.certificate, *issued.chain]
    assert root.certificate not in loaded
    assert issued.key_pem().startswith(b"-----BEGIN PRIVATE KEY-----")
    assert issued.key.public_key() == issued.certificate.public_key()
