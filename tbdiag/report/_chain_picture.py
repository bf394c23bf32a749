"""Draw the chain: what the server sends at the left, what the CA file holds at the right."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree.ElementTree import Element

from tbdiag.report._chain import Card, Chain, Link
from tbdiag.report._markup import element
from tbdiag.report._svg import box, fitted, path, svg, text, window

CARD, GAP, HEAD, PAD = 82.0, 40.0, 30.0, 14.0
"""Heights of a card, of the space between two, of a heading; the padding inside a card."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where cards go: side by side on wide pages, one below the other on narrow ones."""

    width: float
    card: float
    aside: float
    """The left edge of the CA file's column."""
    narrow: bool


WIDE = Layout(900, 384, 516, narrow=False)
NARROW = Layout(360, 344, 8, narrow=True)

Places = dict[int, tuple[float, float]]


def chain_pictures(chain: Chain) -> list[Element]:
    """The same picture for wide and for narrow pages; the style sheet shows one of them."""
    return [_draw(chain, WIDE, "wide"), _draw(chain, NARROW, "narrow")]


def _draw(chain: Chain, layout: Layout, class_: str) -> Element:
    places: Places = {}
    parts: list[Element] = [_heading(8, 18, "The server sends", layout)]
    low = _place(chain.sent, 8, HEAD, places)
    top = low + HEAD if layout.narrow else HEAD
    parts.append(_heading(layout.aside, top - 12, chain.source, layout))
    low_right = _place(chain.trusted, layout.aside, top, places)
    parts += [_link(link, places, layout) for link in chain.links]
    parts += [_card(card, places[id(card)], layout) for card in (*chain.sent, *chain.trusted)]
    if not chain.trusted:
        parts.append(text(layout.aside, top + 24, "holds no certificate", "dim"))
    for count, x, y in (
        (chain.sent_left_out, 8.0, low),
        (chain.trusted_left_out, layout.aside, low_right),
    ):
        if count:
            parts.append(text(x, y - GAP + 22, f"and {count:,} more", "dim"))
    height = (
        max(low, low_right) - GAP + (30 if chain.sent_left_out or chain.trusted_left_out else 8)
    )
    return svg(layout.width, max(height, HEAD + 60), _title(chain), *parts, class_=f"pic {class_}")


def _title(chain: Chain) -> str:
    broken = next((link for link in chain.links if link.broken), None)
    if broken:
        return f"The chain is broken above {broken.start.title}: {broken.text}"
    if chain.accepted:
        return "The chain leads from the server's certificate to a trust anchor of the CA file"
    return "The certificates of the server and of the CA file"


def _heading(x: float, y: float, words: str, layout: Layout) -> Element:
    return text(x, y, fitted(words, layout.card, 13, bold=True), "head")


def _place(cards: list[Card], x: float, top: float, places: Places) -> float:
    for card in cards:
        places[id(card)] = (x, top)
        top += CARD + GAP
    return top


def _card(card: Card, at: tuple[float, float], layout: Layout) -> Element:
    x, y = at
    look = "card" + (" bad" if card.faults else "" if card.on_path else " idle")
    look += "" if card.certificate else " ghost"
    room = layout.card - 2 * PAD
    certificate = card.certificate
    detail = ""
    if certificate:
        detail = f"{card.validity} · {certificate.key}"
        detail += f" · {certificate.signature_hash}" if certificate.signature_hash else ""
    if card.faults:
        below = text(PAD, 66, fitted(f"✕ {'; '.join(card.faults)}", room, 13, bold=True), "fault")
    else:
        below = text(PAD, 66, fitted(detail, room, 12), "detail")
    return window(
        x,
        y,
        layout.card,
        CARD,
        box(1, 1, layout.card - 2, CARD - 2, look),
        text(PAD, 22, fitted(card.role.upper(), room - 40, 11), "role"),
        text(PAD, 44, fitted(card.title, room, 15, bold=True), "name"),
        below,
        _whole(card, detail),
    )


def _whole(card: Card, detail: str) -> Element:
    """What was cut, as the tip of the whole card."""
    return element("title", "\n".join([card.title, detail, *card.faults]).strip())


def _link(link: Link, places: Places, layout: Layout) -> Element:
    if id(link.start) not in places or id(link.end) not in places:
        return element("g")
    (x1, y1), (x2, y2) = places[id(link.start)], places[id(link.end)]
    look = "link broken" if link.broken else "link"
    if x1 == x2:
        return _down(x1 + 36, y1 + CARD, y2, link, look)
    start, end = x1 + layout.card, x2
    middle = (start + end) / 2
    a, b = y1 + CARD / 2, y2 + CARD / 2
    curve = f"M{start:g},{a:g} C{middle:g},{a:g} {middle:g},{b:g} {end - 7:g},{b:g}"
    children = [path(curve, look), _arrow(end, b, "right", look)]
    if link.broken:
        children.append(_cross(middle, (a + b) / 2))
    return element("g", *children)


def _down(x: float, top: float, bottom: float, link: Link, look: str) -> Element:
    middle = (top + bottom) / 2 if bottom - top <= GAP else bottom - GAP / 2
    children = [
        path(f"M{x:g},{top:g} L{x:g},{bottom - 7:g}", look),
        _arrow(x, bottom, "down", look),
    ]
    if link.broken:
        children.append(_cross(x, middle))
    label = text(x + 18, middle + 4, link.text, "label warn" if link.broken else "label")
    return element("g", *children, label)


def _arrow(x: float, y: float, direction: str, look: str) -> Element:
    if direction == "down":
        points = f"M{x - 5:g},{y - 8:g} L{x + 5:g},{y - 8:g} L{x:g},{y:g} Z"
    else:
        points = f"M{x - 8:g},{y - 5:g} L{x - 8:g},{y + 5:g} L{x:g},{y:g} Z"
    return path(points, look.replace("link", "tip"))


def _cross(x: float, y: float) -> Element:
    disc = element("circle", cx=x, cy=y, r=11.0, class_="disc")
    arms = f"M{x - 5:g},{y - 5:g} L{x + 5:g},{y + 5:g} M{x + 5:g},{y - 5:g} L{x - 5:g},{y + 5:g}"
    return element("g", disc, path(arms, "cross"))
