"""What the bytes of a supposed CA file are instead, in words for a person."""

from __future__ import annotations

import json
import re

_MAGIC = (
    (b"\xfe\xed\xfe\xed", "a Java keystore (JKS)"),
    (b"\xce\xce\xce\xce", "a Java keystore (JCEKS)"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"\xd0\xcf\x11\xe0", "a Microsoft Office document"),
    (b"{\\rtf", "an RTF document"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a Windows program"),
    (b"SQLite format 3\0", "a database"),
    (b"ssh-", "an SSH public key"),
    (b"ecdsa-sha2-", "an SSH public key"),
    (b"---- BEGIN SSH2 PUBLIC KEY", "an SSH public key"),
    (b"PuTTY-User-Key-File", "a PuTTY private key"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
    (b"#!/", "a script"),
)
DER_WORDS = {
    "private-key": "a private key (DER)",
    "encrypted-private-key": "an encrypted private key (DER)",
    "public-key": "a public key (DER), not a certificate",
    "request": "a certificate signing request (CSR), not the certificate itself",
    "crl": "a certificate revocation list (CRL)",
}
_HTML = re.compile(rb"<!doctype html|<html|<head|<body", re.IGNORECASE)
_TITLE = re.compile(rb"<title[^>]*>(.{1,200}?)</title>", re.IGNORECASE | re.DOTALL)
_DUMP = re.compile(rb"^\s*Certificate:\s*$|^\s*Data:\s*\r?\n\s*Version:", re.MULTILINE)
_QUOTE = 80


def label_words(label: str) -> str:
    """What a PEM block with this label is, when it is not a certificate."""
    if "CERTIFICATE REQUEST" in label:
        return DER_WORDS["request"]
    if label.endswith("PUBLIC KEY"):
        return "a public key, not a certificate"
    if label.startswith("PGP"):
        return "an OpenPGP block"
    return {
        "X509 CRL": DER_WORDS["crl"],
        "OPENSSH PRIVATE KEY": "an SSH private key",
        "DH PARAMETERS": "Diffie-Hellman parameters",
        "EC PARAMETERS": "curve parameters (no certificate)",
        "ATTRIBUTE CERTIFICATE": "an attribute certificate",
    }.get(label, f"a PEM block named {label!r}")


def content_words(data: bytes) -> str:
    """What `data`, which holds no certificate, seems to be."""
    head = data[:4096].lstrip()
    if head.startswith(b"PK\x03\x04") and b"word/" in data[:65536]:
        return "a Word document"
    for magic, words in _MAGIC:
        if head.startswith(magic):
            return words
    if head.startswith((b"{", b"[")):
        return _json_words(data)
    if _HTML.search(head):
        return _html_words(data)
    if head.startswith(b"<?xml"):
        return "an XML document"
    if _DUMP.search(head):
        return "a certificate printed as text (openssl x509 -text) without its PEM block"
    return _text_words(head)


def _json_words(data: bytes) -> str:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return "text that begins like JSON"
    message = value.get("message") if isinstance(value, dict) else None
    if isinstance(message, str) and message:
        return f"a JSON error that says {_short(message)!r}"
    return "a JSON document"


def _html_words(data: bytes) -> str:
    title = _TITLE.search(data[:65536])
    text = title.group(1).decode("utf-8", "replace").strip() if title else ""
    return f"an HTML page titled {_short(text)!r}" if text else "an HTML page"


def _text_words(head: bytes) -> str:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        text = head[: error.start].decode("utf-8") if error.start > len(head) - 4 else ""
    printable = sum(c.isprintable() or c in "\r\n\t" for c in text)
    if not text or printable < 0.9 * len(text):
        return "binary data of an unknown kind"
    first = text.splitlines()[0].strip()
    return f"text that begins with {_short(first)!r}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _QUOTE else text[: _QUOTE - 1] + "…"
