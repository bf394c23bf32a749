"""Where a token comes from."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from tbdiag.errors import UsageError
from tbdiag.model import Credentials, Secret
from tbdiag.targets.credentials import MAX_TOKEN_FILE, read_token_file
from tbdiag.targets.resolve import credentials_from, known_rules, payload_from


def token_file(folder: Path, data: bytes, mode: int = 0o600) -> str:
    path = folder / "token"
    path.write_bytes(data)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize("data", [b"TOKEN", b"TOKEN\n", b"TOKEN\r\n", b"\xef\xbb\xbfTOKEN\n"])
def test_a_token_file_holds_one_line(tmp_path: Path, data: bytes) -> None:
    """The line end and a byte order mark are no part of the token."""
    assert read_token_file(token_file(tmp_path, data), pytest.fail) == Secret("TOKEN")


def test_blanks_inside_a_token_file_are_kept(tmp_path: Path) -> None:
    """A blank at the end is a fault that a rule must be able to see."""
    assert read_token_file(token_file(tmp_path, b"TOKEN \n"), pytest.fail) == Secret("TOKEN ")


@pytest.mark.parametrize("data", [b"", b"\n", b"  \n", b"x" * (MAX_TOKEN_FILE + 1)])
def test_a_file_that_holds_no_token(tmp_path: Path, data: bytes) -> None:
    """Empty and huge files are a sentence that names the file."""
    with pytest.raises(UsageError, match="token file"):
        read_token_file(token_file(tmp_path, data), pytest.fail)


@pytest.mark.parametrize("name", ["absent", ".", "a\0b"])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    """A missing file, a folder and an impossible name are a sentence."""
    with pytest.raises(UsageError, match="token file"):
        read_token_file(f"{tmp_path}/{name}", pytest.fail)


def test_a_token_that_others_can_read_is_remarked(tmp_path: Path) -> None:
    """A file of mode 644 earns a warning with the command that mends it."""
    said: list[str] = []
    read_token_file(token_file(tmp_path, b"TOKEN", 0o644), said.append)
    assert "chmod 600" in said[0]


def test_a_token_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--token-file -` reads stdin."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"TOKEN\n")))
    assert read_token_file("-", pytest.fail) == Secret("TOKEN")


def credentials(environment: dict[str, str] | None = None, **given: str) -> Credentials:
    return credentials_from(given, Credentials(), environment or {}, pytest.fail)


def test_flags_win_over_the_environment() -> None:
    """-u is the token although TBDIAG_TOKEN is set."""
    held = credentials({"TBDIAG_TOKEN": "other"}, token="TOKEN")
    assert (held.token, held.token_source) == (Secret("TOKEN"), "arguments")


def test_the_environment_gives_the_token() -> None:
    """TBDIAG_TOKEN is the preferred way."""
    held = credentials({"TBDIAG_TOKEN": "TOKEN"})
    assert (held.token, held.token_source) == (Secret("TOKEN"), "environment")


def test_a_user_with_a_password_is_mqtt_basic() -> None:
    """-u and -P mean what they mean to mosquitto_pub."""
    held = credentials(token="user", password="secret", client_id="id")
    assert (held.token, held.username, held.password) == (None, "user", Secret("secret"))


@pytest.mark.parametrize(
    "given", [{"token": "a", "token_file": "b"}, {"key": "key.pem"}, {"token_file": "absent"}]
)
def test_contradictions_are_usage_errors(given: dict[str, str]) -> None:
    """Two tokens, a key without certificate, a missing file."""
    with pytest.raises(UsageError):
        credentials(**given)


def test_a_payload_is_text_a_file_or_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """-m takes all three, and bytes of a pasted command as they are."""
    path = tmp_path / "payload.json"
    path.write_bytes(b"[1]")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"{}")))
    given = ["x", f"@{path}", "-", b"@raw", os.fsdecode(b"\xff")]
    assert [payload_from(g) for g in given] == [b"x", b"[1]", b"{}", b"@raw", b"\xff"]


def test_payloads_that_cannot_be_sent(tmp_path: Path) -> None:
    """A missing file and a huge one are a sentence."""
    (tmp_path / "huge").write_bytes(b"x" * (256 * 1024 + 1))
    for name in ("absent", "huge", "."):
        with pytest.raises(UsageError, match="payload"):
            payload_from(f"@{tmp_path}/{name}")


def test_only_rules_that_exist_can_be_ignored() -> None:
    """--ignore with a typing error does not silently ignore nothing."""
    assert known_rules(["ca.no-root"]) == {"ca.no-root"}
    with pytest.raises(UsageError, match=r"ca\.noroot"):
        known_rules(["ca.noroot"])
