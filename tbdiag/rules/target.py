"""Say what whoever built the target remarked: a pasted command, a gateway config, a preset."""

from __future__ import annotations

from collections.abc import Iterator

from tbdiag.context import Case
from tbdiag.model import Severity, Target
from tbdiag.registry import Fault, rule


@rule("target.remark", stage="dns.resolve", needs=Target, severity=Severity.INFO)
def remark(case: Case, target: Target) -> Iterator[Fault]:
    """Something about the command, configuration or preset that the target was taken from.

    Not a fault of the connection, but worth knowing beside it: an option that has no meaning here,
    a setting that does less than it seems (a gateway with a CA file and a token verifies nothing),
    a value that was read in another way than the program would have read it.
    """
    del case
    for note in target.notes:
        seen, _, advice = note.partition(". ")
        yield Fault(
            message=f"{seen.rstrip('.')}.",
            cause="It stands in what the target was taken from, and has no stage of its own.",
            fix=advice or "Nothing to do for this diagnosis.",
            subject=target.label or target.host,
        )
