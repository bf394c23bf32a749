"""Rotation: the history notices a server that moved to another root, without being asked."""

from __future__ import annotations

from pathlib import Path

from tbdiag.fleet.campaign import Campaign
from tbdiag.fleet.config import load_fleet
from tbdiag.fleet.history import History
from tbdiag.fleet.journal import Journal
from tbdiag.fleet.outcome import Outcome
from tbdiag.fleet.threads import DaemonThreads
from tbdiag.fleet.work import Settings
from tbdiag.sandbox.authority import Authority
from tbdiag.sandbox.broker import Broker
from tbdiag.sandbox.connection import Tls

SETTINGS = Settings(only_tls=True, inline=True)


def test_a_move_to_another_root_is_found_while_both_are_trusted(tmp_path: Path) -> None:
    """First run: the baseline. Same root renewed: well. Another root: baseline.root-changed."""
    old, new = Authority.root("Old Root"), Authority.root("New Root")
    (tmp_path / "ca.pem").write_bytes(old.pem() + new.pem())
    seen = [
        checked(tmp_path, Tls(authority.issue_server())) for authority in (old, old, new, new, old)
    ]
    assert [o.cause for o in seen] == [
        None,
        None,
        "baseline.root-changed",
        "baseline.root-changed",
        None,
    ]
    changes = [c.what for c in History(tmp_path / "h.sqlite").changes("server")]
    assert changes.count("root") == 2


def checked(folder: Path, tls: Tls) -> Outcome:
    """One fleet run over a server that presents `tls`."""
    with Broker(tls=tls) as broker:
        path = folder / "fleet.toml"
        path.write_text(
            '[[targets]]\nname = "server"\nhost = "127.0.0.1"\ncafile = "ca.pem"\n'
            f"port = {broker.port}\n"
        )
        history = History(folder / "h.sqlite")
        campaign = Campaign(load_fleet(path), SETTINGS, Journal(None, ""), history)
        with DaemonThreads(1) as pool:
            (result,) = campaign.results(pool, 1)
        history.close()
        campaign.journal.close(done=True)
        return result.outcome
