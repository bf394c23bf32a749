"""The fleet file: three formats, one meaning, and every mistake named with its line."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tbdiag.errors import UsageError
from tbdiag.fleet.config import KEYS, Fleet, load_fleet
from tbdiag.fleet.spec import Reference
from tbdiag.model import Transport

TOML = """
[defaults]
cafile = "ca.pem"
timeout = 7
token = "${TOKEN}"

[[targets]]
name = "one"
host = "mqtt.test"
port = 8884

[[targets]]
target = "mqtt://plain.test"
token_file = "secret"
ignore = ["ca.wrong-order"]
"""
YAML = """
defaults:
  cafile: ca.pem
  timeout: 7
  token: ${TOKEN}
targets:
  - name: one
    host: mqtt.test
    port: 8884
  - target: mqtt://plain.test
    token_file: secret
    ignore: [ca.wrong-order]
"""
CSV = """name,host,port,target,cafile,timeout,token,token_file,ignore
one,mqtt.test,8884,,ca.pem,7,${TOKEN},,
,,,mqtt://plain.test,ca.pem,7,,secret,ca.wrong-order
"""


def fleet(folder: Path, text: str, suffix: str = ".toml") -> Fleet:
    path = folder / f"fleet{suffix}"
    path.write_text(text)
    return load_fleet(path)


def mistake(folder: Path, text: str, suffix: str = ".toml") -> str:
    with pytest.raises(UsageError) as caught:
        fleet(folder, text, suffix)
    return str(caught.value).replace(f"{folder}/", "")


@pytest.mark.parametrize(("text", "suffix"), [(TOML, ".toml"), (YAML, ".yaml"), (CSV, ".csv")])
def test_three_formats_mean_the_same(tmp_path: Path, text: str, suffix: str) -> None:
    """TOML, YAML and CSV give the same targets, options and references."""
    one, other = fleet(tmp_path, text, suffix).specs
    assert (one.name, one.target.host, one.target.port) == ("one", "mqtt.test", 8884)
    assert one.target.cafile == (str(tmp_path / "ca.pem"),)
    assert one.options.timeout == 7
    assert one.token == Reference("environment", "TOKEN")
    assert (other.name, other.target.transport) == ("plain.test:1883", Transport.MQTT)
    assert other.token == Reference("file", str(tmp_path / "secret"))
    assert other.options.ignore == {"ca.wrong-order"}


def test_a_target_may_be_a_text(tmp_path: Path) -> None:
    """A list of texts is a fleet: each is what `tbdiag check` takes."""
    found = fleet(tmp_path, 'targets = ["a.test", "[2001:db8::1]:8884"]')
    assert [spec.name for spec in found.specs] == ["a.test:8883", "[2001:db8::1]:8884"]


def test_an_identity_of_its_own_replaces_that_of_the_defaults(tmp_path: Path) -> None:
    """A target with a user name takes no token from the defaults."""
    text = '[defaults]\ntoken = "${T}"\n[[targets]]\nhost = "a.test"\nusername = "joe"\n'
    (spec,) = fleet(tmp_path, text).specs
    assert (spec.token, spec.target.credentials.username) == (None, "joe")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[[targets]]\nhost = "a"\ncafiel = "x"\n', "fleet.toml:3: unknown key 'cafiel'; did you"),
        ('[[targets]]\nhost = "a"\nport = 99999\n', "fleet.toml:3: port: Expected `int` <= 65535"),
        ('[[targets]]\nhost = "a"\nport = "8883"\n', "fleet.toml:3: port: Expected `int | null`"),
        (
            '[defaults]\ntimeout = -1\n[[targets]]\nhost = "a"\n',
            "fleet.toml:2: timeout: Expected",
        ),
        ('[defaults]\nhost = "a"\n[[targets]]\nhost = "b"\n', "fleet.toml:2: 'host' belongs to"),
        ('[default]\nport = 1\n[[targets]]\nhost = "b"\n', "'default'; did you mean 'defaults'?"),
        ("[[targets]]\nport = 1\n", "fleet.toml:1: a target has either 'target' or 'host'"),
        ('[[targets]]\nhost = "a b"\n', "fleet.toml:2: "),
        ('[[targets]]\nhost = "a"\n[[targets]]\nhost = "a"\n', "fleet.toml:3: the name 'a:8883'"),
        ('[[targets]]\nhost = "a"\ncafile = "-"\n', "fleet.toml:3: cafile '-'"),
        ('[[targets]]\nhost = "a"\nignore = ["no.rule"]\n', "fleet.toml:3: --ignore 'no.rule'"),
        ('[[targets]]\nhost = "a"\nhost = "b"\n', "fleet.toml:3: not TOML: "),
        ("targets = []\n", "it names no targets"),
        ("hosts = []\n", "it names no targets"),
        ("targets = 3\n", "targets an array"),
        ("targets = [3]\n", "a target is a table of keys"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, expected: str) -> None:
    """Unknown keys, wrong types, missing and doubled values: file, line, and what to write."""
    assert expected in mistake(tmp_path, text)


def test_yaml_and_csv_name_lines_too(tmp_path: Path) -> None:
    """The line of a wrong value in YAML, of a wrong row or column in CSV, of broken YAML."""
    assert "fleet.yaml:3: unknown key 'prot'; did you mean 'port'?" in mistake(
        tmp_path, "targets:\n- host: a\n  prot: 1\n", ".yaml"
    )
    assert "fleet.yaml:2: not YAML: " in mistake(tmp_path, "targets:\n\t- a\n", ".yaml")
    assert "fleet.csv:3: port: " in mistake(tmp_path, "host,port\na,1\nb,x\n", ".csv")
    assert "fleet.csv:1: unknown key 'hots'" in mistake(tmp_path, "hots\na\n", ".csv")
    assert "fleet.csv:2: the row has 2 cells" in mistake(tmp_path, "host\na,b\n", ".csv")


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    """Two wrong targets give one message with both lines."""
    said = mistake(tmp_path, '[[targets]]\nhots = "a"\n[[targets]]\nhost = "b"\nprot = 1\n')
    assert "fleet.toml:2: " in said
    assert "fleet.toml:5: " in said


@pytest.mark.parametrize("key", ["token", "password"])
def test_a_secret_in_the_file_is_refused_and_not_repeated(tmp_path: Path, key: str) -> None:
    """A token is never taken from the file, and the message does not show it."""
    said = mistake(tmp_path, f'[[targets]]\nhost = "a"\n{key} = "CANARY-{key}"\n')
    assert f"fleet.toml:3: a {key} is not written into this file" in said
    assert "CANARY" not in said


def test_a_file_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    """A missing file, a folder, another suffix, and bytes that are no text."""
    with pytest.raises(UsageError, match="No such file"):
        load_fleet(tmp_path / "none.toml")
    with pytest.raises(UsageError, match=r"ends in \.toml"):
        load_fleet(tmp_path / "fleet.json")
    (tmp_path / "bytes.csv").write_bytes(b"host\n\xff\n")
    with pytest.raises(UsageError, match=r"bytes\.csv:2: it is not UTF-8"):
        load_fleet(tmp_path / "bytes.csv")
    deep = "targets = " + "[" * 5000 + "]" * 5000
    assert "fleet.toml" in mistake(tmp_path, deep)
    assert "fleet.yaml" in mistake(tmp_path, deep.partition("= ")[2], ".yaml")


def test_windows_line_ends_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    """Files from other editors are read the same."""
    for suffix, text in ((".toml", TOML), (".yaml", YAML), (".csv", CSV)):
        path = tmp_path / f"dos{suffix}"
        path.write_bytes(b"\xef\xbb\xbf" + text.strip().replace("\n", "\r\n").encode())
        assert [spec.name for spec in load_fleet(path).specs] == ["one", "plain.test:1883"]


_VALUES = st.one_of(
    st.text(max_size=20), st.integers(), st.booleans(), st.none(), st.lists(st.text(max_size=5))
)
_ENTRY = st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=8)), _VALUES, max_size=5)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.text(max_size=200),
        st.fixed_dictionaries({"defaults": _ENTRY, "targets": st.lists(_ENTRY, max_size=3)}).map(
            json.dumps
        ),
    ),
    st.sampled_from([".toml", ".yaml", ".csv"]),
)
def test_no_file_makes_it_fail(
    tmp_path_factory: pytest.TempPathFactory, text: str, suffix: str
) -> None:
    """Whatever a fleet file holds, the answer is a fleet or a UsageError, nothing else."""
    path = tmp_path_factory.mktemp("fuzz", numbered=True) / f"f{suffix}"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(UsageError):
        assert load_fleet(path).specs
