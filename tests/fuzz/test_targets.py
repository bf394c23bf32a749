"""Every reader of foreign bytes survives them: mutated seeds, and each input that once failed."""

from __future__ import annotations

import json
import time

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fuzz.inputs import inputs
from fuzz.targets import BASELINE, SECONDS, TARGETS
from tbdiag.report import render
from tbdiag.report.document import ReportDocument
from tests.report.samples import STORIES, tainted

BOUNDED = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def dated(moment: str) -> bytes:
    """A baseline saved at that moment."""
    return json.dumps({**BASELINE, "saved_at": moment}).encode()


FOUND: tuple[tuple[str, bytes], ...] = (
    ("address", b"\n://"),
    ("gateway_json", b'{"thingsboard":{"host":"h","security":{"caCert":"%s"}}}' % (b"c" * 300)),
    ("pasted_command", b"curl -O https://tb.[x/ca.pem ; mosquitto_pub -h h -t t -u T -m x"),
    ("fleet_toml", b'[[targets]]\nhost = "h"\ncafile = "~nobody-of-this-name/ca.pem"\n'),
    ("fleet_csv", b"host,cafile\nh,~nobody-of-this-name/ca.pem\n"),
    ("baseline", dated("2026-01-15T00:00:00.5Z")),
    ("baseline", dated("0001-01-01T00:00:00+14:00")),
    ("journal", b'{"journal":1,"settings":"\x80s"}\n'),
)
"""Inputs that fuzzing found, each a crash once."""


def within_the_limit(name: str, data: bytes) -> None:
    started = time.monotonic()
    TARGETS[name].run(data)
    assert time.monotonic() - started < SECONDS, data


@pytest.mark.parametrize("name", list(TARGETS))
def test_a_target_takes_its_seeds(name: str) -> None:
    """The seeds themselves are fine, and there are some."""
    seeds = TARGETS[name].seeds()
    assert seeds
    for seed in seeds:
        within_the_limit(name, seed)


@pytest.mark.parametrize("name", list(TARGETS))
def test_a_target_survives_any_bytes(name: str) -> None:
    """No input raises anything undocumented or takes long."""

    @BOUNDED
    @given(inputs(TARGETS[name]))
    def once(data: bytes) -> None:
        within_the_limit(name, data)

    once()


@pytest.mark.parametrize(("name", "data"), FOUND)
def test_what_fuzzing_found_stays_repaired(name: str, data: bytes) -> None:
    """An input that once crashed a reader does not any more."""
    within_the_limit(name, data)


@BOUNDED
@given(st.sampled_from(sorted(STORIES)), st.text(max_size=60))
def test_a_report_comes_back_from_its_json(story: str, text: str) -> None:
    """The JSON report decodes into its own types and encodes to the same document again."""
    encoded = render(tainted(STORIES[story](), text), "json")
    document = msgspec.json.decode(encoded, type=ReportDocument)
    again = msgspec.json.decode(msgspec.json.encode(document), type=ReportDocument)
    assert again == document
    assert msgspec.json.decode(encoded) == msgspec.to_builtins(document) | {
        "findings": msgspec.json.decode(encoded)["findings"],
        "clients": msgspec.json.decode(encoded)["clients"],
    }


def doubled(first: bytes, rule: bytes) -> bytes:
    """YAML in which each of 24 anchors holds the one before twice."""
    letters = range(98, 122)
    lines = (b"%c: &%c " % (c, c) + rule % (c - 1, c - 1) for c in letters)
    return b"\n".join([first, *lines, b"targets: *y", b""])


LONG = (
    ("pasted_command", b"mosquitto_pub -h " + b"\\ " * 20_000),
    ("pasted_command", b"$ " * 20_000),
    ("pasted_command", b"user@host " * 6_000),
    ("pasted_command", b"${" * 20_000),
    ("pasted_command", b"<A " * 16_000),
    ("pasted_command", b"\xe2\x80\x94" * 16_000),
    ("explained_text", b"verify error: num=" * 3_000),
    ("explained_text", b"-0x" * 20_000),
    ("explained_text", b"alert " * 10_000),
    ("explained_text", b"0" * 60_000),
    ("ca_file", b"-----BEGIN " * 20_000),
    ("ca_file", b"-----BEGIN CERTIFICATE-----\n" * 8_000),
    ("ca_file", b"-----BEGIN CERTIFICATE-----\n" + b"A: B\n C\n" * 30_000),
    ("ca_file", b"A" * 250_000),
    ("ca_file", b"<title" * 20_000),
    ("ca_file", b'"-----BEGIN A-----\\n"+' * 10_000),
    ("ca_file", b"Certificate:" + b"\n" * 200_000),
    ("certificate", b"0\x80" * 30_000),
    ("certificate", b"0\x84\x00\x00\xff\xf0" * 10_000),
    ("fleet_toml", b"[" * 5_000),
    ("fleet_toml", b"a." * 2_000),
    ("fleet_yaml", b"[" * 5_000),
    ("fleet_yaml", b"- " * 5_000),
    ("fleet_yaml", b"{" * 100_000),
    ("fleet_yaml", doubled(b"a: &a [x, x]", b"[*%c, *%c]")),
    ("fleet_yaml", doubled(b"a: &a {x: 1, y: 2}", b"{<<: [*%c, *%c]}")),
    ("fleet_csv", b'"' * 100_001),
    ("fleet_csv", b"name,host\n" + b"a,b\n" * 5_000),
    ("gateway_json", b"[" * 200_000),
    ("gateway_yaml", b"{" * 500_000),
    ("gateway_yaml", doubled(b"a: &a {x: 1, y: 2}", b"{<<: [*%c, *%c]}")),
    ("baseline", b'{"a":' * 50_000),
    ("baseline", b"1" * 10_000),
    ("address", b"[" * 50_000),
    ("address", b"a." * 30_000),
    ("mqtt_packets", b"\xc0\x00" * 5_000),
    ("journal", b'{"journal":1,"settings":"s"}\n' + b"{}\n" * 50_000),
    ("journal", b"[" * 100_000),
)
"""Inputs that make a careless pattern or a recursive reader take for ever."""


@pytest.mark.parametrize(("name", "data"), LONG)
def test_long_repetitions_take_no_time(name: str, data: bytes) -> None:
    """No pattern backtracks and no reader recurses itself to death."""
    within_the_limit(name, data)
