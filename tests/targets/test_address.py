"""What a person types as TARGET."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tbdiag.errors import UsageError
from tbdiag.model import Target, Transport
from tbdiag.targets.address import check_host, check_port, parse_target, with_preset
from tbdiag.targets.presets import PRESETS

SECRET = "A1SECRETTOKEN"


@pytest.mark.parametrize(
    ("text", "address", "transport"),
    [
        ("example.test", "example.test:8883", "mqtts"),
        ("example.test:1883", "example.test:1883", "mqtt"),
        ("example.test:11883", "example.test:11883", "mqtt"),
        ("example.test:443", "example.test:443", "mqtts"),
        ("192.0.2.1", "192.0.2.1:8883", "mqtts"),
        ("::1", "[::1]:8883", "mqtts"),
        ("[2001:db8::1]:1883", "[2001:db8::1]:1883", "mqtt"),
        ("fe80::1%eth0", "[fe80::1%eth0]:8883", "mqtts"),
        ("  example.test  ", "example.test:8883", "mqtts"),
        ("mqtt://example.test", "example.test:1883", "mqtt"),
        ("mqtts://example.test:1883", "example.test:1883", "mqtts"),
        ("mqtts://[::1]:8884", "[::1]:8884", "mqtts"),
        ("https://example.test/", "example.test:443", "https"),
        ("coaps://example.test", "example.test:5684", "coaps"),
        ("b\u00fccher.example", "b\u00fccher.example:8883", "mqtts"),
        ("under_score", "under_score:8883", "mqtts"),
    ],
)
def test_what_a_target_may_look_like(text: str, address: str, transport: str) -> None:
    """Host, host:port, URL and IPv6 literals give the endpoint that is meant."""
    target = parse_target(text)
    assert (target.address, target.transport) == (address, transport)


def test_a_ca_file_means_tls_on_any_port() -> None:
    """1883 with a CA file is TLS on 1883."""
    assert parse_target("example.test:1883", encrypted=True).transport is Transport.MQTTS


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ".",
        ":",
        ":8883",
        "h:",
        "h:0",
        "h:65536",
        "h:-1",
        "h:88a",
        "h:\u0661",
        "h:1:2",
        "a b",
        "a\nb",
        "a\x00b",
        "\u202eh",
        "[::1",
        "[::1]8883",
        "[h]:1",
        "mqtts://",
        "mqtts://h:x",
        "mqtts://h:99999",
        "mqtts://[::1",
        "ws://h",
        "://h",
        "h/path",
        "<host>",
        "$HOST",
        "{{host}}",
        "-h",
        "h,h2",
        "h;ls",
        '"h"',
    ],
)
def test_what_is_no_target_is_one_sentence(text: str) -> None:
    """Anything else is a usage error of one line."""
    with pytest.raises(UsageError) as caught:
        parse_target(text)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "text",
    [
        f"{SECRET}@h",
        f"mqtts://{SECRET}@h",
        f"mqtts://u:{SECRET}@h:x",
        f"http://h/api/v1/{SECRET}/telemetry",
        f"h/api/v1/{SECRET}/telemetry",
        f"mqtts://h?token={SECRET}",
    ],
)
def test_a_secret_in_a_target_is_refused_and_not_repeated(text: str) -> None:
    """Credentials do not belong into TARGET, and the message does not show them."""
    with pytest.raises(UsageError) as caught:
        parse_target(text)
    assert SECRET not in str(caught.value)
    assert "TBDIAG_TOKEN" in str(caught.value) or "no scheme" in str(caught.value)


@settings(max_examples=300)
@given(st.text(alphabet="ah.:[]/@% \n\0\u00e9\ud8001-", max_size=20))
def test_any_text_is_a_target_or_a_sentence(text: str) -> None:
    """No text makes a traceback, and what passes is a host without blanks."""
    try:
        target = parse_target(text)
    except UsageError:
        return
    assert target.host
    assert not set(target.host) & set(" /@\n\0")
    assert 1 <= target.effective_port <= 65535


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_found_by_name_and_by_host(name: str) -> None:
    """A preset's name and its host give the same base and CA."""
    preset = PRESETS[name]
    by_host = parse_target(f"{preset.transport}://{preset.host.upper()}")
    assert parse_target(name) == preset
    assert (by_host.preset, by_host.http_url, by_host.cafile, by_host.notes) == (
        name,
        preset.http_url,
        preset.cafile,
        preset.notes,
    )


def test_a_preset_changes_nothing_that_was_given() -> None:
    """An own HTTP base, CA file and remarks survive a host that belongs to a preset."""
    given = Target("demo.thingsboard.io", cafile=("x",), http_url="http://own", notes=("mine",))
    target = with_preset(with_preset(given))
    assert (target.cafile, target.http_url, target.notes[0]) == (("x",), "http://own", "mine")
    assert len(target.notes) == 2


@pytest.mark.parametrize("port", ["1", "65535", "08883", 8883])
def test_ports_that_are(port: str | int) -> None:
    """1 to 65535, leading zeros as in a shell script."""
    assert check_port(port, "x") == int(port)


@pytest.mark.parametrize("port", ["", "0", "65536", "1e3", "\u00b2", "+1", " 1"])
def test_ports_that_are_not(port: str) -> None:
    """Everything else names the text it stood in."""
    with pytest.raises(UsageError, match="--port"):
        check_port(port, "--port")


def test_a_host_may_be_any_name_that_can_resolve() -> None:
    """Trailing dots, underscores and international names are the resolver's business."""
    assert check_host("a_b.example.") == "a_b.example."
