"""Reading a CA file as it comes: PEM with all that people do to it, DER, PKCS#7, PKCS#12."""

from __future__ import annotations

import binascii
import codecs
import functools
import itertools
import re
from collections.abc import Iterable

from tbdiag.evidence import CaProblem, CaSource, Certificate
from tbdiag.fact import Record, field
from tbdiag.protocol import containers, pem
from tbdiag.protocol.content_kinds import DER_WORDS, content_words, label_words
from tbdiag.protocol.x509 import UnparsableCertificate, parse_certificate

MAX_BYTES = 16 << 20
"""Octets of a CA file that are read."""
MAX_KEPT = 512 << 10
"""Octets up to which a CA file, once read, is kept for the next target that names it."""
MAX_CERTIFICATES = 2000
"""Certificates of one file that are parsed: the largest public bundles hold some hundreds."""
MAX_INSPECTED = 20_000
"""The same where a file is only inspected, and no deadline of a diagnosis waits for it."""
MAX_BLOCKS = 50_000
MAX_PROBLEMS = 50
_CERTIFICATE_LABELS = ("CERTIFICATE", "TRUSTED CERTIFICATE", "X509 CERTIFICATE")
_PKCS7_LABELS = ("PKCS7", "CMS", "PKCS #7 SIGNED DATA")
_BASE64_FILE = re.compile(rb"[A-Za-z0-9+/=\s]{200,}")
_LITERAL = re.compile(rb"""-----BEGIN [A-Z0-9 ]+-----(?:\\r)?(?:\\n|["'])""")
_END_LINE = re.compile(rb"-----END [A-Z0-9 ]{1,60}-----")
_EDGES = b" \t\r\\;,()"


MAX_CRLS = 16
"""Certificate revocation lists that are kept of one file."""


class _Reading(Record):
    """What has been found so far."""

    limit: int = MAX_CERTIFICATES
    format: str = "pem"
    certificates: list[Certificate] = field(default_factory=list)
    problems: list[CaProblem] = field(default_factory=list)
    unwrapped: list[int] = field(default_factory=list)
    truncated: int = 0
    revocation_lists: list[bytes] = field(default_factory=list)

    def add(
        self, kind: str, detail: str, line: int | None = None, *, refused: bool = False
    ) -> None:
        self.note(CaProblem(kind, detail, line, refused))

    def note(self, problem: CaProblem) -> None:
        """Keep a problem; far more than are shown, but not millions."""
        if len(self.problems) < 10 * MAX_PROBLEMS:
            self.problems.append(problem)

    def parse(self, content: bytes, line: int | None) -> None:
        """Parse one DER certificate; a broken one becomes a problem."""
        if len(self.certificates) >= self.limit:
            self.truncated += 1
            return
        try:
            self.certificates.append(parse_certificate(content))
        except UnparsableCertificate as error:
            detail = str(error)[0].lower() + str(error)[1:].rstrip(".")
            where = f"the block at line {line}" if line else "a certificate in it"
            self.add("corrupt-pem", f"{where}: {detail}", line, refused=True)


def read_ca(
    data: bytes, given: str, origin: str, location: str, limit: int | None = None
) -> CaSource:
    """Read the bytes of a CA file, whatever their format; never raises for what they hold.

    `given`, `origin` and `location` are those of CaSource. What is not a usable PEM certificate is
    in `problems`; the certificates that could be read are there all the same. The same bytes give
    the same CaSource: many targets share one CA file. At most `limit` certificates are parsed.
    """
    read = _read_once if len(data) <= MAX_KEPT else _read
    return read(data, given, origin, location, limit or MAX_CERTIFICATES)


def _read(data: bytes, given: str, origin: str, location: str, limit: int) -> CaSource:
    reading = _Reading(limit)
    size = len(data)
    if size > MAX_BYTES:
        reading.add("too-large", f"it is {size:,} bytes long; {MAX_BYTES:,} were read")
        data = data[:MAX_BYTES]
    if not data.strip():
        detail = "it is empty" if not data else "it holds only white space"
        reading.add("empty", detail, refused=True)
    elif data[0] == 0x30 and not data.startswith(b"0\x0a"):
        _read_der(data, reading)
    else:
        _read_text(_as_text(data, reading), reading)
    _note_unwrapped(reading)
    return CaSource(
        given,
        origin,
        location,
        reading.format if reading.certificates else "unknown",
        size,
        tuple(reading.certificates),
        tuple(reading.problems[:MAX_PROBLEMS]),
        truncated=reading.truncated,
        revocation_lists=tuple(reading.revocation_lists),
    )


_read_once = functools.lru_cache(maxsize=16)(_read)


def _note_unwrapped(reading: _Reading) -> None:
    if reading.unwrapped:
        count, total = len(reading.unwrapped), len(reading.certificates)
        detail = f"the base64 of {count} of {total} certificates is not wrapped at 64 columns"
        if total == 1:
            detail = "its base64 is one line, not wrapped at 64 columns"
        reading.add("unwrapped-base64", detail, reading.unwrapped[0])


def _as_text(data: bytes, reading: _Reading) -> bytes:
    """The bytes without byte order mark, UTF-16 turned into UTF-8."""
    if data.startswith(codecs.BOM_UTF8):
        reading.add("not-pem", "it begins with a UTF-8 byte order mark")
        return data[3:]
    little = data.startswith(codecs.BOM_UTF16_LE) or data[1:12:2] == b"\0" * 6
    if little or data.startswith(codecs.BOM_UTF16_BE) or data[0:12:2] == b"\0" * 6:
        text = data.decode("utf-16-le" if little else "utf-16-be", "replace").lstrip("\ufeff")
        if "-----BEGIN" in text:
            reading.add("not-pem", "its text is UTF-16, PEM is ASCII", refused=True)
        return text.encode("utf-8", "replace")
    return data


