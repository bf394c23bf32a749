"""Read the options of a mosquitto_pub or mosquitto_sub command as these programs do."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from tbdiag.errors import UsageError
from tbdiag.fact import replace
from tbdiag.model import Credentials, Secret, Target, Transport
from tbdiag.targets._mosquitto_options import SECRET, Arguments, parse_arguments
from tbdiag.targets.address import check_host, check_port, is_ip_literal
from tbdiag.targets.shell import Command, Word

PROGRAMS = frozenset({"mosquitto_pub", "mosquitto_sub", "mosquitto_rr"})
OS_CERTIFICATES = (
    "/etc/ssl/certs",
    "/etc/ssl",
    "/etc/pki/tls/certs",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/lib/ssl/certs",
)
"""Folders of the operating system's own roots: `--capath` of one of them means the public roots."""
_VERSIONS = {
    "mqttv5": "5",
    "5": "5",
    "mqttv311": "3.1.1",
    "311": "3.1.1",
    "mqttv31": "3.1.1",
    "31": "3.1.1",
}


def mosquitto_target(
    program: str, words: Sequence[Word], command: Command, downloads: Mapping[str, str]
) -> tuple[Target, dict[str, Any]]:
    """The target and the fields of Options that one mosquitto command asks for.

    A payload of the command line is bytes; the text `@FILE` names a file.

    `downloads` maps the file names that a curl beside it writes to their URLs. Raises UsageError.
    """
    given = parse_arguments(program, words)
    _spread_url(given)
    for impossible, why in (
        ("unix", "connects through a Unix socket: there is no host to diagnose"),
        ("websocket", "uses MQTT over WebSocket, which ThingsBoard does not offer"),
        ("quic", "uses MQTT over QUIC, which ThingsBoard does not offer"),
    ):
        if impossible in given.values or impossible in given.switches:
            raise UsageError(f"the command {why}")
    cafile, encrypted = _trust(given, downloads)
    port = check_port(given.text("port"), "-p of the command")
    transport = Transport.MQTTS if encrypted else Transport.MQTT
    if (
        port is None
        and "os-certs" in given.switches
        and not {"cafile", "capath"} & set(given.values)
    ):
        port = Transport.MQTT.default_port
    options = _message(given, command) | _behaviour(given)
    target = Target(
        _host(given),
        port or transport.default_port,
        transport,
        credentials=_credentials(given),
        cafile=cafile,
    )
    return _with_notes(target, given), options


def _with_notes(target: Target, given: Arguments) -> Target:
    _remark_oddities(given, target)
    return replace(target, notes=tuple(dict.fromkeys(given.notes)))


def _spread_url(given: Arguments) -> None:
    """Spread `-L mqtt(s)://user:password@host:port/topic` over the options it stands for."""
    url = given.text("url")
    if url is None:
        return
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in ("mqtt", "mqtts"):
        raise UsageError("-L of the command must begin with mqtt:// or mqtts://")
    address, slash, topic = rest.partition("/")
    if not slash:
        raise UsageError("-L of the command has no topic: mqtts://host:port/topic")
    login, at, place = address.rpartition("@")
    if at:
        username, colon, password = login.partition(":")
        given.values.setdefault("username", Word(username))
        if colon:
            given.values.setdefault("password", Word(password))
    host, port = _place(place)
    given.values.setdefault("host", Word(host))
    if port:
        given.values.setdefault("port", Word(port))
    if topic:
        given.values.setdefault("topic", Word(topic))
    if scheme.lower() == "mqtts":
        given.switches.add("os-certs")
        given.values.setdefault("port", Word("8883"))


def _place(place: str) -> tuple[str, str]:
    if place.startswith("["):
        host, _, port = place[1:].partition("]")
        return host, port.removeprefix(":")
    host, _, port = place.partition(":")
    return host, port


def _host(given: Arguments) -> str:
    host = given.text("host")
    if host is None:
        given.notes.append(
            f"The command names no host, so {given.program} takes localhost. Add -h HOST"
        )
        return "localhost"
    if host.lower() == "host.docker.internal":
        given.notes.append(
            "host.docker.internal is a name that only containers know; localhost was checked "
            "instead. Run tbdiag in the container's network to check what the container sees"
        )
        return "localhost"
    bare = host.strip("[]")
    return bare if is_ip_literal(bare) else check_host(host, "-h of the command")


def _trust(given: Arguments, downloads: Mapping[str, str]) -> tuple[tuple[str, ...], bool]:
    """The trust anchors as `Target.cafile` holds them, and whether the command uses TLS."""
    sources: list[str] = []
    cafile, capath = given.text("cafile"), given.text("capath")
    if cafile is not None:
        sources.append(downloaded_or_local(cafile, downloads))
    if capath is not None:
        sources += _of_folder(capath)
    psk = "psk" in given.values
    implied = given.text("port") == "8883" and not (sources or psk)
    if implied and "os-certs" not in given.switches:
        given.notes.append(
            f"The command gives no CA file: on port 8883 {given.program} 2.0 and later takes the "
            "operating system's roots, older ones speak plain MQTT there. Add --cafile FILE"
        )
    if "os-certs" in given.switches or implied:
        sources.append("public")
    if psk:
        given.notes.append("The command uses TLS-PSK, which ThingsBoard does not offer. Use a CA")
    return tuple(sources) or ("auto",), bool(sources) or psk


