"""The exporter: metrics for Prometheus, a status page for people. Configured targets only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from tbdiag.fleet.metrics import unchecked
from tbdiag.fleet.status_page import HEADERS, page
from tbdiag.fleet.watch import Checked, Watcher, rows
from tbdiag.report import render
from tbdiag.report.as_prometheus import metrics

if TYPE_CHECKING:
    from starlette.requests import Request

SCRAPE_MARGIN = 0.5
"""Seconds before Prometheus's own time-out at which a probe gives up."""
LONGEST_PROBE = 120.0
TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Cache(Collector):
    """The metrics of every target's latest check, as a collector of prometheus-client."""

    def __init__(self) -> None:
        self._families: dict[str, list[Metric]] = {}

    def put(self, checked: Checked) -> None:
        """Take over the metrics of a finished check."""
        text = metrics([checked.report]) if checked.report else unchecked(checked.outcome)
        self._families[checked.outcome.name] = list(text_string_to_metric_families(text))

    def describe(self) -> Iterable[Metric]:
        """Nothing: the names are known once something was checked."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Each family once, with the samples of all targets."""
        merged: dict[str, Metric] = {}
        for families in list(self._families.values()):
            for family in families:
                whole = merged.get(family.name)
                if whole is None:
                    whole = Metric(family.name, family.documentation, family.type)
                    merged[family.name] = whole
                whole.samples.extend(family.samples)
        if build := merged.get("tbdiag_build_info"):
            build.samples = build.samples[:1]
        return merged.values()


class Exporter:
    """The web application; `watcher` checks, this shows."""

    def __init__(self) -> None:
        self.cache = Cache()
        self.registry = CollectorRegistry()
        self.registry.register(self.cache)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.checks = Counter(
            "tbdiag_exporter_checks",
            "Checks carried out, by what they said",
            ["verdict"],
            registry=self.registry,
        )

    def seen(self, checked: Checked) -> None:
        """Hear of a finished check."""
        self.cache.put(checked)
        self.checks.labels(verdict=checked.outcome.verdict).inc()

    def app(self, watcher: Watcher) -> Starlette:
        """The application: `/`, `/metrics`, `/probe?target=NAME`, `/-/healthy`."""

        async def status(_request: Request) -> Response:
            return HTMLResponse(page(rows(watcher), datetime.now(UTC)), headers=HEADERS)

        async def healthy(_request: Request) -> Response:
            return PlainTextResponse("healthy\n", headers=HEADERS)

        async def exposition(request: Request) -> Response:
            encode, kind = choose_encoder(request.headers.get("accept", ""))
            text = await asyncio.to_thread(encode, self.registry)
            return Response(text, media_type=kind, headers=HEADERS)

        routes: list[tuple[str, Callable[[Request], Awaitable[Response]]]] = [
            ("/", status),
            ("/-/healthy", healthy),
            ("/metrics", exposition),
            ("/probe", lambda request: _probe(watcher, request)),
        ]
        return Starlette(routes=[Route(path, _endpoint(answer)) for path, answer in routes])


def _endpoint(
    answer: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await answer(request)

    return endpoint


async def _probe(watcher: Watcher, request: Request) -> Response:
    """Check one configured target now; a check of it that is under way is shared."""
    name = request.query_params.get("target", "")
    if name not in watcher.targets:
        text = "target is missing\n" if not name else "no such target in the fleet file\n"
        return PlainTextResponse(text, status_code=404 if name else 400, headers=HEADERS)
    started = time.monotonic()
    flight = asyncio.wrap_future(watcher.check_now(name))
    try:
        checked = await asyncio.wait_for(asyncio.shield(flight), _limit(request))
    except TimeoutError:
        flight.add_done_callback(lambda done: done.cancelled() or done.exception())
        return _text(_unfinished(time.monotonic() - started))
    if request.query_params.get("debug") == "true":
        return PlainTextResponse(await asyncio.to_thread(_debug, checked), headers=HEADERS)
    return _text(await asyncio.to_thread(_metrics, checked))


def _limit(request: Request) -> float:
    """Seconds that a probe may take: a little less than the scraper waits."""
    header = request.headers.get("x-prometheus-scrape-timeout-seconds", "")
    try:
        seconds = float(header)
    except ValueError:
        return LONGEST_PROBE
    return min(max(seconds - SCRAPE_MARGIN, 0.1), LONGEST_PROBE)


def _metrics(checked: Checked) -> str:
    if checked.report is None:
        return _unfinished(0.0)
    return metrics([checked.report], labelled=False)


def _unfinished(seconds: float) -> str:
    return (
        "# HELP probe_success Displays whether or not the probe was a success\n"
        "# TYPE probe_success gauge\nprobe_success 0\n"
        "# HELP probe_duration_seconds Returns how long the probe took to complete in seconds\n"
        f"# TYPE probe_duration_seconds gauge\nprobe_duration_seconds {seconds:.6f}\n"
    )


def _debug(checked: Checked) -> str:
    if checked.report is None:
        return checked.outcome.message + "\n"
    return render(checked.report, "table", width=140, verbose=True)


def _text(text: str) -> Response:
    return Response(text, media_type=TEXT, headers=HEADERS)
