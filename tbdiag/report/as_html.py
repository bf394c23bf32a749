"""One self-contained HTML page: no script, nothing loaded, every text escaped by construction.

The page is a tree of elements (`tbdiag.report._markup`), not a string: text goes in as text.
"""

from __future__ import annotations

import re
from importlib.resources import files
from xml.etree.ElementTree import Element

from tbdiag import __version__
from tbdiag.model import ClientVerdict, Finding, Report, Severity, StageResult, Status, Verdict
from tbdiag.registry import renderer
from tbdiag.report._chain import chain_of
from tbdiag.report._chain_picture import chain_pictures
from tbdiag.report._commands import pieces, planted
from tbdiag.report._markup import Child, element, to_html
from tbdiag.report._timeline import timelines
from tbdiag.report.text import MARKS, VERDICTS, counts, headline, minute, untested

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
MAX_FINDINGS = 200


@renderer("html")
def as_html(report: Report, **_style: object) -> str:
    """One HTML page for people: cause and fix, the chain as a picture, validity, stages, stacks."""
    suspects = planted(report)
    return to_html(
        element(
            "html",
            _head(report),
            element(
                "body",
                _banner(report),
                element("main", *_sections(report, suspects)),
                _footer(report),
            ),
            lang="en",
        )
    )


def _sections(report: Report, suspects: tuple[str, ...]) -> list[Element | None]:
    """What matters most comes first: the root cause, or else the findings."""
    cause, others = _cause(report, suspects), _others(report, suspects)
    pictures = [_trust(report), _validity(report)]
    rest = [_stages(report), _clients(report.clients)]
    if report.root_cause:
        return [cause, *pictures, *rest, others]
    return [cause, others, *pictures, *rest]


def _head(report: Report) -> Element:
    style = files("tbdiag.report").joinpath("report.css").read_text(encoding="utf-8")
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", **{"http-equiv": "Content-Security-Policy"}, content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"{VERDICTS[report.verdict][0]}: {headline(report)}"),
        element("style", style),
    )


def _banner(report: Report) -> Element:
    judged = f", judged at {minute(report.now)}" if report.options.at else ""
    insecure = None
    if report.options.insecure:
        words = "INSECURE: the server was not verified (--insecure)"
        insecure = element("p", words, class_="insecure")
    return element(
        "header",
        element("p", element("b", "tbdiag"), f" {__version__}", class_="tool"),
        element("p", VERDICTS[report.verdict][0], class_="verdict"),
        element("h1", headline(report)),
        element(
            "p",
            f"{minute(report.started_at)}{judged} · {counts(report)} in "
            f"{report.duration_ms / 1000:.2f} s",
            class_="when",
        ),
        insecure,
        class_=f"banner {report.verdict}",
    )


def _section(title: str, *children: Child, class_: str | None = None) -> Element:
    return element("section", element("h2", title), *children, class_=class_)


def _cause(report: Report, suspects: tuple[str, ...]) -> Element | None:
    cause = report.root_cause
    if cause is None:
        return _no_cause(report)
    pem = element("pre", cause.pem.rstrip(), class_="pem") if cause.pem else None
    return element(
        "section",
        element("p", "Root cause", element("code", cause.rule), class_="eyebrow"),
        element("h2", cause.message),
        element("p", cause.cause),
        element("div", element("h3", "Fix"), *_fix(cause, suspects), pem, class_="fix"),
        _reference(cause),
        class_="cause",
    )


def _no_cause(report: Report) -> Element | None:
    if report.verdict is Verdict.ERROR:
        words = "tbdiag itself failed: see the stage in the table below."
    elif report.verdict is Verdict.FAILED:
        words = "A stage failed; the findings that explain it were left out with --ignore."
    elif report.verdict is Verdict.WARNING:
        words = "It works, and something will break or is weak: see the findings."
    else:
        words = "Every stage that was tested passed."
    return element("section", element("p", words, class_="lead"), class_="cause")


def _fix(finding: Finding, suspects: tuple[str, ...]) -> list[Element]:
    return [
        element("pre", piece.text, class_="command")
        if piece.command
        else element("p", _sentence(piece.text))
        for piece in pieces(finding.fix, suspects)
    ]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _reference(finding: Finding) -> Element | None:
    if not finding.reference:
        return None
    return element("p", f"Reference: {finding.reference}", class_="reference")


def _trust(report: Report) -> Element | None:
    chain = chain_of(report)
    if chain is None:
        return None
    legend = "Each certificate points to the one that issued it; the last must be in the CA file."
    return _section("Chain of trust", *chain_pictures(chain), element("p", legend, class_="note"))