def downloaded_or_local(path: str, downloads: Mapping[str, str]) -> str:
    """`path`, or the URL that a download beside the command fetches it from if it is not there."""
    return path if os.path.exists(path) else downloads.get(os.path.basename(path), path)


def _of_folder(folder: str) -> list[str]:
    if os.path.normpath(folder) in OS_CERTIFICATES:
        return ["public"]
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return [folder]
    wanted = [n for n in names if n.endswith((".pem", ".crt", ".cer")) or n[-2:-1] == "."]
    return [os.path.join(folder, name) for name in wanted[:100]] or [folder]


def _credentials(given: Arguments) -> Credentials:
    username, password = given.text("username"), given.text("password")
    for name in SECRET & given.values.keys():
        for variable in given.values[name].variables[:1]:
            if variable.strip("${}%") == "TBDIAG_TOKEN":
                continue
            given.notes.append(
                f"The {name} in the command is the shell variable {variable}, which is not "
                "resolved here. Put the value in, or set TBDIAG_TOKEN"
            )
    if password and username is None:
        given.notes.append(f"{given.program} refuses -P without -u. Add -u USER")
    basic = bool(password)
    return Credentials(
        token=Secret(username) if username and not basic else None,
        username=username if basic else None,
        password=Secret(password) if password else None,
        client_id=given.text("id"),
        certfile=given.text("cert"),
        keyfile=given.text("key"),
        token_source="config" if username and not basic else None,
    )


def _message(given: Arguments, command: Command) -> dict[str, Any]:
    """Topic and payload as `check` takes them; a payload of the command line as bytes."""
    topic = given.text("topic")
    if given.program == "mosquitto_sub":
        given.notes.append("mosquitto_sub publishes nothing: the test publish was left out")
        return {"publish": False}
    options: dict[str, Any] = {"topic": topic} if topic else {}
    if topic and ("+" in topic or "#" in topic):
        raise UsageError(f"{given.program} refuses a topic with + or #: publish to one exact topic")
    message = given.values.get("message")
    if message is not None:
        options["payload"] = message.text.encode("utf-8", "surrogateescape")
    elif "null" in given.switches:
        options["payload"] = b""
    elif given.text("file") is not None:
        options["payload"] = f"@{given.text('file')}"
    elif {"stdin", "lines"} & given.switches:
        options |= stdin_payload(command)
    else:
        given.notes.append(f"The command gives no message, and {given.program} wants one. Add -m")
    return options


def stdin_payload(command: Command) -> dict[str, Any]:
    """The payload that the command reads from its standard input, where the text shows it."""
    if command.stdin_file is not None:
        return {"payload": f"@{command.stdin_file.text}"}
    words = [w.text for w in command.piped]
    if words[:1] == ["cat"] and len(words) == 2:
        return {"payload": f"@{words[1]}"}
    if words[:1] in (["echo"], ["printf"]):
        shown = [w for w in words[1:] if w not in ("-n", "-e")]
        return {"payload": " ".join(shown).encode("utf-8", "surrogateescape")}
    return {}


def _behaviour(given: Arguments) -> dict[str, Any]:
    options: dict[str, Any] = {}
    qos = given.text("qos")
    if qos is not None:
        options["qos"] = _qos(qos, given)
    version = given.text("version")
    if version is not None:
        if version not in _VERSIONS:
            raise UsageError("-V of the command must be mqttv31, mqttv311 or mqttv5")
        options["mqtt_version"] = _VERSIONS[version]
    if given.text("alpn"):
        options["alpn"] = (given.text("alpn"),)
    if given.text("proxy"):
        options["proxy"] = str(given.text("proxy")).replace("socks5h://", "socks5://", 1)
    if "insecure" in given.switches:
        options["insecure"] = True
    return options


def _qos(text: str, given: Arguments) -> int:
    if text not in ("0", "1", "2"):
        raise UsageError("-q of the command must be 0, 1 or 2")
    if text == "2" and given.program != "mosquitto_sub":
        given.notes.append(
            "The command publishes with QoS 2: ThingsBoard answers PUBACK and never PUBREC, so "
            f"{given.program} waits for ever; QoS 1 was used here. Use -q 1"
        )
    return min(int(text), 1)


def _remark_oddities(given: Arguments, target: Target) -> None:
    remarks = {
        "insecure": f"{given.program}'s --insecure leaves out the host name only; the chain is "
        "still verified. tbdiag goes on after any failure with it, and says what failed",
        "retain": "ThingsBoard ignores the retain flag (-r). Leave it out",
        "srv": "-S looks for the server in DNS SRV records; tbdiag took the host as it is. "
        "Give the host itself",
    }
    given.notes += [text for name, text in remarks.items() if name in given.switches]
    if given.text("tls-version") in ("tlsv1", "tlsv1.1", "tlsv1.0"):
        given.notes.append(
            "--tls-version of the command is older than TLS 1.2, which ThingsBoard refuses with "
            "the alert protocol_version. Use --tls-version tlsv1.2"
        )
    if "options-file" in given.values:
        given.notes.append("-o names a file with more options; it was not read. Paste them too")
    if given.text("bind"):
        given.notes.append("-A binds to one local address; tbdiag lets the system choose one")
    if bool(target.credentials.certfile) != bool(target.credentials.keyfile):
        given.notes.append(f"{given.program} wants --cert and --key together. Add the other one")
