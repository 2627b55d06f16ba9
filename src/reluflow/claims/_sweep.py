"""Claims about small lambda: over several lambdas, and over several seeds."""

import dataclasses
import functools
from collections.abc import Callable, Iterable

import numpy as np

from .. import theory
from .._model._dataset import Dataset
from ._finding import Finding, holds_from
from ._problems import draws, standard

LOG_LAMBDAS = (
    -3.0,
    -10.0,
    -30.0,
    -100.0,
    -300.0,
    -1e3,
    -2e3,
    -5e3,
    -1e4,
    -2e4,
    -5e4,
    -1e5,
    -2e5,
    -5e5,
    -1e6,
)
_INFORMATIVE = 0.5
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
        chosen.append(dataclasses.replace(finding, what=what, holds_from=min(limits, default=None)))
    return chosen


def over_draws(
    quick: bool,
    measure: Callable[[int, float], list[Finding]],
    log_lambdas: Callable[[Dataset], Iterable[float]] = lambda data: LOG_LAMBDAS,
) -> list[Finding]:
    """`measure(seed, log_lambda)`: of each comparison the worst of all draws of the problem."""
    return worst(
        [
            smallest(functools.partial(measure, seed), log_lambdas(standard(seed)[1]))
            for seed in draws(quick)
        ]
    )


def resolved(data: Dataset, highest: float, lowest: float | None = None) -> list[float]:
    """The lambdas at which bounds lambda^(power eps) say something, and can be measured.

    With the largest eps that the proof admits (`theory.largest_epsilon`), 0.001 for some labels,
    the bounds of the lemmas are near 1 for lambda that are small already; where they are below
    the errors of the integration, nothing can be held against them. `highest` and `lowest`:
    powers between which all are that a lemma compares with.
    """
    eps = float(theory.largest_epsilon(data))
    low, high = np.log(_MEASURABLE) / highest, np.log(_INFORMATIVE) / (lowest or highest)
    return [ln for ln in LOG_LAMBDAS if low < eps * ln < high]
