"""The thresholds of a certificate's end, as the expiry rules apply them."""

from __future__ import annotations

from tbdiag.evidence import DAY, Certificate
from tbdiag.model import Options

WARN_DAYS = 30.0
SHORT_LIFE_DAYS = 90.0


def warn_below(certificate: Certificate, options: Options) -> float:
    """Days left below which this certificate earns a warning."""
    if options.warn_days is not None:
        return options.warn_days
    life = (certificate.not_after - certificate.not_before) / DAY
    return life / 3 if life < SHORT_LIFE_DAYS else WARN_DAYS


def critical_below(options: Options) -> float:
    """Days left below which a certificate earns an error: its very end unless told otherwise."""
    return options.critical_days or 0.0
