"""From a fleet file to specs: every mistake is named with its file, line and repair."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from tbdiag.errors import UsageError
from tbdiag.fact import Fact, replace
from tbdiag.fleet.document import DEFAULTS, Document, read_document
from tbdiag.fleet.spec import Reference, Spec, keyed
from tbdiag.model import Credentials, Options, Target, Transport, bracketed
from tbdiag.targets.address import parse_target, with_preset

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]
Days = Annotated[float, msgspec.Meta(ge=0, le=100_000)]
MAX_SHOWN = 5
"""Mistakes that one message names."""


class Entry(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """The keys of one target in a fleet file; `defaults` takes all but name, target and host."""

    name: str | None = None
    target: str | None = None
    host: str | None = None
    port: Port | None = None
    transport: Literal["mqtts", "mqtt", "https", "http", "coaps", "coap"] | None = None
    server_name: str | None = None
    cafile: str | list[str] | None = None
    token: str | None = None
    token_file: str | None = None
    username: str | None = None
    password: str | None = None
    password_file: str | None = None
    client_id: str | None = None
    cert: str | None = None
    key: str | None = None
    http_url: str | None = None
    timeout: Seconds | None = None
    warn_days: Days | None = None
    critical_days: Days | None = None
    client: Literal["openssl", "python", "mbedtls"] | None = None
    mqtt_version: Literal["auto", "5", "3.1.1"] | None = None
    connect: bool | None = None
    publish: bool | None = None
    topic: str | None = None
    qos: Literal[0, 1] | None = None
    family: Literal["4", "6"] | None = None
    proxy: str | None = None
    alpn: list[str] | None = None
    ignore: list[str] | None = None


KEYS = tuple(field.name for field in msgspec.structs.fields(Entry))
OWN = ("name", "target", "host")
"""Keys that make one target what it is, and that defaults cannot have."""
LISTS = ("cafile", "alpn", "ignore")
OPTIONS: tuple[str, ...] = (
    "timeout",
    "warn_days",
    "critical_days",
    "client",
    "mqtt_version",
    "connect",
    "publish",
)
OPTIONS += ("topic", "qos", "family", "proxy")
IDENTITY = ("token", "token_file", "username", "client_id", "cert")
"""Keys that each say who the device is: with one of them, an entry takes none from the defaults."""
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Fleet(Fact, frozen=True):
    """A validated fleet file."""

    path: Path
    specs: tuple[Spec, ...]

    def spec(self, name: str) -> Spec | None:
        """The target of that name, or None."""
        return next((spec for spec in self.specs if spec.name == name), None)


class _Mistake(Exception):
    """One thing wrong in an entry, at one of its keys."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


def load_fleet(path: Path) -> Fleet:
    """Read and validate a fleet file; UsageError names every mistake with file and line."""
    return fleet_of(read_document(path))


def fleet_of(document: Document) -> Fleet:
    """The specs of a document; see `load_fleet`."""
    mistakes = [
        f"{document.path}: {_unknown(key, ('defaults', 'targets'))}" for key in document.unknown
    ]
    if not isinstance(document.entries, list) or not isinstance(document.defaults, dict):
        raise UsageError(
            f"{document.path}: defaults must be a table, and targets an array of tables"
        )
    mistakes += _wrong_defaults(document)
    wrong = [column for column in document.columns if column not in KEYS]
    if wrong:
        raise UsageError(f"{document.path}:1: {_unknown(wrong[0], KEYS)}")
    reader = _Reader(document)
    specs: list[Spec] = []
    for number, raw in enumerate(document.entries):
        try:
            specs.append(reader.spec(number, raw))
        except _Mistake as mistake:
            mistakes.append(f"{reader.where(number, mistake.key)}: {mistake}")
    mistakes += _twice(document, specs)
    if mistakes:
        raise UsageError(_listed(mistakes))
    if not specs:
        raise UsageError(f"{document.path}: it names no targets; see docs/monitoring.md")
    return Fleet(document.path, tuple(specs))


def _listed(mistakes: list[str]) -> str:
    more = len(mistakes) - MAX_SHOWN
    text = "; ".join(mistakes[:MAX_SHOWN])
    return f"{text}; and {more} more" if more > 0 else text


