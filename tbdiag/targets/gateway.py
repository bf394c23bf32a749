"""Read the configuration of thingsboard-gateway (tb_gateway.json, older: tb_gateway.yaml)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tbdiag.errors import UsageError
from tbdiag.fact import replace
from tbdiag.model import Credentials, Secret, Target, Transport
from tbdiag.targets.address import check_host, check_port, is_ip_literal, with_preset
from tbdiag.targets.pasted import Pasted
from tbdiag.targets.yaml_text import safe_loader

MAX_FILE = 1024 * 1024
SECURITY_TYPES = (
    "accessToken",
    "tlsAccessToken",
    "tlsPrivateKey",
    "x509Certificate",
    "usernamePassword",
)
_TOP = {"TB_GW_HOST": "host", "TB_GW_PORT": "port"}
_PROXY = {"TB_GW_PROXY_HOST": "proxy_host", "TB_GW_PROXY_PORT": "proxy_port"}
_SECURITY = {
    "TB_GW_SECURITY_TYPE": "type",
    "TB_GW_ACCESS_TOKEN": "accessToken",
    "TB_GW_CA_CERT": "caCert",
    "TB_GW_PRIVATE_KEY": "privateKey",
    "TB_GW_CERT": "cert",
    "TB_GW_CLIENT_ID": "clientId",
    "TB_GW_USERNAME": "username",
    "TB_GW_PASSWORD": "password",
}
_MARKER = "-----BEGIN"
_VERIFIES_NOTHING = (
    "The gateway verifies no server certificate with these settings, even with caCert set (3.6.2 "
    "and later ask for none without a client certificate), so it may connect where tbdiag says "
    "unknown CA. Use security.type x509Certificate to have it verified"
)
_VERIFIES_OPTIONALLY = (
    "The gateway verifies no server certificate without caCert. Set security.caCert"
)
_FALLS_BACK = (
    "When the server hangs up in the TLS handshake, the gateway (3.6.2 and later) goes on in "
    "plaintext and sends its credentials in the clear. Watch its log for: Client will try to "
    "connect without TLS"
)
_PLAIN_PORT = (
    "The security settings are for TLS, and the port is 1883, the default, where ThingsBoard "
    "speaks plain MQTT. Set port to 8883"
)
_GENERATED_PORT = (
    "TB_GW_PORT=1883 comes from the environment, and the docker-compose file that ThingsBoard "
    "generates always says so. Set it to 8883 for TLS"
)
_WRONG_VARIABLE = "TB_GW_CERTIFICATE is set, and the gateway ignores it. The variable is TB_GW_CERT"
_INSECURE = "security.insecure is set: the gateway does not compare the host name. Remove it"


@dataclass(slots=True)
class _Settings:
    """The `thingsboard` section with the environment laid over it, and remarks on the way."""

    general: dict[str, Any]
    security: dict[str, Any]
    folder: Path
    notes: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """`security.type`, or what the keys that are there amount to."""
        if self.security.get("type"):
            return str(self.security["type"])
        if self.security.get("accessToken"):
            return "accessToken"
        return "x509Certificate" if self.security.get("cert") else "usernamePassword"

    @property
    def tls(self) -> bool:
        """Whether the gateway (3.6.2 and later) speaks TLS: port 8883, `tls`, or a CA file."""
        wanted = self.security.get("tls") or self.general.get("tls") or self.security.get("caCert")
        return bool(wanted) or str(self.general.get("port")) == "8883"

    def path(self, name: str) -> str | None:
        """A file that the section names: in the configuration's folder first, as the gateway."""
        value = self.security.get(name)
        if not value:
            return None
        text = str(value)
        beside = os.path.join(self.folder, text)
        return beside if os.path.exists(beside) or not os.path.exists(text) else text


def parse_gateway_config(path: str, environment: Mapping[str, str]) -> Pasted:
    """The target and options that a gateway with this configuration and environment would use.

    `TB_GW_*` variables win over the file, as in the gateway. Its traps become remarks of the
    target. Raises UsageError naming the file, never a value of it.
    """
    general = _section(_loaded(path), path)
    security = general.get("security") or {}
    if not isinstance(security, dict):
        raise UsageError(f"security in {path!r} is not a section of keys and values")
    settings = _Settings(dict(general), dict(security), Path(path).resolve().parent)
    _overlay(settings, environment)
    target = Target(
        _host(settings, path),
        _port(settings, path),
        Transport.MQTTS if settings.tls else Transport.MQTT,
        label=f"gateway {Path(path).name}",
        credentials=_credentials(settings, path),
        cafile=_cafile(settings),
    )
    _remark_traps(settings, target, environment)
    return Pasted(with_preset(replace(target, notes=tuple(settings.notes))), _options(settings))


def _loaded(path: str) -> Any:
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "that is no file name"
        raise UsageError(f"cannot read the gateway configuration {path!r}: {reason}") from None
    if len(data) > MAX_FILE:
        raise UsageError(f"{path!r} is over 1 MiB: it is no gateway configuration")
    text = data.decode("utf-8-sig", "replace")
    if Path(path).suffix.lower() in (".yaml", ".yml"):
        return _yaml(text, path)
    try:
        return json.loads(text)
    except RecursionError:
        raise UsageError(f"{path!r} is nested too deeply to be a gateway configuration") from None
    except ValueError as error:
        line = getattr(error, "lineno", None)
        where = f" (line {line})" if line else ""
        raise UsageError(f"{path!r} is not JSON{where}: name a .yaml file if it is YAML") from None


