"""Shapes and text of the inline pictures: what does not fit is cut, never drawn over others."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from tbdiag.report._markup import Child, element
from tbdiag.report.text import columns

GLYPH = 0.58
"""The width of an ordinary character, in font sizes: an upper estimate for the fonts we ask for."""
BOLD = 0.68
"""The same for semibold text."""


def svg(width: float, height: float, title: str, *children: Child, class_: str) -> Element:
    """A picture that scales with the page; `title` is what a screen reader says."""
    return element(
        "svg",
        element("title", title),
        *children,
        viewBox=f"0 0 {width:g} {height:g}",
        class_=class_,
        role="img",
    )


def text(x: float, y: float, words: str, class_: str, **more: object) -> Element:
    """One line of text with its baseline at `y`."""
    return element("text", words, x=x, y=y, class_=class_, **more)


def fitted(words: str, width: float, size: float, *, bold: bool = False) -> str:
    """`words` cut with an ellipsis to what fits into `width` at a font size."""
    room = width / (size * (BOLD if bold else GLYPH))
    if columns(words) <= room:
        return words
    used, kept = 1.0, ""
    for character in words:
        used += columns(character)
        if used > room:
            break
        kept += character
    return kept.rstrip() + "…"


def window(x: float, y: float, width: float, height: float, *children: Child) -> Element:
    """A nested picture: whatever is drawn inside is clipped at its edges."""
    return element("svg", *children, x=x, y=y, width=width, height=height)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Element:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def box(x: float, y: float, width: float, height: float, class_: str, r: float = 8) -> Element:
    """A rectangle with round corners."""
    return element("rect", x=x, y=y, width=width, height=height, rx=r, class_=class_)


def path(d: str, class_: str) -> Element:
    """A path by its SVG commands, which we compute from numbers alone."""
    return element("path", d=d, class_=class_)
