"""The options of mosquitto_pub, mosquitto_sub and mosquitto_rr, sorted by their meaning."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from tbdiag.errors import UsageError
from tbdiag.targets.shell import Word

_VALUES = {
    "-h": "host",
    "--host": "host",
    "-p": "port",
    "--port": "port",
    "-u": "username",
    "--username": "username",
    "-P": "password",
    "--pw": "password",
    "-i": "id",
    "--id": "id",
    "-t": "topic",
    "--topic": "topic",
    "-m": "message",
    "--message": "message",
    "-f": "file",
    "--file": "file",
    "-q": "qos",
    "--qos": "qos",
    "-L": "url",
    "--url": "url",
    "-V": "version",
    "--protocol-version": "version",
    "--cafile": "cafile",
    "--capath": "capath",
    "--cert": "cert",
    "--key": "key",
    "--tls-version": "tls-version",
    "--tls-alpn": "alpn",
    "--proxy": "proxy",
    "--psk": "psk",
    "--unix": "unix",
    "-A": "bind",
    "-o": "options-file",
    "-I": "id-prefix",
    "--id-prefix": "id-prefix",
    "--keyform": "keyform",
}
_SWITCHES = {
    "--insecure": "insecure",
    "--tls-use-os-certs": "os-certs",
    "-n": "null",
    "--null-message": "null",
    "-s": "stdin",
    "--stdin-file": "stdin",
    "-l": "lines",
    "--stdin-line": "lines",
    "-r": "retain",
    "--retain": "retain",
    "-S": "srv",
    "--ws": "websocket",
    "--quic": "quic",
}
_IDLE_VALUES = """
-k --keepalive -M --max-inflight --repeat --repeat-delay --will-payload --will-topic --will-qos -x
--psk-identity --ciphers --tls-engine --tls-engine-kpass-sha1 --tls-keylog -C -W -F -T --filter-out
-U --unsubscribe --random-filter --retain-handling -e --message-rate --options-file
"""
"""Options with a value that changes nothing of the diagnosis."""
_IDLE_SWITCHES = """
-d --debug --quiet --nodelay --will-retain -c --disable-clean-session -v --verbose -N -E -R
--remove-retained --pretty --retain-as-published -w --watch --no-tls -2 -a
"""
"""Options without a value that change nothing of the diagnosis."""
_NAME = re.compile(r"-[A-Za-z0-9]|--[a-z][a-z0-9-]{1,30}")
"""What may be shown of an unknown option: `-uTOKEN` may not."""
SECRET = {"username", "password"}
"""Values that may be a token; a shell variable in them is a remark, not a failure."""


@dataclass(slots=True)
class Arguments:
    """The options of one command, by their meaning, and remarks on the way."""

    program: str
    values: dict[str, Word] = field(default_factory=dict)
    switches: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def text(self, name: str) -> str | None:
        """The value of an option; UsageError when it is a shell variable nobody resolved."""
        word = self.values.get(name)
        if word is None:
            return None
        if word.variables and name not in SECRET:
            raise UsageError(
                f"the {name} in the command is the shell variable {word.variables[0]}: "
                "write its value instead"
            )
        return word.text


def parse_arguments(program: str, words: Sequence[Word]) -> Arguments:
    """Sort the words after `program` into options; unknown ones become remarks, not failures.

    Raises UsageError for an option without its value. Never names a value: it may be a token.
    """
    found = Arguments(program)
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, attached = word.text.partition("=")
        if equals and name.startswith("--") and (name in _VALUES or name in _IDLE_VALUES.split()):
            rest.insert(0, Word(attached, word.variables))
            found.notes.append(
                f"{program} does not take {name}=value and stops with an error; it was read as "
                f"{name} value. Write a space instead of the ="
            )
        else:
            name = word.text
        _take(found, name, rest)
    return found


def _take(found: Arguments, name: str, rest: list[Word]) -> None:
    if name in _VALUES:
        value = _value(found.program, name, rest)
        if _VALUES[name] == "message":
            value = _whole_message(found, value, rest)
        found.values[_VALUES[name]] = value
    elif name in _SWITCHES:
        found.switches.add(_SWITCHES[name])
    elif name in _IDLE_VALUES.split():
        _value(found.program, name, rest)
    elif name in ("-D", "--property"):
        del rest[: 4 if len(rest) > 1 and rest[1].text == "user-property" else 3]
    elif name not in _IDLE_SWITCHES.split():
        found.notes.append(_unknown(found.program, name))


def _unknown(program: str, name: str) -> str:
    name = name.partition("=")[0]
    if _NAME.fullmatch(name):
        return f"tbdiag knows no option {name} of {program}; it was left out. See {program} --help"
    if name.startswith("-"):
        return (
            f"An option of the command has its value stuck to it, which {program} does not take; "
            "it was left out. Put a space between the option and its value"
        )
    return (
        f"A word of the command belongs to no option and was left out; {program} stops with an "
        "error there. Is a quote missing around a value with spaces?"
    )


def _value(program: str, name: str, rest: list[Word]) -> Word:
    if not rest:
        raise UsageError(f"{name} stands at the end of the {program} command without its value")
    return rest.pop(0)


def _whole_message(found: Arguments, value: Word, rest: list[Word]) -> Word:
    """A payload that its spaces broke into words, put together again."""
    parts = [value]
    while value.text[:1] in ("{", "[") and rest and not rest[0].text.startswith("-"):
        parts.append(rest.pop(0))
    if len(parts) > 1:
        found.notes.append(
            f"The payload after -m has spaces and no quotes around it: a shell hands "
            f"{found.program} only its first word, and it stops with an error. "
            "Put single quotes around the payload; here it was put together again"
        )
    elif value.text.startswith("{") and "," in value.text and '"' not in value.text:
        found.notes.append(
            "The payload after -m has no quotes around it that a shell would keep: bash splits "
            "{a,b} at the comma. Put single quotes around the payload"
        )
    return Word(" ".join(p.text for p in parts), tuple(v for p in parts for v in p.variables))
