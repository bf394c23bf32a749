"""Turn what was given on the command line into credentials, a payload and rule ids."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tbdiag.errors import UsageError
from tbdiag.fact import replace
from tbdiag.model import TELEMETRY_PAYLOAD, Credentials, Secret
from tbdiag.targets.credentials import read_token_file

MAX_PAYLOAD = 256 * 1024
OF_THE_RUNNER = {"tbdiag.unexplained", "tbdiag.out-of-time"}
"""Rules that the pipeline itself applies; they are in no registry."""


def credentials_from(
    given: Mapping[str, Any],
    base: Credentials,
    environment: Mapping[str, str],
    warn: Callable[[str], None],
) -> Credentials:
    """The credentials of a run: flags, then a token file, then the environment, then `base`.

    `-u` with `-P` is MQTT Basic, as mosquitto_pub means it. Raises UsageError when two sources name
    a token.
    """
    if given.get("token") and given.get("token_file"):
        raise UsageError("both --token and --token-file are given: use one")
    password = given.get("password") or environment.get("TBDIAG_PASSWORD")
    changes: dict[str, Any] = {}
    if password:
        changes["password"] = Secret(password)
    if given.get("token") and password and not given.get("username"):
        changes["username"] = given["token"]
    elif given.get("token"):
        changes |= {"token": Secret(given["token"]), "token_source": "arguments"}
    elif given.get("token_file"):
        token = read_token_file(given["token_file"], warn)
        changes |= {"token": token, "token_source": "file"}
    elif environment.get("TBDIAG_TOKEN") and not given.get("username"):
        changes |= {"token": Secret(environment["TBDIAG_TOKEN"]), "token_source": "environment"}
    names = {"username": "username", "client_id": "client_id", "cert": "certfile", "key": "keyfile"}
    changes |= {field: given[name] for name, field in names.items() if given.get(name)}
    if changes.get("keyfile") and not (changes.get("certfile") or base.certfile):
        raise UsageError("--key without --cert: give the client certificate too")
    return replace(base, **changes)


def payload_from(text: str | bytes | None) -> bytes:
    """The test message: the text, `@FILE`'s content, or stdin for `-`; None means the default.

    Bytes are taken as they are (the payload of a pasted command).

    Raises UsageError naming the file when it cannot be read or is over 256 KiB.
    """
    if text is None:
        return TELEMETRY_PAYLOAD
    if isinstance(text, bytes):
        return text
    if text == "-":
        data = sys.stdin.buffer.read(MAX_PAYLOAD + 1)
    elif text.startswith("@"):
        try:
            with Path(text[1:]).open("rb") as file:
                data = file.read(MAX_PAYLOAD + 1)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "that is no file name"
            raise UsageError(f"cannot read the payload {text[1:]!r}: {reason}") from None
    else:
        return text.encode("utf-8", "surrogateescape")
    if len(data) > MAX_PAYLOAD:
        raise UsageError(f"the payload {text!r} is over 256 KiB, more than any ThingsBoard takes")
    return data


def known_rules(given: Iterable[str]) -> frozenset[str]:
    """The rule ids of `--ignore`; UsageError names one that does not exist."""
    wanted = frozenset(given)
    if not wanted:
        return wanted
    from tbdiag import registry

    registry.load("rules")
    for rule_id in sorted(wanted - registry.RULES.keys() - OF_THE_RUNNER):
        raise UsageError(f"--ignore {rule_id!r} is no rule: see tbdiag list rules")
    return wanted
