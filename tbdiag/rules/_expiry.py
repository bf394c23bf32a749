"""When a certificate's end is near enough to speak of: one threshold for CA files and servers."""

from __future__ import annotations

from datetime import datetime, timedelta

from tbdiag.evidence import DAY, Certificate
from tbdiag.model import Options, Severity

WARN_DAYS = 30
"""Days left that earn a warning, for a certificate of ordinary life."""
SHORT_LIFE = timedelta(days=90)
"""Below this lifetime a third of it takes the place of `WARN_DAYS` (6-day and 45-day issuance)."""


def expiry_severity(certificate: Certificate, now: datetime, options: Options) -> Severity | None:
    """How serious it is that `certificate` ends soon; None when it does not, or has ended already.

    `options.warn_days` and `options.critical_days` are days left; unset, the warning comes below
    30 days or a third of a short life, and there is no error before the end itself.
    """
    left = certificate.days_left(now)
    if left < 0:
        return None
    if options.critical_days is not None and left < options.critical_days:
        return Severity.ERROR
    return Severity.WARNING if left < warn_below(certificate, options) else None


def warn_below(certificate: Certificate, options: Options) -> float:
    """The number of days left below which `certificate` earns a warning."""
    if options.warn_days is not None:
        return options.warn_days
    life = certificate.not_after - certificate.not_before
    return life / DAY / 3 if life < SHORT_LIFE else WARN_DAYS


def in_words(certificate: Certificate, now: datetime) -> str:
    """When it ends or ended, for a sentence: `on 2035-06-04 (in 3118 days)`."""
    day = f"{certificate.not_after:%Y-%m-%d}"
    left = certificate.days_left(now)
    if left < 0:
        return f"on {day} ({_amount(-left)} ago)"
    return f"on {day} (in {_amount(left)})"


def _amount(days: float) -> str:
    if days >= 2:
        return f"{int(days)} days"
    hours = int(days * 24)
    return f"{hours} hour{'' if hours == 1 else 's'}"
