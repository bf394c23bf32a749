"""Read YAML that somebody else wrote: safe types only, and nothing that takes for ever."""

from __future__ import annotations

from typing import Any

DEEPEST = 40
"""Brackets inside brackets; PyYAML's time grows with the square of them."""
MOST_PAIRS = 10_000
"""Pairs of one mapping after its merge keys (`<<`), which can double them at every level."""


def safe_loader(text: str) -> Any:
    """PyYAML's SafeLoader on `text` with these limits; raises ImportError without PyYAML.

    Call its `dispose` at the end. Reading raises yaml.YAMLError, RecursionError for deep
    indentation, and ValueError, TypeError or AttributeError for values that cannot be.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def fetch_flow_collection_start(self, token: Any) -> None:
            if self.flow_level >= DEEPEST:
                mark = self.get_mark()
                raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=mark)
            super().fetch_flow_collection_start(token)

        def flatten_mapping(self, node: Any) -> None:
            super().flatten_mapping(node)
            if len(node.value) > MOST_PAIRS:
                mark = node.start_mark
                raise yaml.MarkedYAMLError(problem="too many merged keys", problem_mark=mark)

    return Loader(text)
