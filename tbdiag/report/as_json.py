"""One JSON document, DESIGN section 6."""

from __future__ import annotations

import msgspec

from tbdiag.model import Report
from tbdiag.registry import renderer
from tbdiag.report.document import encode
from tbdiag.report.escape import json_safe


@renderer("json", raw=True)
def as_json(report: Report, **_style: object) -> str:
    """One JSON document: schema_version 1, stages with their evidence, findings, clients."""
    encoded = msgspec.json.format(encode(report), indent=2)
    return json_safe(encoded.decode()) + "\n"
