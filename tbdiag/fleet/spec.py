"""One target of a fleet as it travels to a worker: everything but the secrets themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from tbdiag.errors import UsageError
from tbdiag.evidence.baseline import Baseline
from tbdiag.fact import Fact, replace
from tbdiag.model import Options, Secret, Target


class Reference(Fact, frozen=True):
    """Where a secret is: in an environment variable or a file of the machine that checks."""

    kind: str
    """`environment` or `file`."""
    name: str
    """The variable's name, or the file's path."""

    def resolve(self, environment: Mapping[str, str]) -> Secret:
        """The secret; UsageError names the variable or the file when it is not there."""
        if self.kind == "file":
            from tbdiag.targets.credentials import read_token_file

            return read_token_file(self.name, lambda _text: None)
        text = environment.get(self.name, "")
        if not text.strip():
            raise UsageError(
                f"the environment variable {self.name} is not set where the check runs"
            )
        return Secret(text.strip("\r\n"))


class Spec(Fact, frozen=True):
    """One target of a fleet: its name, the target without secrets, where those are, the options."""

    name: str
    target: Target
    options: Options
    token: Reference | None = None
    password: Reference | None = None
    line: int = 0
    """Where it stands in the fleet file, from 1; 0 when unknown."""
    baseline: Baseline | None = None
    """What the history knows of the server; no part of the key."""
    key: str = ""
    """A digest that changes when anything does that a result depends on; see `keyed`."""

    @property
    def references(self) -> tuple[Reference, ...]:
        """Every secret this target needs for MQTT."""
        return tuple(r for r in (self.token, self.password) if r is not None)

    def resolved(self, environment: Mapping[str, str]) -> Target:
        """The target with its secrets; UsageError when one of them is not there."""
        held = self.target.credentials
        if self.token:
            held = replace(
                held, token=self.token.resolve(environment), token_source=self.token.kind
            )
        if self.password:
            held = replace(held, password=self.password.resolve(environment))
        return replace(self.target, credentials=held)


def keyed(spec: Spec) -> Spec:
    """The spec with its key."""
    text = repr((spec.name, spec.target, spec.options, spec.token, spec.password))
    key = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return replace(spec, key=key)
