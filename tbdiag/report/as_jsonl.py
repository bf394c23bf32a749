"""One JSON document per line, for streams of reports."""

from __future__ import annotations

from tbdiag.model import Report
from tbdiag.registry import renderer
from tbdiag.report.document import encode
from tbdiag.report.escape import json_safe


@renderer("jsonl", raw=True)
def as_jsonl(report: Report, **_style: object) -> str:
    """The document of `json` on one line: one line per report, for streams and log shippers."""
    return json_safe(encode(report).decode()) + "\n"
