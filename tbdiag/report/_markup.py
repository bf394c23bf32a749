"""XML and HTML from trees: text goes in as text, so nothing that is put in can become markup.

There is no way to hand over a piece of markup as a string, and so none to forget an escape.
"""

from __future__ import annotations

from typing import TypeAlias
from xml.etree.ElementTree import Element, tostring

Child: TypeAlias = "Element | str | None"


def element(tag: str, *children: Child, **attributes: object) -> Element:
    """An element with these children in order; None children and None attributes are left out.

    `class_` is the attribute `class`; an underscore in a name is a hyphen (`text_anchor`).
    """
    made = Element(tag)
    for name, value in attributes.items():
        if value is not None:
            made.set(name.rstrip("_").replace("_", "-"), _shown(value))
    for child in children:
        append(made, child)
    return made


def _shown(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def append(parent: Element, child: Child) -> None:
    """Add an element, or text after whatever is there."""
    if child is None:
        return
    if isinstance(child, Element):
        parent.append(child)
    elif len(parent):
        parent[-1].tail = (parent[-1].tail or "") + child
    else:
        parent.text = (parent.text or "") + child


def to_xml(root: Element) -> str:
    """The tree as an XML 1.0 document in UTF-8."""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def to_html(root: Element) -> str:
    """The tree as an HTML document."""
    return f"<!DOCTYPE html>\n{tostring(root, encoding='unicode', method='html')}\n"
