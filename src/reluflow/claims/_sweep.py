"""Claims about small lambda: over several lambdas, and over several seeds."""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np

from .. import theory
from .._dataset import Dataset
from ._finding import Finding, holds_from

LOG_LAMBDAS = (
    -3.0, -10.0, -30.0, -100.0, -300.0, -1000.0, -3000.0, -1e4, -3e4, -1e5, -3e5, -1e6
)  # fmt: skip
_MEASURABLE = 1e-6  # at a tolerance of the integration of 1e-8


def smallest(
    measure: Callable[[float], list[Finding]], log_lambdas: Iterable[float] = LOG_LAMBDAS
) -> list[Finding]:
    """What was found at the smallest lambda, and from which lambda on it holds.

    `measure` makes the same comparisons at every lambda, in the same order. The papers claim
    them for lambda <= lambda*, which they do not give: what fails above it is no contradiction,
    and `holds_from` is what this sweep knows of lambda*.
    """
    log_lambdas = sorted(log_lambdas)
    columns = zip(*(measure(log_lambda) for log_lambda in log_lambdas), strict=True)
    return [
        dataclasses.replace(
            column[0],
            log_lambda=log_lambdas[0],
            holds_from=holds_from(log_lambdas, [finding.settled for finding in column]),
        )
        for column in columns
    ]


def worst(found: list[list[Finding]]) -> list[Finding]:
    """Of each comparison, over several draws, the one with the smallest margin.

    What it holds from is the smallest lambda of all draws: there they all do.
    """
    chosen = []
    for column in zip(*found, strict=True):
        finding = min(column, key=lambda f: (f.settled, f.margin))
        limits = [f.holds_from for f in column if f.holds_from is not None]
        what = f"{finding.what} (worst of {len(column)} draws)" if len(column) > 1 else finding.what
        chosen.append(
            dataclasses.replace(finding, what=what, holds_from=min(limits, default=None))
        )
    return chosen


def resolved(data: Dataset, power: float) -> list[float]:
    """The lambdas at which a bound lambda^(power eps) is above the errors of the integration.

    With the largest eps that the proof admits (`theory.phases`), 0.001 for some labels: bounds
    of the lemmas say something only where -ln(lambda) is several times 1 / (power eps), and
    nothing can be measured against them where they are below the errors of float64.
    """
    eps = float(theory.largest_epsilon(data))
    return [
        log_lambda for log_lambda in LOG_LAMBDAS if power * eps * log_lambda > np.log(_MEASURABLE)
    ]
