"""Read curl, wget and coap-client lines: HTTP and CoAP devices, and downloads of the CA file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from tbdiag.errors import UsageError
from tbdiag.fact import replace
from tbdiag.model import Credentials, Secret, Target, Transport
from tbdiag.targets.address import check_host, check_port
from tbdiag.targets.mosquitto import downloaded_or_local, stdin_payload
from tbdiag.targets.shell import Command, Word

CURL = frozenset({"curl", "wget"})
COAP = frozenset(
    {"coap-client", "coap", "coap-client-openssl", "coap-client-gnutls", "coap-client-mbedtls"}
    | {"coap-client-notls", "coap-client-tinydtls", "coap-client-wolfssl"}
)
DOWNLOAD = "/api/device-connectivity/"
_DEVICE_API = re.compile(
    r"(.{0,500}?)/api/v1/(?:([^/]{1,500})/)?(telemetry|attributes|rpc|claim)\b"
)
_CURL_VALUES = {
    **dict.fromkeys(("-o", "--output", "wget -O"), "output"),
    **dict.fromkeys(("-d", "--data", "--data-raw", "--data-binary", "--data-ascii"), "data"),
    **dict.fromkeys(("--json", "--post-data"), "data"),
    **dict.fromkeys(("-x", "--proxy"), "proxy"),
    **dict.fromkeys(("--cacert", "--ca-certificate"), "cafile"),
    **dict.fromkeys(("-E", "--cert"), "cert"),
    "--key": "key",
    "--url": "url",
}
_CURL_IDLE = """
-X --request -H --header -A --user-agent -e --referer -u --user -m --max-time -w --write-out -b
--cookie -c --cookie-jar -F --form -T --upload-file --connect-timeout --retry --resolve --interface
--ciphers --capath --connect-to --retry-delay --method --timeout --tries
"""
_COAP_VALUES = {
    "-e": "data",
    "-f": "file",
    "-R": "cafile",
    "-C": "cafile",
    "-c": "cert",
    "-j": "key",
}
_COAP_CLI_VALUES = {"-p": "data", "--payload": "data"}
"""Of the npm program `coap`: in libcoap's coap-client, -p is a local port."""
_COAP_IDLE = "-m -t -v -V -B -o -a -A -b -O -P -s -T -u -k -p -l -h -H -J -g --timeout --retry"
_NO_VALUE = Word("")


def downloads(commands: Sequence[Command]) -> tuple[dict[str, str], str | None]:
    """What curl or wget lines fetch: file name to URL, and the HTTP base of a CA download."""
    files: dict[str, str] = {}
    base: str | None = None
    for command in commands:
        found = command.program(CURL)
        if not found:
            continue
        given = _arguments(*found, _CURL_VALUES, _CURL_IDLE.split())
        url = given.get("url", _NO_VALUE)
        if url.variables or not url.text.startswith(("http://", "https://")):
            continue
        if _DEVICE_API.search(url.text) and "output" not in given:
            continue
        name = given.get("output", Word(_last_part(url.text))).text
        files[os.path.basename(name)] = url.text
        if DOWNLOAD in url.text:
            base = url.text.partition(DOWNLOAD)[0]
    return files, base


def _last_part(url: str) -> str:
    """The name under which wget, or curl -O, keeps what it downloads."""
    try:
        return os.path.basename(urlsplit(url).path)
    except ValueError:
        return ""


def http_target(
    program: str, words: Sequence[Word], command: Command
) -> tuple[Target, dict[str, Any]]:
    """The HTTP device that a curl line speaks for: its token is part of the URL."""
    given = _arguments(program, words, _CURL_VALUES, _CURL_IDLE.split())
    url = _url(given, "http")
    if url.scheme not in ("http", "https"):
        raise UsageError("the URL of the curl command must begin with http:// or https://")
    base, token = _device(url)
    options = _payload(given, command)
    if "insecure" in given:
        options["insecure"] = True
    if given.get("proxy"):
        proxy = str(_resolved(given, "proxy"))
        options["proxy"] = proxy if "://" in proxy else f"http://{proxy}"
    cafile = _resolved(given, "cafile")
    target = _target(url, given, token, (cafile,) if cafile else ("public",))
    return replace(
        target, http_url=f"{url.scheme}://{url.netloc.rpartition('@')[2]}{base}"
    ), options


def coap_target(
    program: str, words: Sequence[Word], command: Command, files: Mapping[str, str]
) -> tuple[Target, dict[str, Any]]:
    """The CoAP device that a coap-client line speaks for: its token is part of the URL."""
    values = _COAP_VALUES | (_COAP_CLI_VALUES if program == "coap" else {})
    given = _arguments(program, words, values, _COAP_IDLE.split())
    url = _url(given, "coap")
    if url.scheme not in ("coap", "coaps"):
        raise UsageError("the URL of the CoAP command must begin with coap:// or coaps://")
    _, token = _device(url)
    cafile = _resolved(given, "cafile")
    trust = (downloaded_or_local(cafile, files),) if cafile else ("auto",)
    return _target(url, given, token, trust), _payload(given, command)


