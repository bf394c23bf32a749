"""tbdiag: why a device cannot talk to ThingsBoard, in one sentence, with the repair.

>>> from tbdiag import Target, check
>>> report = check(Target("mqtt.thingsboard.cloud"))      # doctest: +SKIP
>>> report.primary, report.verdict                        # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Credentials",
    "Finding",
    "Options",
    "Report",
    "Secret",
    "Severity",
    "StageResult",
    "Status",
    "Target",
    "Transport",
    "Verdict",
    "__version__",
    "check",
]

if TYPE_CHECKING:
    from tbdiag.model import (
        Credentials,
        Finding,
        Options,
        Report,
        Secret,
        Severity,
        StageResult,
        Status,
        Target,
        Transport,
        Verdict,
    )
    from tbdiag.pipeline import check


def __getattr__(name: str) -> Any:
    """Import the public names on first use: `tbdiag --version` must not pay for them."""
    if name not in __all__:
        raise AttributeError(f"module 'tbdiag' has no attribute {name!r}")
    if name == "check":
        from tbdiag.pipeline import check

        return check
    from tbdiag import model

    return getattr(model, name)
