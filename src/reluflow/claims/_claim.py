"""A claim of the catalogue: how it is measured, and what must make it fail."""

import importlib.util
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ._finding import Finding, Verdict

Measure = Callable[[bool], list[Finding]]

EXTRAS = {"cvxpy": "theory"}  # the extra of reluflow that each optional package comes with


@dataclass(frozen=True)
class Claim:
    """What a paper says, and the run that looks whether it is so.

    id: short and stable, as "2022-lemma-1".
    source: the paper's year and the number in it.
    statement: the claim, in one line.
    measure: `measure(quick)` integrates and compares; `quick` asks for fewer or smaller problems
        of the same kind.
    controls: the same measurement where an assumption is broken, by what breaks it. Each must
        come out otherwise than `holds`; one that does not shows that the measurement is blind.
    needs: packages that it imports and that reluflow does without; keys of `EXTRAS`.
    """

    id: str
    source: str
    statement: str
    measure: Measure
    controls: Mapping[str, Measure] = field(default_factory=dict)
    needs: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        """What it needs and is not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


@dataclass(frozen=True)
class Outcome:
    """A claim that was run. seconds: of wall time, beside whatever else was running."""

    claim: Claim
    findings: list[Finding]
    controls: dict[str, list[Finding]]
    seconds: float

    @property
    def verdict(self) -> Verdict:
        """The worst of its findings: one that fails is not outweighed by others that hold."""
        verdicts = {finding.verdict for finding in self.findings}
        for worst in (Verdict.fails, Verdict.outside):
            if worst in verdicts:
                return worst
        return Verdict.holds

    @property
    def blind(self) -> list[str]:
        """The controls that hold although they must not."""
        return [name for name, found in self.controls.items() if all(f.settled for f in found)]


def check(claim: Claim, quick: bool = False) -> Outcome:
    """Runs a claim and its controls."""
    begin = time.perf_counter()
    findings = claim.measure(quick)
    controls = {name: measure(quick) for name, measure in claim.controls.items()}
    for found in (findings, *controls.values()):
        if not found:
            raise ValueError(f"Claim {claim.id} measured nothing.")
    return Outcome(claim, findings, controls, time.perf_counter() - begin)
