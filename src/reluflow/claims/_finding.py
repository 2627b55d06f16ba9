"""A number that was measured, beside what a paper says of it."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np

Number = float | int | np.number
Relation = Literal["<=", ">=", "=="]


class Verdict(StrEnum):
    """What came of a claim."""

    holds = "holds"
    fails = "fails"
    outside = "outside its assumptions"


@dataclass(frozen=True)
class Finding:
    """One comparison.

    what: the quantity, in words and the papers' symbols, with the problem it was measured on.
    measured: its value.
    relation: "<=" or ">=", a bound; "==", a predicted value, met to `tolerance`.
    predicted: the bound or the value.
    tolerance: with "==", the largest |measured - predicted| that is no contradiction; it stands
        for what is known of the error (of the integration, of a finite lambda).
    outside: why the problem is outside the assumptions of the claim; None where it is not.
    log_lambda: ln(lambda) that it was measured at, of a claim about small lambda.
    holds_from: the largest ln(lambda) of those tried from which on, down to the smallest, the
        claim holds: -inf where it holds at none, None where one lambda alone was tried.
    """

    what: str
    measured: Number
    relation: Relation
    predicted: Number
    tolerance: Number = 0.0
    outside: str | None = None
    log_lambda: Number | None = None
    holds_from: Number | None = None

    def __post_init__(self):
        for name in ("measured", "predicted", "tolerance", "log_lambda", "holds_from"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else float(value))

    @property
    def margin(self) -> float:
        """How far inside the bound the measurement is: negative where it contradicts it."""
        apart = self.predicted - self.measured
        if self.relation == "==":
            return self.tolerance - abs(apart)
        return apart if self.relation == "<=" else -apart

    @property
    def verdict(self) -> Verdict:
        """NaN holds nowhere."""
        if self.outside is not None:
            return Verdict.outside
        return Verdict.holds if self.margin >= 0.0 else Verdict.fails

    @property
    def settled(self) -> bool:
        return self.verdict is Verdict.holds


def holds_from(log_lambdas: list[float], holds: list[bool]) -> float:
    """The largest ln(lambda) from which on, down to the smallest tried, all hold."""
    start = -math.inf
    for log_lambda, good in sorted(zip(log_lambdas, holds, strict=True)):
        if not good:
            break
        start = log_lambda
    return start