def _validity(report: Report) -> Element | None:
    pictures = timelines(report)
    if not pictures:
        return None
    options = report.options
    warn = "30 days (a third of a short life)"
    warn = f"{options.warn_days:g} days" if options.warn_days is not None else warn
    legend = f"Amber from {warn} before the end"
    if options.critical_days:
        legend += f", red from {options.critical_days:g} days"
    return _section(
        "Validity",
        *pictures,
        element("p", f"{legend}. The scale is logarithmic around the moment.", class_="note"),
    )


def _stages(report: Report) -> Element:
    longest = max((s.duration_ms for s in report.stages), default=0) or 1
    heads = element("tr", *(element("th", h) for h in ("Stage", "Result", "Time", "What we saw")))
    rows = [_stage(stage, longest) for stage in report.stages]
    table = element("table", element("thead", heads), element("tbody", *rows), class_="stages")
    return _section("Stages", table)


def _stage(stage: StageResult, longest: float) -> Element:
    ran = stage.status not in (Status.BLOCKED, Status.NOT_APPLICABLE)
    saw = stage.summary
    if stage.status is Status.BLOCKED:
        saw = f"blocked by {stage.blocked_by}"
        if stage.reason and stage.reason != f"{stage.blocked_by} did not pass":
            saw = f"{saw}: {stage.reason}"
    return element(
        "tr",
        element("th", stage.title, element("small", stage.id), scope="row"),
        element("td", _pill(stage.status)),
        element("td", *(_timing(stage.duration_ms, longest) if ran else ()), class_="time"),
        element("td", saw),
        class_=stage.status.value,
    )


def _pill(status: Status) -> Element:
    word = "n/a" if status is Status.NOT_APPLICABLE else status.value
    return element("span", f"{MARKS[status][0]} {word}", class_=f"pill {status}")


def _timing(milliseconds: float, longest: float) -> tuple[Element, Element]:
    share = max(1.0, min(100.0, milliseconds / longest * 100))
    bar = element("span", element("i", style=f"width:{share:.1f}%"), class_="bar")
    return element("span", f"{milliseconds:,.0f} ms"), bar


def _clients(clients: tuple[ClientVerdict, ...]) -> Element | None:
    if not clients:
        return None
    words = ("Stack", "Verdict", "Until", "Reason")
    heads = element("tr", *(element("th", word) for word in words))
    rows = [_client(client) for client in clients]
    table = element("table", element("thead", heads), element("tbody", *rows), class_="stacks")
    agree = len({c.verdict for c in clients if c.verdict != "unknown"}) < 2
    note = "All stacks that were asked agree." if agree else "The stacks disagree."
    return _section("Device TLS stacks", table, element("p", note, class_="note"))


def _client(client: ClientVerdict) -> Element:
    looks = {"accept": Status.OK, "reject": Status.FAILED}
    status = looks.get(client.verdict, Status.BLOCKED)
    pill = element("span", f"{MARKS[status][0]} {client.verdict}", class_=f"pill {status}")
    until = f"{client.expires:%Y-%m-%d}" if client.expires else ""
    return element(
        "tr",
        element("th", client.client, element("small", client.stands_for), scope="row"),
        element("td", pill),
        element("td", until),
        element("td", client.reason),
    )


def _others(report: Report, suspects: tuple[str, ...]) -> Element | None:
    cause = report.root_cause
    others = [f for f in report.findings if f is not cause]
    if not others:
        return None
    shown = [_finding(f, suspects) for f in others[:MAX_FINDINGS]]
    left = len(others) - len(shown)
    more = element("p", f"{left:,} more findings are left out here.") if left else None
    return _section("Also found" if cause else "Findings", *shown, more)


def _finding(finding: Finding, suspects: tuple[str, ...]) -> Element:
    cause = finding.cause if finding.severity is not Severity.INFO else ""
    pem = None
    if finding.pem:
        summary = element("summary", "PEM")
        pem = element("details", summary, element("pre", finding.pem.rstrip(), class_="pem"))
    return element(
        "article",
        element(
            "p",
            element("span", finding.severity.value, class_=f"severity {finding.severity}"),
            element("code", finding.rule),
            class_="eyebrow",
        ),
        element("h3", finding.message),
        element("p", cause) if cause else None,
        element("div", *_fix(finding, suspects), pem, class_="fix") if finding.fix else None,
        _reference(finding),
        class_=f"finding {finding.severity}",
    )


def _footer(report: Report) -> Element:
    left_out = [
        element("li", element("b", stage.title), f": {_why(stage)}") for stage in untested(report)
    ]
    words = "Not tested" if left_out else "Every stage was tested"
    return element(
        "footer",
        element("p", words),
        element("ul", *left_out) if left_out else None,
        element("p", "This report holds no token, password or key.", class_="note"),
    )


def _why(stage: StageResult) -> str:
    if stage.status is Status.BLOCKED:
        return f"blocked by {stage.blocked_by}"
    return re.sub(r"\s+", " ", stage.reason or stage.summary)
