"""Rows of `boost.py` on the order: how the error falls with the step, and with the tolerance.

The boosts are of order 6 and the estimate of a step's error of order 8. A tolerance tol is that of
a step: steps are as tol^{1/8}, there are tol^{-1/8} of them, and their errors add up to tol^{7/8}
at most where the estimate is the error, and to tol^{6/8} where that of the boosts is above it.
"""

from typing import NamedTuple

import diffrax
import jax
import numpy as np
from _common import Weights, cases
from _targets import Row, checked, compiled, final_error, final_weights

import reluflow as rf

_POWER = 6.0 / 8.0
_TOLERANCES = 10.0 ** -np.arange(1, 12)
_ROUNDING = 1e-13  # errors below it tell nothing of an order
_STEPS = (4, 8, 16)


class Problem(NamedTuple):
    """smooth: only tiny neurons switch, so that the residual has no kink."""

    name: str
    data: rf.Dataset
    net: rf.Network
    t1: float
    smooth: bool = False


def _problems() -> list[Problem]:
    two, five, many = cases()
    key = jax.random.key
    found = [
        Problem(f"{case.name} to t = {t1:g}", case.data, case.net, t1, smooth)
        for case, t1, smooth in (
            (two, two.middle, True),
            (two, two.t1, False),
            (five, five.middle, False),
            (five, five.t1, False),
            (many, many.middle, True),
        )
    ]
    for samples, dim, seed in ((10, 4, 1), (6, 12, 2)):
        x = jax.random.normal(key(seed), (samples, dim)) / np.sqrt(dim)
        data = rf.Dataset(x, jax.random.normal(key(seed + 100), (samples,)))
        for start in (rf.balanced, rf.unbalanced):
            name = f"Gaussian, n = {samples}, d = {dim}, {start.__name__}"
            net = start(key(seed + 1), 20, dim, np.log(1e-3))
            found.append(Problem(name, data, net, 60.0))
    return found


def order(quick: bool) -> list[Row]:
    """The reference is `rf.RungeKutta` at 1e-13."""
    rows = []
    for problem in _problems()[: 1 if quick else None]:
        run = compiled(problem.data, rf.RungeKutta())
        exact = final_weights(checked(run(problem.net, 1e-13, problem.t1)))
        if problem.smooth:
            rows.append(_constant_steps(problem, exact))
        rows += _tolerances(problem, exact)
    return rows


def _constant_steps(problem: Problem, exact: Weights) -> Row:
    """By `diffrax.diffeqsolve`, which ends no step at a kink."""
    name, data, net, t1, _ = problem

    @jax.jit
    def end(step):
        sol = diffrax.diffeqsolve(
            diffrax.ODETerm(rf.field), rf.Boost(rtol=1e-13), 0.0, t1, step, net, args=data
        )
        return sol.ys.weights()

    found = [Weights(*map(np.asarray, end(t1 / steps))) for steps in _STEPS]
    errors = np.array([final_error(data, weights, exact).weights for weights in found])
    slope = _slope(1.0 / np.array(_STEPS), np.maximum(errors, _ROUNDING))
    note = ", ".join(f"{n} steps: {e:.1e}" for n, e in zip(_STEPS, errors, strict=True))
    return Row(f"{name}: order in the step", slope, 6.0, True, note)


def _tolerances(problem: Problem, exact: Weights) -> list[Row]:
    name, data, net, t1, _ = problem
    run = compiled(data, rf.Boost())
    sols = [checked(run(net, rtol, t1)) for rtol in _TOLERANCES]
    errors = np.array([final_error(data, final_weights(sol), exact).weights for sol in sols])
    counts = [int(sol.stats["num_steps"]) for sol in sols]
    tells = errors > _ROUNDING
    note = f"rtol {_TOLERANCES[0]:.0e} to {_TOLERANCES[-1]:.0e}: {counts[0]} to {counts[-1]} steps"
    return [
        Row(f"{name}: largest error / rtol", float(np.max(errors / _TOLERANCES)), 10.0, note=note),
        Row(
            f"{name}: power of rtol in the error",
            _slope(_TOLERANCES[tells], errors[tells]),
            _POWER,
            True,
            f"error {errors[0]:.1e} to {errors[-1]:.1e}",
        ),
    ]


def _slope(x, y) -> float:
    """Of the straight line through the logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])
