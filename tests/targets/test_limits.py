"""Values that cannot work are refused before anything is sent."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tbdiag.errors import UsageError
from tbdiag.targets import limits

BAD = [
    *((limits.seconds, v) for v in (0, -1, math.nan, math.inf, -math.inf, 1e300)),
    *((limits.http_base, t) for t in ("", "h", "ftp://h", "https://", "https://u:p@h")),
    *(
        (limits.http_base, t)
        for t in ("https://h?x", "https://h/api/v1/T", "https://[", "https://h:x")
    ),
    *(
        (limits.proxy_url, t)
        for t in ("", "h:1", "ftp://h", "socks5://", "http://h:x", "http://a b")
    ),
    *((limits.publish_topic, t) for t in ("", "a/+", "#", "a\0", "x" * 65536)),
    *((limits.alpn, (t,)) for t in ("", "x" * 256, "\u00fc")),
]


@pytest.mark.parametrize(("check", "value"), BAD)
def test_impossible_values(check, value) -> None:
    """Each is one printable sentence."""
    with pytest.raises(UsageError) as caught:
        check(value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("value", [-1, math.nan, math.inf])
def test_impossible_days(value: float) -> None:
    """The sentence names the flag."""
    with pytest.raises(UsageError, match="--warn-days"):
        limits.days(value, "--warn-days")


def test_possible_values_come_back() -> None:
    """What can work is returned as it is, a base without its last slash."""
    assert limits.seconds(0.5) == 0.5
    assert limits.days(0, "x") == 0
    assert limits.http_base("https://h:8080/tb/") == "https://h:8080/tb"
    assert limits.proxy_url("socks5://u:p@[::1]:1080") == "socks5://u:p@[::1]:1080"
    assert limits.publish_topic("v1/devices/me/telemetry") == "v1/devices/me/telemetry"
    assert limits.alpn(("mqtt",)) == ("mqtt",)


def test_where_a_report_can_be_written(tmp_path: Path) -> None:
    """A new file, an old file, stdout and a device; not a folder nor into a missing one."""
    (tmp_path / "old").touch()
    for path in (None, "-", f"{tmp_path}/new", f"{tmp_path}/old", "/dev/null"):
        limits.output_file(path)
    for path in (str(tmp_path), f"{tmp_path}/absent/new", f"{tmp_path}/old/new", "a\0b"):
        with pytest.raises(UsageError, match="cannot write"):
            limits.output_file(path)
