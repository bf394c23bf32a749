"""Take secrets out of everything that is shown: a server may echo the token it was sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from urllib.parse import quote

from tbdiag.fact import field_names, is_record, replace
from tbdiag.model import Options, Report, Secret, Target

T = TypeVar("T")
SHORTEST = 4
"""Secrets shorter than this many characters are not searched for: they would match anything."""
MASK = "***"


def secrets_of(target: Target, options: Options | None = None) -> tuple[str, ...]:
    """Every secret text of a run, as sent and percent-encoded, longest first.

    Those of the target's credentials, and the login of `options.proxy`.
    """
    credentials = target.credentials
    held = [s.reveal() for s in (credentials.token, credentials.password) if isinstance(s, Secret)]
    if options is not None and options.proxy and "@" in options.proxy:
        from tbdiag.protocol.proxy import proxy_secrets

        held += proxy_secrets(options.proxy)
    forms = {form for text in held for form in (text, text.strip(), quote(text, safe=""))}
    return tuple(sorted((f for f in forms if len(f) >= SHORTEST), key=len, reverse=True))


def redact(report: Report, secrets: Iterable[str]) -> Report:
    """The report with every occurrence of the secrets in any text or bytes replaced by `***`."""
    secrets = tuple(secrets)
    if not secrets:
        return report

    def mask(text: str) -> str:
        for secret in secrets:
            if secret in text:
                text = text.replace(secret, MASK)
        return text

    return map_text(report, mask)


def map_text(value: T, change: Callable[[str], str]) -> T:
    """`value` with `change` applied to every str inside it, through tuples, dicts and records.

    Bytes are changed as Latin-1 text. Targets' credentials, certificates' DER and options are left
    as they are. Objects without a change are returned as they are, not copied.
    """
    return _mapped(value, change)  # type: ignore[no-any-return]


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """The changed value, or `value` itself where nothing inside it changed."""
    if type(value) is str:
        text = change(value)
        return value if text == value else text
    if isinstance(value, bytes):
        data = change(value.decode("latin-1")).encode("latin-1", "replace")
        return value if data == value else data
    if isinstance(value, (tuple, list)):
        items = [_mapped(item, change) for item in value]
        same = all(new is old for new, old in zip(items, value, strict=True))
        return value if same else type(value)(items)
    if isinstance(value, dict):
        return {_mapped(k, change): _mapped(v, change) for k, v in value.items()}
    if isinstance(value, (Options, Secret)) or not is_record(value):
        return value
    return _mapped_record(value, change)


def _mapped_record(value: Any, change: Callable[[str], str]) -> Any:
    """Compared by identity: two certificates are equal by their DER, whatever their texts say."""
    changes = {}
    for name in field_names(value):
        before = getattr(value, name)
        if name.endswith("der") and isinstance(before, bytes):
            continue
        after = _mapped(before, change)
        if after is not before:
            changes[name] = after
    return replace(value, **changes) if changes else value
