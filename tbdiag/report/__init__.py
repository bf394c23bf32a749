"""Show: a report as text.

`render` is the only way to a renderer: it hands every text renderer a report whose strings are
already on one line and free of control characters (`tbdiag.report.escape.visible`). Formats that
have an escape of their own for any character (JSON) are registered with `raw=True`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tbdiag.fact import replace
from tbdiag.report.escape import printable_pem, visible

if TYPE_CHECKING:
    from tbdiag.model import Report

FORMATS = (
    "table",
    "json",
    "jsonl",
    "junit",
    "nagios",
    "github",
    "prometheus",
    "markdown",
    "html",
)
"""Every output format; each is the module `as_<format>`."""


def render(report: Report, format_id: str, **style: Any) -> str:
    """`report` as text in the format `format_id`.

    `style` is for the format: `width` (columns), `color` (bool), `unicode` (bool), `strict`,
    `verbose`; a format ignores what does not concern it. Raises KeyError for an unknown format.
    """
    from tbdiag import registry

    if format_id not in registry.RENDERERS and format_id in FORMATS:
        importlib.import_module(f"tbdiag.report.as_{format_id}")
    chosen = registry.RENDERERS[format_id]
    return chosen.render(report if chosen.raw else presentable(report), **style)


def presentable(report: Report) -> Report:
    """The report with every text on one line and free of control, bidi and invisible characters.

    Only `Finding.pem` keeps its line ends, and only where it is nothing but PEM and `#` comments.
    """
    from tbdiag.redact import map_text

    cleaned = map_text(report, visible)
    findings = tuple(
        replace(clean, pem=original.pem) if printable_pem(original.pem) else clean
        for original, clean in zip(report.findings, cleaned.findings, strict=True)
    )
    return replace(cleaned, findings=findings)
