"""Take secrets out of everything that is shown: a server may echo the token it was sent."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

from tbdiag.fact import field_names, is_record, replace
from tbdiag.model import Options, Report, Secret, Target

T = TypeVar("T")
SHORTEST = 4
"""Secrets shorter than this many characters are not searched for: they would match anything."""
SHORTEST_CUT = 6
"""Characters of the beginning of a secret that are taken for it where a text was cut."""
LONG = 10
"""Characters from which a secret is also found in lower case: no common word is as long."""
MASK = "***"
_SECRET = ("-u", "--token", "--username", "-P", "--password", "--pw", "--proxy")


def secrets_of(target: Target, options: Options | None = None) -> tuple[str, ...]:
    """Every secret text of a run, as sent and percent-encoded, longest first.

    Those of the target's credentials, and the login of `options.proxy`.
    """
    credentials = target.credentials
    held = [s.reveal() for s in (credentials.token, credentials.password) if isinstance(s, Secret)]
    if options is not None and options.proxy and "@" in options.proxy:
        from tbdiag.protocol.proxy import proxy_secrets

        held += proxy_secrets(options.proxy)
    return forms_of(held)


def forms_of(held: Iterable[str]) -> tuple[str, ...]:
    """The texts themselves and what they become in a URL, in JSON and in Python's notation.

    Long ones also in lower case, as a media type or a host name is shown.
    """
    forms = {
        form
        for text in held
        for form in (
            text,
            text.strip(),
            quote(text, safe=""),
            json.dumps(text)[1:-1],
            json.dumps(text, ensure_ascii=False)[1:-1],
            repr(text)[1:-1],
            text.lower() if len(text) >= LONG else text,
        )
    }
    return tuple(sorted((f for f in forms if len(f) >= SHORTEST), key=len, reverse=True))


def redact(report: Report, secrets: Iterable[str]) -> Report:
    """The report with every occurrence of the secrets in any text or bytes replaced by `***`."""
    mask = masking(secrets)
    return map_text(report, mask) if mask else report


def masking(secrets: Iterable[str]) -> Callable[[str], str] | None:
    """What replaces the secrets in a text by `***`; None where there are none.

    Also as hexadecimal, and where a text was cut within one: a server may have echoed it.
    """
    whole = tuple(secrets)
    if not whole:
        return None
    encoded = [secret.encode("utf-8", "surrogateescape") for secret in whole]
    hexed = {form for data in encoded for form in (data.hex(), data.hex(" "))}
    parts = [(_half(secret), _cut) for secret in whole] + [(_half(form), _hex) for form in hexed]
    shortest = min(map(len, whole + tuple(half for half, _ in parts)))

    def mask(text: str) -> str:
        if len(text) < shortest:
            return text
        for secret in whole:
            if secret in text:
                text = text.replace(secret, MASK)
        for half, pattern in parts:
            if half in text:
                text = re.sub(pattern(half), MASK, text)
        return text

    return mask


def _half(secret: str) -> str:
    """What of a secret must be there to be taken for it: half, but no common short word."""
    return secret[: max(SHORTEST_CUT, (len(secret) + 1) // 2)]


def _cut(half: str) -> str:
    """The first half or more of a secret, at the end of a text that was cut there."""
    return rf"{re.escape(half)}\S{{0,65535}}?(?=…|['\"]|\)?$)"


def _hex(half: str) -> str:
    """The same in hexadecimal, wherever it stands."""
    return re.escape(half) + "[0-9a-f]*(?: [0-9a-f]{2})*"


def given_secrets(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[str, ...]:
    """What the command line and the environment hold that must not be repeated in a message.

    For the last net, where nothing has been parsed: it may take too much for a secret.
    """
    held = [environment.get(name, "") for name in ("TBDIAG_TOKEN", "TBDIAG_PASSWORD")]
    pairs = list(itertools.pairwise(arguments))
    for text in arguments:
        words = (word.strip("\"'") for word in text.split())
        pairs += itertools.pairwise(words)
        pairs += [text.partition("=")[::2], (text[:2], text[2:])]
    return forms_of([*held, *(value for flag, value in pairs if flag in _SECRET)])


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
