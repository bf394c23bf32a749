"""Inputs for a target: its seeds, cut, overwritten and mixed with its words."""

from __future__ import annotations

from hypothesis import strategies as st

from fuzz.targets import Target

MOST = 16_384
"""Octets of one input."""


def inputs(target: Target) -> st.SearchStrategy[bytes]:
    """Seeds of the target with up to six edits each, words in a row, and bytes out of nowhere."""
    junk = st.binary(max_size=8)
    if target.words:
        junk |= st.sampled_from(target.words)
    words = st.lists(junk, max_size=24).flatmap(
        lambda parts: st.sampled_from((b"", b" ", b"\n")).map(lambda glue: glue.join(parts))
    )
    return st.one_of(_edited(target.seeds(), junk), _edited(target.seeds(), junk), words)


@st.composite
def _edited(draw: st.DrawFn, seeds: list[bytes], junk: st.SearchStrategy[bytes]) -> bytes:
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(("insert", "overwrite", "cut", "flip", "repeat"))):
            case "insert":
                data = data[:at] + draw(junk) + data[at:]
            case "overwrite":
                piece = draw(junk)
                data = data[:at] + piece + data[at + len(piece) :]
            case "cut":
                data = data[:at] + data[at + draw(st.integers(1, 64)) :]
            case "flip" if at < len(data):
                octet = data[at] ^ (1 << draw(st.integers(0, 7)))
                data = data[:at] + bytes([octet]) + data[at + 1 :]
            case "repeat":
                piece = data[at : at + draw(st.integers(1, 64))]
                data = data[:at] + piece * draw(st.integers(2, 40)) + data[at:]
    return data[:MOST]
