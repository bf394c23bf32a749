"""thingsboard-gateway's configuration as a target."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tbdiag.errors import UsageError
from tbdiag.model import Secret, Target
from tbdiag.targets.gateway import parse_gateway_config
from tbdiag.targets.pasted import Pasted

TOKEN = "A1SECRETTOKEN"
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def config(folder: Path, security: Any = None, environment: Any = None, **general: Any) -> Pasted:
    """The target of a configuration with these parts; the rest is as the gateway ships it."""
    section = {"host": "tb.example", "port": 8883, **general}
    if security is not None:
        section["security"] = security
    path = folder / "tb_gateway.json"
    path.write_text(json.dumps({"thingsboard": section, "connectors": []}))
    return parse_gateway_config(str(path), environment or {})


def target(folder: Path, *args: Any, **general: Any) -> Target:
    return config(folder, *args, **general).target


def test_an_access_token(tmp_path: Path) -> None:
    """The usual configuration: plain MQTT on 1883 with a token."""
    found = target(tmp_path, {"accessToken": TOKEN}, port=1883)
    assert (found.transport, found.address) == ("mqtt", "tb.example:1883")
    assert (found.credentials.token, found.credentials.token_source) == (Secret(TOKEN), "config")
    assert found.notes == ()


def test_a_token_over_tls(tmp_path: Path) -> None:
    """A relative caCert is looked for in the configuration's folder first."""
    (tmp_path / "ca.pem").touch()
    found = target(tmp_path, {"type": "tlsAccessToken", "accessToken": TOKEN, "caCert": "ca.pem"})
    assert (found.transport, found.cafile) == ("mqtts", (str(tmp_path / "ca.pem"),))


@pytest.mark.parametrize("kind", ["tlsPrivateKey", "x509Certificate"])
def test_a_device_certificate(tmp_path: Path, kind: str) -> None:
    """Old and new name of the X.509 type; a token beside it is not used."""
    security = {"type": kind, "caCert": "ca.pem", "cert": "c.pem", "privateKey": "k.pem"}
    held = target(tmp_path, security | {"accessToken": TOKEN}).credentials
    names = (str(tmp_path / "c.pem"), str(tmp_path / "k.pem"), None)
    assert (held.certfile, held.keyfile, held.token) == names


def test_user_and_password(tmp_path: Path) -> None:
    """MQTT Basic with client id, user name and password."""
    security = {"type": "usernamePassword", "clientId": "i", "username": "u", "password": "p"}
    held = target(tmp_path, security).credentials
    assert (held.client_id, held.username, held.password) == ("i", "u", Secret("p"))


@pytest.mark.parametrize(
    ("general", "security", "transport"),
    [
        ({"port": 1883}, {"accessToken": TOKEN}, "mqtt"),
        ({"port": None}, {"accessToken": TOKEN}, "mqtt"),
        ({"port": "8883"}, {"accessToken": TOKEN}, "mqtts"),
        ({"port": 1883}, {"accessToken": TOKEN, "tls": True}, "mqtts"),
        ({"port": 1883, "tls": True}, {"accessToken": TOKEN}, "mqtts"),
        ({"port": 1883}, {"accessToken": TOKEN, "caCert": "ca.pem"}, "mqtts"),
    ],
)
def test_when_the_gateway_speaks_tls(
    tmp_path: Path, general: Any, security: Any, transport: str
) -> None:
    """Port 8883, `tls` or a CA file; the default port is 1883."""
    assert target(tmp_path, security, **general).transport == transport


@pytest.mark.parametrize("text", [PEM, PEM.replace("\n", "\\n")])
def test_an_inline_ca_certificate(tmp_path: Path, text: str) -> None:
    """caCert may hold the PEM itself, also with escaped line ends."""
    found = target(tmp_path, {"type": "tlsAccessToken", "accessToken": TOKEN, "caCert": text})
    assert found.cafile == (PEM.strip(),)


def test_the_environment_wins(tmp_path: Path) -> None:
    """TB_GW_* variables override the file, and a remark names them without their values."""
    environment = {
        "TB_GW_HOST": "other.example",
        "TB_GW_PORT": "8884",
        "TB_GW_SECURITY_TYPE": "tlsAccessToken",
        "TB_GW_ACCESS_TOKEN": TOKEN,
        "TB_GW_CA_CERT": PEM,
    }
    found = target(tmp_path, {"accessToken": "x"}, environment)
    assert (found.transport, found.address) == ("mqtts", "other.example:8884")
    assert found.credentials.token == Secret(TOKEN)
    assert "TB_GW_ACCESS_TOKEN" in found.notes[0]
    assert TOKEN not in "".join(found.notes)


def test_options_of_the_gateway(tmp_path: Path) -> None:
    """QoS and proxy come along."""
    options = config(
        tmp_path, {"accessToken": TOKEN}, qos=0, proxy_host="p", proxy_port=3128
    ).options
    assert options == {"qos": 0, "proxy": "http://p:3128"}


TLS_TOKEN = {"type": "tlsAccessToken", "accessToken": TOKEN, "caCert": "ca.pem"}
X509 = {"type": "x509Certificate", "cert": "c.pem", "privateKey": "k.pem"}