def _unknown(key: object, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(str(key), known, 1, 0.6)
    return f"unknown key {str(key)!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def _wrong_defaults(document: Document) -> list[str]:
    found = []
    for key in document.defaults:
        if key not in KEYS:
            found.append(f"{document.where(DEFAULTS, str(key))}: {_unknown(key, KEYS)}")
        elif key in OWN:
            found.append(f"{document.where(DEFAULTS, key)}: {key!r} belongs to one target")
    return found


def _twice(document: Document, specs: list[Spec]) -> list[str]:
    seen: dict[str, Spec] = {}
    found = []
    for spec in specs:
        first = seen.setdefault(spec.name, spec)
        if first is not spec:
            found.append(
                f"{document.path}:{spec.line}: the name {spec.name!r} is taken by line "
                f"{first.line}: give each a name of its own"
            )
    return found


class _Reader:
    """Turns the entries of one document into specs; equal options are shared."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.folder = document.path.resolve().parent
        self._options: dict[tuple[Any, ...], Options] = {}

    def where(self, number: int, key: str) -> str:
        """The place of a key: in the entry, else in the defaults it comes from."""
        in_entry = (number, key) in self.document.lines
        if not in_entry and (DEFAULTS, key) in self.document.lines:
            return self.document.where(DEFAULTS, key)
        return self.document.where(number, key)

    def spec(self, number: int, raw: Any) -> Spec:
        """One entry as a spec; raises _Mistake."""
        entry = self._entry({"target": raw} if isinstance(raw, str) else raw)
        target = self._target(entry)
        name = (entry.name or target.label or target.address).strip()
        spec = Spec(
            name=name or target.address,
            target=replace(target, label=name or target.address),
            options=self._shared_options(entry),
            token=self._reference("token", entry.token, entry.token_file),
            password=self._reference("password", entry.password, entry.password_file),
            line=self.document.lines.get((number, ""), 0),
        )
        return keyed(spec)

    def _entry(self, raw: Any) -> Entry:
        if not isinstance(raw, dict):
            raise _Mistake("", "a target is a table of keys, or a text such as 'host:8883'")
        for key in raw:
            if key not in KEYS:
                raise _Mistake(str(key), _unknown(key, KEYS))
        defaults = {k: v for k, v in self.document.defaults.items() if k in KEYS and k not in OWN}
        if any(key in raw for key in IDENTITY):
            taken = (*IDENTITY, "password", "password_file", "key")
            defaults = {k: v for k, v in defaults.items() if k not in taken}
        merged = defaults | raw
        if self.document.columns:
            merged = {k: v.split(";") if k in LISTS else v for k, v in merged.items()}
        for key, value in merged.items():
            if not _encodable(value):
                raise _Mistake(key, f"{key}: it holds a lone surrogate, which is no character")
        try:
            return msgspec.convert(merged, Entry, strict=not self.document.columns)
        except msgspec.ValidationError as error:
            found = re.search(r" - at `\$\.(\w+)", str(error))
            reason = str(error).partition(" - at ")[0]
            key = found.group(1) if found else ""
            raise _Mistake(key, f"{key}: {reason}" if key else reason) from None

    def _target(self, entry: Entry) -> Target:
        try:
            target = self._named(entry)
        except UsageError as error:
            raise _Mistake("target" if entry.target else "host", str(error)) from None
        if entry.key and not entry.cert:
            raise _Mistake("key", "key without cert: give the client certificate too")
        credentials = Credentials(
            username=entry.username,
            client_id=entry.client_id,
            certfile=self._path(entry.cert),
            keyfile=self._path(entry.key),
        )
        changes: dict[str, Any] = {"credentials": credentials}
        if entry.cafile:
            changes["cafile"] = self._cafiles(entry.cafile)
        for key in ("server_name", "http_url"):
            if getattr(entry, key):
                changes[key] = getattr(entry, key)
        return with_preset(replace(target, **changes))

    def _named(self, entry: Entry) -> Target:
        if bool(entry.target) == bool(entry.host):
            raise UsageError("a target has either 'target' or 'host'")
        encrypted = True if entry.cafile else None
        host = (entry.host or "").strip("[]")
        if entry.target:
            target = parse_target(entry.target, encrypted=encrypted)
        elif entry.port:
            text = bracketed(host)
            target = parse_target(f"{text}:{entry.port}", encrypted=encrypted)
        else:
            target = parse_target(host, encrypted=encrypted)
        if entry.target and entry.port and target.port is None:
            target = replace(target, port=entry.port)
        if entry.transport and "://" not in (entry.target or ""):
            target = replace(target, transport=Transport(entry.transport))
        return target

    def _cafiles(self, given: str | list[str]) -> tuple[str, ...]:
        listed = [given] if isinstance(given, str) else given
        if "-" in listed:
            raise _Mistake("cafile", "cafile '-' (standard input) cannot serve a fleet")
        return tuple(
            text
            if text in ("auto", "public") or text.lower().startswith(("http://", "https://"))
            else str(self._path(text))
            for text in listed
        )

    def _path(self, text: str | None) -> str | None:
        """A path of the file, relative to the folder that the fleet file is in."""
        return os.path.join(self.folder, os.path.expanduser(text)) if text else None

    def _reference(self, key: str, text: str | None, file: str | None) -> Reference | None:
        if text and file:
            raise _Mistake(f"{key}_file", f"both {key} and {key}_file are given: use one")
        if file:
            return Reference("file", str(self._path(file)))
        if not text:
            return None
        variable = _VARIABLE.fullmatch(text)
        if variable is None:
            raise _Mistake(
                key,
                f"a {key} is not written into this file: set an environment variable and write "
                f'{key} = "${{NAME}}", or use {key}_file',
            )
        return Reference("environment", variable.group(1))

    def _shared_options(self, entry: Entry) -> Options:
        ignore = tuple(sorted(entry.ignore or ()))
        values = tuple(getattr(entry, key) for key in OPTIONS)
        found = self._options.get((values, tuple(entry.alpn or ()), ignore))
        if found is None:
            found = _options(entry, ignore)
            self._options[values, tuple(entry.alpn or ()), ignore] = found
        return found


def _encodable(value: object) -> bool:
    """Whether the text, or every text of the list, can be written as UTF-8."""
    texts = value if isinstance(value, list) else [value]
    return not any(isinstance(t, str) and re.search("[\ud800-\udfff]", t) for t in texts)


def _options(entry: Entry, ignore: tuple[str, ...]) -> Options:
    from tbdiag.targets.resolve import known_rules

    given = {key: getattr(entry, key) for key in OPTIONS}
    changes = {key: value for key, value in given.items() if value is not None}
    if entry.alpn:
        changes["alpn"] = tuple(entry.alpn)
    try:
        return Options(ignore=known_rules(ignore), **changes)
    except UsageError as error:
        raise _Mistake("ignore", str(error)) from None