def _yaml(text: str, path: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise UsageError(
            f"{path!r} is YAML, which needs PyYAML: pip install 'tbdiag[yaml]'"
        ) from None
    loader = None
    try:
        loader = safe_loader(text)
        return loader.get_single_data()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise UsageError(f"{path!r} is not valid YAML{where}") from None
    except (RecursionError, ValueError, TypeError, AttributeError):
        raise UsageError(f"{path!r} is not valid YAML") from None
    finally:
        if loader:
            loader.dispose()


def _section(loaded: Any, path: str) -> dict[str, Any]:
    section = loaded.get("thingsboard") if isinstance(loaded, dict) else None
    if not isinstance(section, dict):
        raise UsageError(
            f"{path!r} has no thingsboard section: give the gateway's tb_gateway.json, not a "
            "connector's file"
        )
    return section


def _overlay(settings: _Settings, environment: Mapping[str, str]) -> None:
    used = []
    for names, section in (
        (_TOP | _PROXY, settings.general),
        (_SECURITY, settings.security),
    ):
        for variable, key in names.items():
            if environment.get(variable):
                section[key] = environment[variable]
                used.append(variable)
    if used:
        settings.notes.append(
            f"The environment overrides the configuration: {', '.join(used)}. "
            "Unset them to check the file alone"
        )


def _host(settings: _Settings, path: str) -> str:
    host = str(settings.general.get("host") or "")
    if not host:
        raise UsageError(f"{path!r} names no host: set thingsboard.host")
    bare = host.strip("[]")
    return bare if is_ip_literal(bare) else check_host(host, f"host in {path!r}")


def _port(settings: _Settings, path: str) -> int:
    port = settings.general.get("port")
    if port is None:
        return 1883
    if isinstance(port, bool) or not isinstance(port, (int, str)):
        raise UsageError(f"port in {path!r} is not a number")
    return check_port(port, f"port in {path!r}") or 1883


def _credentials(settings: _Settings, path: str) -> Credentials:
    if settings.kind not in SECURITY_TYPES:
        raise UsageError(
            f"security.type in {path!r} is none of {', '.join(SECURITY_TYPES)}: correct it"
        )
    if not settings.security.keys() - {"type", "caCert", "tls"}:
        settings.security |= _provisioned(settings)
    security = {k: str(v) for k, v in settings.security.items() if v not in (None, "", False)}
    token = security.get("accessToken") if "oken" in settings.kind else None
    basic = settings.kind == "usernamePassword"
    return Credentials(
        token=Secret(token) if token else None,
        username=security.get("username") if basic else None,
        password=Secret(security["password"]) if basic and "password" in security else None,
        client_id=security.get("clientId") if basic else None,
        certfile=settings.path("cert"),
        keyfile=settings.path("privateKey"),
        token_source="config" if token else None,
    )


def _provisioned(settings: _Settings) -> dict[str, Any]:
    """What provisioning left in the configuration's folder, in the words of `security`."""
    if not settings.general.get("provisioning"):
        return {}
    for name in (".credentials", "credentials.json"):
        try:
            kept = json.loads((settings.folder / name).read_bytes()[:MAX_FILE])
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(kept, dict):
            return _from_provisioning(kept)
    settings.notes.append(
        "The gateway is to provision itself and has not done so yet: there are no credentials. "
        "Start it once, or check with --no-connect"
    )
    return {}


def _from_provisioning(kept: dict[str, Any]) -> dict[str, Any]:
    value = kept.get("credentialsValue")
    if kept.get("credentialsType") == "ACCESS_TOKEN" and isinstance(value, str):
        return {"accessToken": value, "type": "accessToken"}
    if kept.get("credentialsType") == "MQTT_BASIC" and isinstance(value, dict):
        return {
            "type": "usernamePassword",
            "clientId": value.get("clientId"),
            "username": value.get("userName"),
            "password": value.get("password"),
        }
    if kept.get("credentialsType") == "X509_CERTIFICATE":
        return {"type": "x509Certificate", "cert": "cert.pem", "privateKey": "key.pem"}
    return {}


def _cafile(settings: _Settings) -> tuple[str, ...]:
    given = settings.security.get("caCert")
    if isinstance(given, str) and _MARKER in given:
        return (given.replace("\\n", "\n").strip(),)
    path = settings.path("caCert")
    return (path,) if path else ("auto",)


def _options(settings: _Settings) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if settings.general.get("qos") in (0, 1):
        options["qos"] = settings.general["qos"]
    if settings.security.get("insecure") is True:
        options["insecure"] = True
    proxy, port = settings.general.get("proxy_host"), settings.general.get("proxy_port")
    if proxy:
        options["proxy"] = f"http://{proxy}:{port or 8080}"
    return options


def _remark_traps(settings: _Settings, target: Target, environment: Mapping[str, str]) -> None:
    certified = bool(target.credentials.certfile)
    given_ca = bool(settings.security.get("caCert"))
    plain_port = target.port == 1883
    tls_token = settings.kind == "tlsAccessToken"
    port_from_outside = environment.get("TB_GW_PORT") == "1883"
    remarks = (
        (settings.tls and not certified, _VERIFIES_NOTHING),
        (settings.tls and certified and not given_ca, _VERIFIES_OPTIONALLY),
        (settings.tls, _FALLS_BACK),
        (plain_port and (tls_token or given_ca), _PLAIN_PORT),
        (port_from_outside, _GENERATED_PORT),
        ("TB_GW_CERTIFICATE" in environment, _WRONG_VARIABLE),
        (settings.security.get("insecure") is True, _INSECURE),
    )
    settings.notes += [text for present, text in remarks if present]
