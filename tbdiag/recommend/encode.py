"""A CA file in the form a device's firmware takes it."""

from __future__ import annotations

from collections.abc import Callable

from tbdiag.errors import UsageError
from tbdiag.evidence import Certificate
from tbdiag.protocol.x509 import encode_pem

Chain = tuple[Certificate, ...]


def encode(anchors: Chain, form: str) -> bytes:
    """`anchors` as `pem`, `der`, `c`, `esp-idf` or `arduino`.

    Raises UsageError for another form, for no certificate, and for DER with more than one.
    """
    encoder = ENCODERS.get(form)
    if encoder is None:
        raise UsageError(f"--as {form}: choose one of {', '.join(ENCODERS)}")
    if not anchors:
        raise UsageError("there is no certificate to write")
    return encoder(anchors)


def _pem(anchors: Chain) -> bytes:
    """PEM in 64 columns and LF, without comments: every stack and modem reads it."""
    return encode_pem(anchors).encode("ascii")


def _der(anchors: Chain) -> bytes:
    if len(anchors) != 1:
        raise UsageError(
            f"--as der: a DER file holds one certificate, and {len(anchors)} are needed; use pem"
        )
    return anchors[0].der


def _c(anchors: Chain) -> bytes:
    """A C string, one line of PEM per literal, terminated by NUL as mbedtls_x509_crt_parse asks."""
    lines = [f'    "{line}\\n"' for line in encode_pem(anchors).splitlines()]
    text = "\n".join([*_comments(anchors, "//"), "static const char tb_root_ca[] =", *lines])
    return f"{text};\n".encode("ascii")


def _arduino(anchors: Chain) -> bytes:
    """A raw string for WiFiClientSecure::setCACert and ThingsBoard's Arduino SDK."""
    head = [*_comments(anchors, "//"), "// espClient.setCACert(ROOT_CERT);"]
    body = encode_pem(anchors)
    text = "\n".join([*head, f'constexpr char ROOT_CERT[] = R"({body})";'])
    return f"{text}\n".encode("ascii")


def _esp_idf(anchors: Chain) -> bytes:
    """PEM for EMBED_TXTFILES, with the lines that embed it; still a CA file for any other tool."""
    head = [
        *_comments(anchors, "#"),
        '# CMakeLists.txt: idf_component_register(SRCS "main.c" EMBED_TXTFILES "ca.pem")',
        '# extern const char ca_pem[] asm("_binary_ca_pem_start");',
        "# esp_mqtt_client_config_t config = {.broker.verification.certificate = ca_pem};",
    ]
    return "\n".join([*head, encode_pem(anchors)]).encode("ascii")


def _comments(anchors: Chain, mark: str) -> list[str]:
    """A line for each certificate; what its name holds beyond plain letters becomes `?`.

    A backslash would continue a C comment on the next line, so it goes as well.
    """
    lines = []
    for certificate in anchors:
        plain = [
            c if c.isascii() and c.isprintable() and c != "\\" else "?" for c in certificate.name
        ]
        name = "".join(plain).replace("-----", "")
        lines.append(f"{mark} {name}, {certificate.role}, until {certificate.not_after:%Y-%m-%d}")
    return lines


ENCODERS: dict[str, Callable[[Chain], bytes]] = {
    "pem": _pem,
    "der": _der,
    "c": _c,
    "esp-idf": _esp_idf,
    "arduino": _arduino,
}
"""The forms `ca recommend --as` writes."""
