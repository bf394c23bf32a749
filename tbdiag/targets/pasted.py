"""Turn a pasted command, or a whole "Check connectivity" block, into a target."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tbdiag.errors import UsageError
from tbdiag.fact import replace
from tbdiag.model import Target
from tbdiag.targets.address import with_preset
from tbdiag.targets.mosquitto import PROGRAMS, mosquitto_target
from tbdiag.targets.resolve import payload_from
from tbdiag.targets.shell import Command, commands
from tbdiag.targets.url_commands import COAP, CURL, DOWNLOAD, coap_target, downloads, http_target


@dataclass(frozen=True, slots=True)
class Pasted:
    """What a pasted command or a configuration asks for: a target, and fields of Options."""

    target: Target
    options: dict[str, Any] = field(default_factory=dict)


def parse_pasted(text: str) -> Pasted:
    """The target and options of a mosquitto_pub, mosquitto_sub, curl or coap-client command.

    A curl line that downloads the CA file gives the CA (unless the file is there already) and, if
    it is https://, the HTTP base: nobody chose to send the token to a plain one. Several device
    commands: the first counts. What cannot be followed becomes a remark of the target. Raises
    UsageError; no message repeats a value of the command.
    """
    found, notes = commands(text)
    files, base = downloads(found)
    usable = [c for c in found if _device_program(c)]
    if not usable and found and found[0].words[0].text.startswith("-"):
        words = found[0].words
        target, options = mosquitto_target("mosquitto_pub", words, found[0], files)
    elif not usable:
        raise UsageError(_nothing(base))
    else:
        target, options = _parsed(usable[0], files)
    if len(usable) > 1:
        notes.append(f"The text holds {len(usable)} device commands; only the first was diagnosed")
    if base and base.startswith("https://") and not target.http_url:
        target = replace(target, http_url=base)
    target = replace(target, notes=(*notes, *target.notes))
    if "payload" in options:
        options["payload"] = payload_from(options["payload"])
    return Pasted(with_preset(target), options)


def _nothing(base: str | None) -> str:
    if base:
        return "the text holds only the download of the CA: paste the mosquitto_pub line as well"
    return (
        "the text holds no mosquitto_pub, mosquitto_sub, curl or coap-client command: paste the "
        "whole line, in single quotes"
    )


def _device_program(command: Command) -> str | None:
    """The program of a command that speaks for a device; a download is none."""
    found = command.program(PROGRAMS | COAP | CURL)
    if found is None:
        return None
    name, words = found
    if name in CURL and not any("/api/v1/" in w.text for w in words):
        return None
    return None if name in CURL and any(DOWNLOAD in w.text for w in words) else name


def _parsed(command: Command, files: dict[str, str]) -> tuple[Target, dict[str, Any]]:
    name, words = command.program(PROGRAMS | COAP | CURL) or ("", ())
    if name in PROGRAMS:
        return mosquitto_target(name, words, command, files)
    if name in COAP:
        return coap_target(name, words, command, files)
    return http_target(name, words, command)
