"""What a test message is, before it is sent."""

from __future__ import annotations

import json
from typing import NoReturn


def json_fault(payload: bytes) -> str | None:
    """Why `payload` is no JSON object or array (RFC 8259), or None when it is one."""
    try:
        value = json.loads(payload, parse_constant=_no_constant)
    except RecursionError:
        return "nested too deeply"
    except (ValueError, UnicodeDecodeError) as error:
        return "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
    if isinstance(value, (dict, list)):
        return None
    return f"a JSON {type(value).__name__}, neither object nor array"


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