def _arguments(
    program: str, words: Sequence[Word], values: Mapping[str, str], idle: Sequence[str]
) -> dict[str, Word]:
    """The options that matter, by meaning; `url` is the word that looks like one."""
    given: dict[str, Word] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, value = _option(word, program)
        if name == "-O" and program == "wget":
            name = "wget -O"
        if name in values or name in idle:
            taken = value or (rest.pop(0) if rest else _NO_VALUE)
            given[values.get(name) or name] = taken
        elif name in ("-k", "--insecure", "--no-check-certificate") and program in CURL:
            given["insecure"] = word
        elif not word.text.startswith("-") and (_looks_like_url(word.text) or "url" not in given):
            given["url"] = word if _looks_like_url(word.text) else given.get("url", word)
    return given


def _option(word: Word, program: str) -> tuple[str, Word | None]:
    """The option's name and the value that is attached to it (`-XPOST`, `--data=x`, `-fSo f`)."""
    text = word.text
    if text.startswith("--"):
        name, equals, value = text.partition("=")
        return name, Word(value, word.variables) if equals else None
    if not text.startswith("-") or len(text) <= 2 or program not in CURL:
        return text, None
    for index, letter in enumerate(text[1:], 1):
        if f"-{letter}" in _CURL_VALUES or f"-{letter}" in _CURL_IDLE.split():
            attached = text[index + 1 :]
            return f"-{letter}", Word(attached, word.variables) if attached else None
    return ("-k" if "k" in text else text), None


def _looks_like_url(text: str) -> bool:
    return "://" in text or "/api/v1/" in text


def _url(given: Mapping[str, Word], scheme: str) -> SplitResult:
    word = given.get("url")
    if word is None or not word.text:
        raise UsageError("the command has no URL")
    text = word.text if "://" in word.text else f"{scheme}://{word.text}"
    try:
        url = urlsplit(text)
        _ = url.port, url.hostname
    except ValueError:
        raise UsageError("the URL in the command has no usable host or port") from None
    host = url.hostname or ""
    if any(variable.lower() in host.lower() for variable in word.variables):
        raise UsageError(
            f"the host in the command is the shell variable {word.variables[0]}: "
            "write its value instead"
        )
    return url


def _device(url: SplitResult) -> tuple[str, str | None]:
    """The part of the path before /api/v1 and the token after it."""
    found = _DEVICE_API.match(url.path)
    if not found:
        raise UsageError(
            "the URL in the command is not the device API: it should end in /api/v1/TOKEN/telemetry"
        )
    return found.group(1), found.group(2)


def _resolved(given: Mapping[str, Word], name: str) -> str | None:
    word = given.get(name)
    if word is None:
        return None
    if word.variables:
        raise UsageError(
            f"the {name} in the command is the shell variable {word.variables[0]}: "
            "write its value instead"
        )
    return word.text


def _payload(given: Mapping[str, Word], command: Command) -> dict[str, Any]:
    data, file = given.get("data"), _resolved(given, "file")
    if file == "-" or (data is not None and data.text == "@-"):
        return stdin_payload(command)
    if file:
        return {"payload": f"@{file}"}
    if data is None:
        return stdin_payload(command)
    if data.text.startswith("@"):
        return {"payload": data.text}
    return {"payload": data.text.encode("utf-8", "surrogateescape")}


def _target(
    url: SplitResult, given: Mapping[str, Word], token: str | None, cafile: tuple[str, ...]
) -> Target:
    host = check_host(url.hostname or "", "the host of the URL")
    transport = Transport(url.scheme)
    token = unquote(token) if token else None
    notes: list[str] = []
    if token and token.startswith(("$", "%", "`")):
        notes.append(
            "The token in the URL is a shell variable, which is not resolved here. "
            "Put the value in, or set TBDIAG_TOKEN"
        )
    if host == "host.docker.internal":
        host = "localhost"
        notes.append(
            "host.docker.internal is a name that only containers know; localhost was checked "
            "instead. Run tbdiag in the container's network to check what the container sees"
        )
    credentials = Credentials(
        token=Secret(token) if token else None,
        certfile=_resolved(given, "cert"),
        keyfile=_resolved(given, "key"),
        token_source="config" if token else None,
    )
    port = check_port(url.port, "the URL of the command") or transport.default_port
    return Target(host, port, transport, None, None, credentials, cafile, notes=tuple(notes))