@pytest.mark.parametrize(
    ("security", "general", "environment", "words"),
    [
        (TLS_TOKEN, {}, {}, "verifies no server certificate with these settings"),
        (X509, {}, {}, "without caCert"),
        (TLS_TOKEN, {}, {}, "goes on in plaintext"),
        (TLS_TOKEN, {"port": 1883}, {}, "Set port to 8883"),
        ({"accessToken": TOKEN}, {}, {"TB_GW_PORT": "1883"}, "docker-compose"),
        (X509, {}, {"TB_GW_CERTIFICATE": "c.pem"}, "TB_GW_CERT"),
        (TLS_TOKEN | {"insecure": True}, {}, {}, "security.insecure"),
    ],
)
def test_traps_are_remarked(
    tmp_path: Path, security: Any, general: Any, environment: Any, words: str
) -> None:
    """What the gateway does otherwise than its configuration seems to say."""
    assert words in "\n".join(target(tmp_path, security, environment, **general).notes)


def test_a_certificate_with_a_ca_is_verified(tmp_path: Path) -> None:
    """The one combination in which the gateway verifies the server is not blamed."""
    found = target(tmp_path, X509 | {"caCert": "ca.pem"})
    assert "verifies no" not in "\n".join(found.notes)


@pytest.mark.parametrize("name", [".credentials", "credentials.json"])
@pytest.mark.parametrize(
    ("kept", "field", "value"),
    [
        ({"credentialsType": "ACCESS_TOKEN", "credentialsValue": TOKEN}, "token", Secret(TOKEN)),
        (
            {
                "credentialsType": "MQTT_BASIC",
                "credentialsValue": {"clientId": "i", "userName": "u", "password": "p"},
            },
            "username",
            "u",
        ),
    ],
)
def test_what_provisioning_left(
    tmp_path: Path, name: str, kept: Any, field: str, value: Any
) -> None:
    """A gateway that provisioned itself keeps its credentials beside the configuration."""
    (tmp_path / name).write_text(json.dumps(kept))
    found = target(tmp_path, None, provisioning={"type": "ACCESS_TOKEN"})
    assert getattr(found.credentials, field) == value


def test_a_gateway_that_was_not_provisioned_yet(tmp_path: Path) -> None:
    """There are no credentials, and a remark says why."""
    found = target(tmp_path, None, provisioning={"type": "ACCESS_TOKEN"})
    assert not found.credentials.present
    assert "provision" in "".join(found.notes)


def test_yaml(tmp_path: Path) -> None:
    """Older gateways have tb_gateway.yaml."""
    pytest.importorskip("yaml")
    path = tmp_path / "tb_gateway.yaml"
    path.write_text(
        f"thingsboard:\n  host: demo.thingsboard.io\n  port: 1883\n  security:\n"
        f"    accessToken: {TOKEN}\n"
    )
    found = parse_gateway_config(str(path), {}).target
    assert (found.preset, found.credentials.token) == ("thingsboard-demo", Secret(TOKEN))


def test_yaml_without_pyyaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence says what to install."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    path = tmp_path / "tb_gateway.yml"
    path.write_text("thingsboard: {}")
    with pytest.raises(UsageError, match="PyYAML"):
        parse_gateway_config(str(path), {})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"thingsboard": []}',
        '{"thingsboard": {}}',
        '{"thingsboard": {"host": ""}}',
        '{"thingsboard": {"host": "a b"}}',
        '{"thingsboard": {"host": "SECRET@h"}}',
        '{"thingsboard": {"host": "h", "port": "x"}}',
        '{"thingsboard": {"host": "h", "port": 0}}',
        '{"thingsboard": {"host": "h", "port": true}}',
        '{"thingsboard": {"host": "h", "port": [1]}}',
        '{"thingsboard": {"host": "h", "port": 1.5}}',
        '{"thingsboard": {"host": "h", "security": "SECRET"}}',
        '{"thingsboard": {"host": "h", "security": {"type": "SECRET"}}}',
        "[" * 100_000,
        "x" * (1024 * 1024 + 1),
    ],
)
@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_files_that_are_no_gateway_configuration(tmp_path: Path, text: str, suffix: str) -> None:
    """One sentence that names the file, and nothing that stands in it."""
    path = tmp_path / f"tb_gateway.{suffix}"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        parse_gateway_config(str(path), {})
    assert str(caught.value).isprintable()
    assert "SECRET" not in str(caught.value).replace("'SECRET@h'", "")


@pytest.mark.parametrize("name", ["absent.json", ".", "a\0b"])
def test_files_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    """A missing file, a folder, an impossible name."""
    with pytest.raises(UsageError, match="gateway configuration"):
        parse_gateway_config(f"{tmp_path}/{name}", {})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["h", PEM]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["type", "host", "port", "accessToken", "caCert", "cert", "password"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(
    general=st.dictionaries(st.sampled_from(["host", "port", "qos", "proxy_host"]), VALUES),
    security=VALUES,
)
def test_any_configuration_is_a_target_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, general: Any, security: Any
) -> None:
    """Wrong types anywhere make no traceback."""
    folder = tmp_path_factory.mktemp("config")
    try:
        said = config(folder, security, **({"host": "h"} | general)).target.host
    except UsageError as error:
        said = str(error)
    assert said
    assert said.isprintable()
