"""The judges our verdicts are compared with: the installed `openssl`, and `cryptography`."""

from __future__ import annotations

import ipaddress
import shutil
import subprocess
import warnings
from base64 import encodebytes
from collections.abc import Iterable
from datetime import UTC
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from tbdiag.clients import webpki
from tests.conformance.registry import Given

OPENSSL = shutil.which("openssl")


@cache
def openssl_version() -> str:
    """The version of the installed program, such as `3.0`; empty where there is none."""
    if OPENSSL is None:
        return ""
    told = subprocess.run([OPENSSL, "version"], capture_output=True, text=True, check=True).stdout
    return ".".join(told.split()[1].split(".")[:2])


def pem(ders: Iterable[bytes]) -> bytes:
    """The certificates as PEM, byte for byte: nothing is parsed."""
    begin, end = b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n"
    return b"".join(
        begin + b"".join(t[i : i + 64] + b"\n" for i in range(0, len(t), 64)) + end
        for t in (encodebytes(der).replace(b"\n", b"") for der in ders)
    )


def is_address(host: str) -> bool:
    """Whether the host is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def program_says(subject: Given, cafile: Path, presented: Path) -> int:
    """The first error number of `openssl verify`, 0 when it accepts, -1 when it cannot load it."""
    name = "-verify_ip" if is_address(subject.host) else "-verify_hostname"
    host = subject.host if subject.host.isascii() else subject.host.encode("idna").decode()
    done = subprocess.run(
        [
            *(str(OPENSSL), "verify", "-CAfile", str(cafile), "-no-CApath", "-no-CAstore"),
            *("-untrusted", str(presented), "-purpose", "sslserver", "-auth_level", "2"),
            *(name, host, "-attime", str(int(subject.at.timestamp())), str(presented)),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if done.returncode == 0:
        return 0
    found = done.stderr.partition("\nerror ")[2] or done.stderr.partition("error ")[2]
    number = found.split()[0] if found else ""
    return int(number) if number.isdigit() else -1


def cryptography_accepts(subject: Given, *, profile: bool) -> bool:
    """Whether `cryptography` accepts: with its own extension policies, or with those of `webpki`.

    Called directly on the bytes: none of our parsing, choosing and caching is in between.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            anchors = [x509.load_der_x509_certificate(der) for der in subject.anchors]
            leaf, *rest = [x509.load_der_x509_certificate(der) for der in subject.presented]
            _verifier(subject, anchors, profile=profile).verify(leaf, rest)
        except (VerificationError, ValueError, x509.InvalidVersion):
            return False
    return True


def _verifier(subject: Given, anchors: list[x509.Certificate], *, profile: bool) -> Any:
    at = subject.at.astimezone(UTC).replace(tzinfo=None)
    builder = PolicyBuilder().store(Store(anchors)).time(at).max_chain_depth(8)
    if not profile:
        ca_policy, ee_policy = webpki._policies()
        builder = builder.extension_policies(ca_policy=ca_policy, ee_policy=ee_policy)
    if is_address(subject.host):
        return builder.build_server_verifier(x509.IPAddress(ipaddress.ip_address(subject.host)))
    return builder.build_server_verifier(x509.DNSName(subject.host.encode("idna").decode()))
