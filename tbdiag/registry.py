"""The one registry: a decorated function is a check, a rule, a renderer or a scenario.

Everything follows from it: the pipeline's order, `tbdiag list`, `tbdiag explain`, docs/rules.md,
the metrics and the end-to-end tests.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tbdiag.errors import InternalError
from tbdiag.fact import Fact
from tbdiag.model import Finding, Options, Severity, Target

if TYPE_CHECKING:
    from tbdiag.context import Case, Run

E = TypeVar("E")
MAX_FINDINGS = 50
"""Findings of one rule in one report."""
_MORE = f"There are more than {MAX_FINDINGS} findings of this rule; the first are shown."
_SAME = "The same fault is there many times."
_FIRST = "Repair what is shown, then run it again."


class Observation(Fact, Generic[E], frozen=True):
    """What a check returns: the facts, whether what it tried took place, one line for the table.

    `passed` is a fact (the connection stands, the path validates), not an opinion: the stages that
    require this one run only if it is true.
    """

    evidence: E
    passed: bool
    summary: str


class NotApplicable(Fact, frozen=True):
    """What a check returns when there is nothing to do; `reason` is one sentence for the user."""

    reason: str


class Blocked(Fact, frozen=True):
    """What a check returns when it turns out that an earlier stage left it nothing to work with."""

    by: str
    reason: str


Observe = Callable[["Run"], "Observation[Any] | NotApplicable | Blocked"]
Applies = Callable[[Target, Options], "str | None"]


class Check(Fact, frozen=True):
    """One registered stage."""

    id: str
    title: str
    order: int
    observe: Observe
    requires: tuple[str, ...]
    """Stages that must have passed (or not apply); else this one is blocked."""
    after: tuple[str, ...]
    """Stages whose evidence is used where there is any; they need not have passed."""
    timeout: float
    """Seconds this stage may take."""
    transports: tuple[str, ...]
    """The transports in whose pipeline this stage stands."""
    applies: Applies | None
    """Returns why the stage does not apply, or None; asked before any requirement."""
    waivable: tuple[str, ...]
    """Requirements that `--insecure` waives."""
    prepare: Callable[[Run], None] | None
    """Begins, without waiting, what this stage will need; sends nothing of the user's."""
    prepare_after: tuple[str, ...]
    """Stages that must have passed before `prepare` is called."""
    imports: tuple[str, ...]
    """Heavy modules this stage will import: loaded in the background while others wait."""
    doc: str


class Fault(Fact, frozen=True):
    """What a rule yields: fact, cause, repair. The registry adds id, stage and severity."""

    message: str
    cause: str
    fix: str
    subject: str = ""
    severity: Severity | None = None
    """Overrides the rule's default severity."""
    pem: str | None = None
    stage: str | None = None
    """Overrides the rule's stage, where one fault shows in different stages by transport."""


class Rule(Fact, frozen=True):
    """One registered rule."""

    id: str
    stage: str
    severity: Severity
    needs: type[Any]
    judge: Callable[[Case, Any], Iterable[Fault]]
    reference: str
    consequence_of: tuple[str, ...]
    """Rules whose error, when present, is the cause of this one."""
    when: Callable[[Any], bool] | None
    """Asked of the evidence before `judge`: whether the rule is concerned at all; None: always."""
    title: str
    doc: str

    def findings(self, case: Case) -> list[Finding]:
        """The findings of this rule on `case`; none where its evidence is missing or of no concern.

        A CA file can earn any number of them: after `MAX_FINDINGS` one says that there are more.
        """
        found: list[Finding] = []
        evidence = case.evidence.get(self.needs)
        if evidence is None or not (self.when is None or self.when(evidence)):
            return found
        for fault in self.judge(case, evidence):
            if len(found) == MAX_FINDINGS:
                more = Fault(_MORE, _SAME, _FIRST, severity=fault.severity, stage=fault.stage)
                return [*found, self._finding(more)]
            found.append(self._finding(fault))
        return found

    def _finding(self, fault: Fault) -> Finding:
        return Finding(
            rule=self.id,
            stage=fault.stage or self.stage,
            severity=fault.severity or self.severity,
            message=fault.message,
            cause=fault.cause,
            fix=fault.fix,
            subject=fault.subject,
            reference=self.reference,
            pem=fault.pem,
        )


class Renderer(Fact, frozen=True):
    """One registered output format: a function from Report to text."""

    id: str
    render: Callable[..., str]
    raw: bool
    """Whether it takes text as it came, because the format can escape any character."""
    doc: str


