"""Expositions of single targets put together: each family once, as the text format wants it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from tbdiag.fleet.outcome import Outcome

Pages = Callable[[], Iterable[str]]


def merged(pages: Pages) -> Iterator[str]:
    """One exposition from many (text format 0.0.4); `pages` is called once per metric family.

    Equal lines (such as the version of tbdiag) appear once.
    """
    families: dict[str, list[str]] = {}
    for page in pages():
        for name, comment in _comments(page):
            lines = families.setdefault(name, [])
            if comment not in lines:
                lines.append(comment)
    for name, comments in families.items():
        yield "".join(f"{line}\n" for line in comments)
        seen: set[str] = set()
        for page in pages():
            for line in _samples(page, name):
                if line not in seen:
                    yield f"{line}\n"
                if "{" not in line or name.endswith("_build_info"):
                    seen.add(line)


def _comments(page: str) -> Iterator[tuple[str, str]]:
    for line in page.splitlines():
        if line.startswith(("# HELP ", "# TYPE ")):
            yield line.split(" ", 3)[2], line


def _samples(page: str, name: str) -> Iterator[str]:
    for line in page.splitlines():
        if line.startswith(name) and line[len(name) : len(name) + 1] in ("{", " "):
            yield line


def unchecked(outcome: Outcome) -> str:
    """The metrics of a target that tbdiag could not check."""
    name = outcome.name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    label = f'{{target="{name}"}}'
    return (
        "# HELP probe_success Displays whether or not the probe was a success\n"
        "# TYPE probe_success gauge\n"
        f"probe_success{label} 0\n"
        "# HELP tbdiag_verdict What the report says "
        "(0 ok, 1 warning, 2 failed, 3 error of tbdiag)\n"
        "# TYPE tbdiag_verdict gauge\n"
        f"tbdiag_verdict{label} 3\n"
    )