def _read_text(data: bytes, reading: _Reading) -> None:
    if _LITERAL.search(data):
        reading.add("not-pem", "it is PEM inside a string of source code", refused=True)
        data = _without_quotes(data)
    if b"-----BEGIN " in data:
        _read_blocks(pem.blocks(data), reading)
        return
    if _BASE64_FILE.fullmatch(data) and _read_bare_base64(data, reading):
        return
    reading.add("not-a-certificate", content_words(data), refused=True)


def _without_quotes(data: bytes) -> bytes:
    """PEM out of a string literal: escapes resolved, quotes and what surrounds them dropped."""
    lines = []
    for line in data.replace(b"\\r", b"").replace(b"\\n", b"\n").split(b"\n"):
        begin = line.find(b"-----BEGIN ")
        if begin >= 0:
            line = line[begin:]
        line = line.strip(_EDGES)
        if line.endswith(b"+") and line[:-1].rstrip().endswith((b'"', b"'")):
            line = line[:-1]  # string concatenation; a bare + is base64
        line = line.strip(_EDGES + b"\"'")
        end = _END_LINE.search(line)
        lines += [line[: end.start()], end.group()] if end else [line]
    return b"".join(line + b"\n" for line in lines if line)


def _read_blocks(found: Iterable[pem.Block], reading: _Reading) -> None:
    for block in itertools.islice(found, MAX_BLOCKS):
        if block.problem:
            reading.note(block.problem)
        if block.label in _CERTIFICATE_LABELS:
            _read_certificate_block(block, reading)
        elif block.label in _PKCS7_LABELS:
            reading.format = "pem" if reading.certificates else "pkcs7-pem"
            _read_pkcs7(block.content, reading)
        elif block.label.endswith("PRIVATE KEY"):
            words = "an encrypted private key" if block.encrypted else "a private key"
            reading.add("private-key", words, block.line)
        elif block.label:
            if block.label == "X509 CRL" and len(reading.revocation_lists) < MAX_CRLS:
                reading.revocation_lists.append(block.content)
            reading.add("not-a-certificate", label_words(block.label), block.line)
    if not reading.certificates and not any(p.refused for p in reading.problems):
        _nothing_found(reading)


def _nothing_found(reading: _Reading) -> None:
    for problem in list(reading.problems):
        if problem.kind == "private-key":
            words = f"{problem.detail}, not a certificate"
            reading.add("not-a-certificate", words, problem.line, refused=True)
            return
    if not reading.problems:
        words = "text with the marks of PEM, and no certificate between them"
        reading.add("not-a-certificate", words, refused=True)


def _read_certificate_block(block: pem.Block, reading: _Reading) -> None:
    damaged = block.problem is not None
    if damaged and not block.content:
        return
    before = len(reading.problems)
    reading.parse(block.content, block.line)
    if damaged:
        del reading.problems[before:]  # the damage is told once
    if reading.certificates and block.unwrapped:
        reading.unwrapped.append(block.line)
    if block.label != "CERTIFICATE":
        reading.add("not-pem", f"it has a {block.label} block, OpenSSL's own form", block.line)


def _read_bare_base64(data: bytes, reading: _Reading) -> bool:
    try:
        content = binascii.a2b_base64(b"".join(data.split()), strict_mode=True)
    except binascii.Error:
        return False
    if containers.der_kind(content) == "unknown":
        return False
    _read_der(content, reading)
    reading.problems = [p for p in reading.problems if p.kind != "not-pem"]
    reading.add("not-pem", "it is base64 without the BEGIN and END lines", refused=True)
    return True


def _read_der(data: bytes, reading: _Reading) -> None:
    kind = containers.der_kind(data)
    if kind == "certificate":
        reading.format = "der"
        reading.parse(data, None)
        reading.add("not-pem", "it is one certificate in DER, the binary form", refused=True)
    elif kind == "pkcs7":
        reading.format = "pkcs7-der"
        _read_pkcs7(data, reading)
    elif kind == "pkcs12":
        _read_pkcs12(data, reading)
    else:
        words = DER_WORDS.get(kind, content_words(data))
        if kind.endswith("private-key"):
            reading.add("private-key", words)
        reading.add("not-a-certificate", words, refused=True)


def _read_pkcs7(data: bytes, reading: _Reading) -> None:
    try:
        found = containers.pkcs7_certificates(data)
    except containers.UnreadableContainer as error:
        reading.add("not-a-certificate", str(error), refused=True)
        return
    for content in found:
        reading.parse(content, None)
    if found:
        reading.add("not-pem", f"it is PKCS#7 with {len(found)} certificates", refused=True)
    else:
        reading.add("not-a-certificate", "a PKCS#7 file without certificates", refused=True)


def _read_pkcs12(data: bytes, reading: _Reading) -> None:
    reading.format = "pkcs12"
    try:
        store = containers.pkcs12_content(data)
    except containers.UnreadableContainer as error:
        reading.add("not-a-certificate", str(error), refused=True)
        return
    for content in store.certificates:
        reading.parse(content, None)
    if store.has_key:
        reading.add("private-key", "a private key in a PKCS#12 keystore without a password")
    if store.certificates:
        reading.add("not-pem", "it is a PKCS#12 keystore", refused=True)
    else:
        reading.add("not-a-certificate", "a PKCS#12 keystore without certificates", refused=True)
