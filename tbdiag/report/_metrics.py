"""The Prometheus text exposition format: families with help and type, no series twice."""

from __future__ import annotations

from collections.abc import Mapping

Labels = tuple[tuple[str, str], ...]
LONGEST_LABEL = 500
"""Characters of a label value that are kept: a server chooses what is in its certificate."""


class Exposition:
    """Gauges collected from many reports; a series that comes twice keeps its lowest value."""

    def __init__(self, help_texts: Mapping[str, str]) -> None:
        self._help = help_texts
        self._series: dict[str, dict[Labels, float]] = {}

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Add one sample; `name` must have a help text."""
        given = tuple((label, _bounded(text)) for label, text in labels.items())
        series = self._series.setdefault(name, {})
        series[given] = min(value, series.get(given, value))

    def text(self) -> str:
        """Everything collected, in the order of the help texts."""
        lines: list[str] = []
        for name, help_text in self._help.items():
            if name in self._series:
                lines += [f"# HELP {name} {help_text}", f"# TYPE {name} gauge"]
                lines += [_sample(name, *pair) for pair in self._series[name].items()]
        return "\n".join(lines) + "\n"


def _bounded(text: str) -> str:
    return text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1] + "…"


def _sample(name: str, labels: Labels, value: float) -> str:
    inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
    number = str(int(value)) if value == int(value) else repr(value)
    return f"{name}{{{inside}}} {number}" if inside else f"{name} {number}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
