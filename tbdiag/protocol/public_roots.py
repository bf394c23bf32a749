"""The public roots: the certificates that browsers trust, as `certifi` packs them."""

from __future__ import annotations

import functools
from pathlib import Path

from tbdiag.evidence import CaSource, Certificate
from tbdiag.protocol import pem
from tbdiag.protocol.x509 import UnparsableCertificate, parse_certificate


def bundle_path() -> Path:
    """The file that holds the public roots."""
    import certifi

    return Path(certifi.where())


def bundle_name() -> str:
    """What the bundle is called in sentences: `public roots (certifi 2026.10.18)`."""
    import certifi

    return f"public roots (certifi {certifi.__version__})"


@functools.lru_cache(maxsize=1)
def public_roots() -> tuple[Certificate, ...]:
    """Every public root, parsed once per process (about 5 ms)."""
    roots = []
    for block in pem.blocks(bundle_path().read_bytes()):
        try:
            roots.append(parse_certificate(block.content, known_root=True))
        except UnparsableCertificate:
            continue  # one root that cannot be read does not spoil the others
    return tuple(roots)


def public_source(given: str) -> CaSource:
    """The public roots as what `--cafile` named by `given`."""
    roots = public_roots()
    size = bundle_path().stat().st_size
    return CaSource(given, "public", bundle_name(), size=size, certificates=roots)
