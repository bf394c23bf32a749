"""Save what a server presents, and load it again to see what changed (`rules/baseline.py`).

    tbdiag check … --save-baseline FILE
    tbdiag check … --baseline FILE

`Options.extra["baseline"]` carries the loaded Baseline to the rules. The file is JSON and holds
names, fingerprints and dates only.
"""

from __future__ import annotations

import functools
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tbdiag.errors import UsageError
from tbdiag.evidence import HandshakeEvidence, VerifyEvidence
from tbdiag.evidence.baseline import Baseline, KnownCertificate
from tbdiag.files import write_atomically
from tbdiag.model import Report
from tbdiag.rules.baseline import present_path

BASELINE_VERSION = 1
MAX_BYTES = 1 << 20


def baseline_of(report: Report) -> Baseline:
    """What `report` saw of the server's path; UsageError when it saw no certificate."""
    by_type = {type(stage.evidence): stage.evidence for stage in report.stages}
    shown, verified = by_type.get(HandshakeEvidence), by_type.get(VerifyEvidence)
    if shown is None or verified is None or not shown.certificate_list:
        raise UsageError(
            f"no baseline was saved: {report.target.address} presented no certificate to judge"
        )
    path, rooted = present_path(shown, verified)
    return Baseline(
        address=report.target.address,
        server_name=report.target.reference_name,
        saved_at=report.started_at.replace(microsecond=0),
        path=path,
        rooted=rooted,
    )


def save_baseline(report: Report, path: str | Path) -> Baseline:
    """Write the baseline of `report` into `path`, atomically; returns it. Raises UsageError."""
    baseline = baseline_of(report)
    try:
        write_atomically(Path(path), encode_baseline(baseline))
    except OSError as error:
        raise UsageError(f"cannot write the baseline {path}: {error.strerror or error}") from None
    return baseline


def load_baseline(path: str | Path) -> Baseline:
    """Read a baseline; UsageError names the file and what is wrong with it."""
    try:
        with Path(path).open("rb") as file:
            return parse_baseline(file.read(MAX_BYTES))
    except OSError as error:
        raise UsageError(f"cannot read the baseline {path}: {error.strerror or error}") from None
    except RecursionError:
        raise UsageError(f"{path} is not a baseline of tbdiag: it is nested too deeply") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is not a baseline of tbdiag: {error}") from None


def encode_baseline(baseline: Baseline, indent: int | None = 2) -> bytes:
    """The JSON of a baseline; with `indent` None on one line, which costs a tenth."""
    document = {
        "baseline_version": BASELINE_VERSION,
        "address": baseline.address,
        "server_name": baseline.server_name,
        "saved_at": _text(baseline.saved_at),
        "rooted": baseline.rooted,
        "path": [
            {
                "subject": c.subject,
                "issuer": c.issuer,
                "fingerprint_sha256": c.fingerprint_sha256,
                "key_sha256": c.key_sha256,
                "not_after": _text(c.not_after),
            }
            for c in baseline.path
        ],
    }
    return (json.dumps(document, indent=indent) + "\n").encode("ascii")


def parse_baseline(data: bytes) -> Baseline:
    """The baseline in `data`; ValueError, KeyError or TypeError where it is none."""
    document = json.loads(data)
    if document["baseline_version"] != BASELINE_VERSION:
        raise ValueError(f"baseline_version {document['baseline_version']} is not known")
    path = tuple(_known(entry) for entry in document["path"])
    if not path:
        raise ValueError("its path is empty")
    return Baseline(
        address=str(document["address"]),
        server_name=str(document["server_name"]),
        saved_at=_moment(document["saved_at"]),
        path=path,
        rooted=bool(document["rooted"]),
    )


def _known(entry: dict[str, Any]) -> KnownCertificate:
    texts = ("subject", "issuer", "fingerprint_sha256", "key_sha256", "not_after")
    return _shared(*(str(entry[name]) for name in texts))


@functools.lru_cache(maxsize=256)
def _shared(
    subject: str, issuer: str, fingerprint_sha256: str, key_sha256: str, not_after: str
) -> KnownCertificate:
    """One object for all servers of a fleet that present the certificate."""
    return KnownCertificate(
        subject, issuer, fingerprint_sha256, key_sha256, not_after=_moment(not_after)
    )


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    try:
        return moment.astimezone(UTC).replace(microsecond=0)
    except OverflowError:
        raise ValueError(f"{text} is outside of all time") from None