class Scenario(Fact, frozen=True):
    """One registered local server with one fault, and the rules it must produce."""

    id: str
    rules: tuple[str, ...]
    """Rule ids that a diagnosis of this scenario must report."""
    start: Callable[..., Any]
    doc: str
    status: dict[str, str]
    """Stage statuses to expect, by stage id."""
    primary: str | None
    options: dict[str, Any]


CHECKS: dict[str, Check] = {}
RULES: dict[str, Rule] = {}
RENDERERS: dict[str, Renderer] = {}
SCENARIOS: dict[str, Scenario] = {}


def _add(table: dict[str, Any], key: str, value: Any) -> None:
    if key in table:
        raise InternalError(f"{key} is registered twice")
    table[key] = value


def _doc(function: Callable[..., Any]) -> str:
    return inspect.cleandoc(function.__doc__ or "")


def check(
    stage_id: str,
    *,
    title: str,
    order: int,
    requires: tuple[str, ...] = (),
    after: tuple[str, ...] = (),
    timeout: float = 10.0,
    transports: tuple[str, ...] = ("mqtts", "mqtt"),
    applies: Applies | None = None,
    waivable: tuple[str, ...] = (),
    imports: tuple[str, ...] = (),
    prepare: Callable[[Run], None] | None = None,
    prepare_after: tuple[str, ...] = (),
) -> Callable[[Observe], Observe]:
    """Register a function as the check of one stage; its docstring is the published text."""

    def register(function: Observe) -> Observe:
        _add(
            CHECKS,
            stage_id,
            Check(
                stage_id,
                title,
                order,
                function,
                requires,
                after,
                timeout,
                transports,
                applies,
                waivable,
                prepare,
                prepare_after,
                imports,
                _doc(function),
            ),
        )
        return function

    return register


def rule(
    rule_id: str,
    *,
    stage: str,
    needs: type[E],
    severity: Severity = Severity.ERROR,
    reference: str = "",
    consequence_of: tuple[str, ...] = (),
    when: Callable[[E], bool] | None = None,
) -> Callable[[Callable[[Case, E], Iterable[Fault]]], Callable[[Case, E], Iterable[Fault]]]:
    """Register a pure function as a rule; it is called when evidence of type `needs` exists.

    With `when` only if that holds for the evidence: most rules have nothing to say where all is
    well, and are not asked then. The first line of its docstring is the rule's title, the rest
    explains cause and repair.
    """

    def register(
        function: Callable[[Case, E], Iterable[Fault]],
    ) -> Callable[[Case, E], Iterable[Fault]]:
        title, _, rest = _doc(function).partition("\n")
        _add(
            RULES,
            rule_id,
            Rule(
                rule_id,
                stage,
                severity,
                needs,
                function,
                reference,
                consequence_of,
                when,
                title.rstrip("."),
                rest.strip(),
            ),
        )
        return function

    return register


def renderer(
    format_id: str, *, raw: bool = False
) -> Callable[[Callable[..., str]], Callable[..., str]]:
    """Register a function as an output format."""

    def register(function: Callable[..., str]) -> Callable[..., str]:
        _add(RENDERERS, format_id, Renderer(format_id, function, raw, _doc(function)))
        return function

    return register


def scenario(
    scenario_id: str,
    *,
    rules: tuple[str, ...] = (),
    primary: str | None = None,
    status: dict[str, str] | None = None,
    **options: Any,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a context manager factory as a sandbox scenario."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        _add(
            SCENARIOS,
            scenario_id,
            Scenario(scenario_id, rules, function, _doc(function), status or {}, primary, options),
        )
        return function

    return register


DEVICE_TRANSPORTS = {"http_device": ("https", "http"), "coap": ("coaps", "coap")}
"""Modules of checks and rules that only these transports need: no others pay for their import."""


@functools.cache
def load(package: str, transport: str | None = None) -> None:
    """Import every module of `tbdiag.<package>` so that its decorators run; once per process.

    With `transport`, modules that only other transports need are left out. Modules whose name
    starts with an underscore hold shared code and are left to their importers.
    """
    module = importlib.import_module(f"tbdiag.{package}")
    for info in pkgutil.iter_modules(module.__path__):
        needed = transport is None or transport in DEVICE_TRANSPORTS.get(info.name, (transport,))
        if needed and not info.name.startswith("_"):
            importlib.import_module(f"tbdiag.{package}.{info.name}")


def ordered_checks(transport: str) -> list[Check]:
    """The stages of one transport's pipeline, in order."""
    return sorted((c for c in CHECKS.values() if transport in c.transports), key=lambda c: c.order)
