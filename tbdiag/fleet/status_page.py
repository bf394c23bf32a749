"""The status page for people: one file, no script, nothing that is not escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from datetime import datetime
from html import escape

from tbdiag import __version__
from tbdiag.fleet.outcome import Outcome
from tbdiag.fleet.watch import Row
from tbdiag.report.escape import visible

REFRESH_SECONDS = 30
STYLE = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem;
  padding: 0 1rem; }
h1 { font-size: 1.3rem; } p { margin: .4rem 0 1.2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .45rem .7rem; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: break-word; }
th { font-weight: 600; } th, td:last-child, td.n { white-space: nowrap; }
td.n { text-align: right; }
small { opacity: .75; display: block; }
.s { font-weight: 600; white-space: nowrap; }
.ok { color: #1a7f37; } .warning { color: #9a6700; } .failed { color: #cf222e; }
.error { color: #8250df; } .none { opacity: .6; }
@media (prefers-color-scheme: dark) {
  .ok { color: #3fb950; } .warning { color: #d29922; } .failed { color: #f85149; }
  .error { color: #bc8cff; } }
@media (max-width: 50rem) { thead { display: none; }
  td { display: block; border: 0; padding: .1rem; }
  tr { display: block; border-bottom: 1px solid var(--line); padding: .6rem 0; }
  td.n { text-align: left; } }
"""
_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""The Content-Security-Policy that goes with the page: this style and nothing else."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Sent with every answer of the exporter."""
_WORDS = {"ok": "√ ok", "warning": "‼ warning", "failed": "× failed", "error": "× tbdiag error"}
_HEADS = ("Target", "State", "Days left", "What we saw", "Last change", "Checked")


def page(rows: Iterable[Row], now: datetime) -> str:
    """The whole page; `rows` in the order to show them in."""
    rows = list(rows)
    body = "".join(_row(row, now) for row in rows)
    heads = "".join(f'<th scope="col">{head}</th>' for head in _HEADS)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(_title(rows))}</title><style>{STYLE}</style></head><body>"
        f"<h1>{_text(_title(rows))}</h1>"
        f"<p>What breaks first is at the top. {_text(_counted(rows))} "
        f"As of {_text(_minute(now))}; tbdiag {_text(__version__)}.</p>"
        f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
        "</body></html>\n"
    )


def _title(rows: list[Row]) -> str:
    bad = sum(1 for row in rows if row.outcome and row.outcome.verdict in ("failed", "error"))
    return f"tbdiag: {bad:,} of {len(rows):,} failing" if bad else "tbdiag: nothing is failing"


def _counted(rows: list[Row]) -> str:
    verdicts = [row.outcome.verdict if row.outcome else "not checked yet" for row in rows]
    words = ("failed", "error", "warning", "ok", "not checked yet")
    parts = [f"{verdicts.count(word):,} {word}" for word in words if word in verdicts]
    return ", ".join(parts) + "."


def _row(row: Row, now: datetime) -> str:
    outcome = row.outcome
    verdict = outcome.verdict if outcome else "none"
    address = "" if row.address == row.name else f"<small>{_text(row.address)}</small>"
    return (
        f"<tr><td>{_text(row.name)}{address}</td>"
        f'<td class="s {verdict}">{_text(_WORDS.get(verdict, "not checked yet"))}</td>'
        f'<td class="n">{_days(outcome)}</td>'
        f"<td>{_saw(outcome)}</td>"
        f"<td>{_change(row)}</td>"
        f"<td>{_text(_ago(outcome.checked_at, now)) if outcome else ''}</td></tr>\n"
    )


def _days(outcome: Outcome | None) -> str:
    first = outcome.first_end if outcome else None
    if outcome is None or first is None or outcome.days_left is None:
        return ""
    what = f"{first.name}, {first.not_after:%Y-%m-%d}"
    return f"{outcome.days_left:,.0f}<small>{_text(what)}</small>"


def _saw(outcome: Outcome | None) -> str:
    if outcome is None:
        return ""
    cause = f"<small>{_text(outcome.cause)}</small>" if outcome.cause else ""
    return f"{_text(outcome.message)}{cause}"


def _change(row: Row) -> str:
    change = row.last_change
    if change is None:
        return ""
    return f"{_text(_minute(change.at))}<small>{_text(f'{change.what}: {change.after}')}</small>"


def _ago(then: datetime, now: datetime) -> str:
    seconds = max(0, int((now - then).total_seconds()))
    if seconds < 120:
        return f"{seconds} s ago"
    return f"{seconds // 60:,} min ago" if seconds < 7200 else f"{seconds // 3600:,} h ago"


def _minute(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _text(text: str) -> str:
    """Text as HTML text or attribute value: the one sink of this page."""
    return escape(visible(text), quote=True)
