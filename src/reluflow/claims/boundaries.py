"""What happens where <w_j, x_k> = 0 (2022, Lemma 6 and Prop. 2)."""

import functools

import diffrax
import jax.numpy as jnp
import numpy as np

from .. import analysis
from .._flow import flow
from .._integration._solution import Solution
from .._model import _modes
from .._model._dataset import Dataset
from .._runge_kutta._runge_kutta import RungeKutta
from ..analysis._alignment import unit
from ._claim import Claim
from ._finding import Finding
from ._problems import SAVES, draws, problem, run_at, standard
from ._sweep import LOG_LAMBDAS, worst

_SIGN = 1e-12  # of <w_j, x_k> / |w_j|: what is not above it is not positive
_BOUNDARY = -100.0  # ln(lambda) at which boundaries are looked at
_STEPS, _AFTER = 64, 1e-3  # of Euler's method, and the time it is given
_EULER = 1e-6  # of what is extrapolated from it


def _lemma_6(quick: bool) -> list[Finding]:
    found = [
        _reactivated(data, sol)
        for seed in draws(quick)
        for _, data, sol in (problem(seed, log_lambda) for log_lambda in LOG_LAMBDAS)
    ]
    events, signs = np.sum([pair[0] for pair in found]), np.max([pair[1] for pair in found])
    where = f"{len(found)} flows, ln(lambda) from {LOG_LAMBDAS[0]:g} to {LOG_LAMBDAS[-1]:g}"
    return _no_reactivation(float(events), float(signs), where)


def _no_reactivation(events: float, signs: float, where: str) -> list[Finding]:
    return [
        Finding(f"inactive units that became active, in {where}", float(events), "==", 0.0),
        Finding(
            "largest <w_j, x_k> / |w_j| of a unit that was inactive at a save before",
            float(signs),
            "<=",
            _SIGN,
        ),
    ]


def _reactivated(data: Dataset, sol: Solution) -> tuple[float, float]:
    """By the events of the flow, and by the signs of the saved networks, which know none."""
    cosine = unit(np.asarray(sol.networks.hidden)) @ np.asarray(data.x).T
    was_off = np.logical_or.accumulate(cosine < -_SIGN, axis=0)
    return float(analysis.reactivations(sol)), float(np.max(cosine, where=was_off, initial=-1.0))


@functools.cache
def _correlated_run() -> tuple[Dataset, Solution]:
    """Inputs with correlations of 0.3, from a moderate lambda.

    By `rf.RungeKutta`, whose program for inputs that slide is compiled sooner.
    """
    net, data = standard(0, -10.0)
    data = Dataset(data.x + 0.3 * jnp.roll(data.x, 1, axis=0), data.y)
    ts = jnp.linspace(0.0, 100.0, SAVES + 1)
    save = diffrax.SaveAt(ts=ts)
    return data, flow(net, data, 100.0, integrator=RungeKutta(), saveat=save, throw=False)


def _correlated(quick: bool) -> list[Finding]:
    return _no_reactivation(*_reactivated(*_correlated_run()), "one flow")


def _proposition_2(quick: bool) -> list[Finding]:
    return worst([_first_boundary(seed) for seed in draws(quick)])


def _first_boundary(seed: int) -> list[Finding]:
    """The first event of the flow: the velocities of <w_j, x_k> on both sides, and the mode after.

    On the inactive side it is 0, on the active one it points to the boundary: the unit can leave
    to neither side, and <w_j, x_k> = 0 from there on, whatever sigma'(0) is.
    """
    (a, *_), (j, _), velocity = _at_first_boundary(seed)
    mode = int(np.asarray(problem(seed, _BOUNDARY)[2].events.after)[0])
    return [
        Finding(
            "velocity of <w_j, x_k> on the active side of the first boundary, over |a_j|",
            velocity / abs(a[j]),
            "<=",
            0.0,
        ),
        Finding("mode of the unit from there on, 3 being at rest", mode, "==", _modes.RESTING),
        _violation(seed, 0.0, 0.0),
        _violation(seed, 0.5, 0.5),
        _violation(seed, 1.0, 1.0),
    ]


@functools.cache
def _at_first_boundary(seed: int):
    """(a, <w_j, x_k>, y) where the first unit has come to its boundary, which, and its velocity.

    Inputs are an orthonormal basis: in its coordinates the weights are the <w_j, x_k>.
    """
    net, data, sol = problem(seed, _BOUNDARY)
    j, k = (int(np.asarray(which)[0]) for which in (sol.events.neuron, sol.events.sample))
    there = run_at(net, data, np.linspace(0.0, float(sol.events.time[0]), SAVES + 1)).final
    a, w = map(np.asarray, there.weights())
    p, y = w @ np.asarray(data.x).T, np.asarray(data.y)
    p[j, k] = 0.0
    residual = y - a @ np.maximum(p, 0.0)
    return (a, p, y), (j, k), float(a[j] * residual[k] / len(y))


def _violation(seed: int, derivative: float, predicted: float) -> Finding:
    """How Euler's method goes on from there, on all of eq. 39 with this sigma'(0).

    As its step goes to 0 it goes to <w_j, x_k> = 0, which solves eq. 39 only if the velocity that
    this demands on the boundary is 0. The difference of the two is of first order in the step,
    which the limit is extrapolated from.
    """
    _, _, velocity = _at_first_boundary(seed)
    coarse, fine = (_mean_velocity(seed, derivative, steps) for steps in (_STEPS, 2 * _STEPS))
    measured = 2.0 * fine - coarse
    return Finding(
        f"sigma'(0) = {derivative:g}: violation of eq. 39 there, over the velocity above",
        abs(measured - derivative * velocity) / abs(velocity),
        "==",
        predicted,
        _EULER,
    )


def _mean_velocity(seed: int, derivative: float, steps: int) -> float:
    """Of <w_j, x_k>, over a time after the boundary."""
    (a, p, y), (j, k), _ = _at_first_boundary(seed)
    step = _AFTER / steps
    for _ in range(steps):
        residual = y - a @ np.maximum(p, 0.0)
        slope = np.where(p > 0.0, 1.0, np.where(p == 0.0, derivative, 0.0)) * residual / len(y)
        growth = np.sum(np.maximum(p, 0.0) * residual, axis=1) / len(y)
        a, p = a + step * growth, p + step * a[:, None] * slope
    return float(p[j, k] / _AFTER)


def _solves(derivative: float):
    """Whether eq. 39 has a solution that passes the first boundary."""

    def measure(quick: bool) -> list[Finding]:
        return [_violation(0, derivative, 0.0)]

    return measure


CLAIMS = (
    Claim(
        "2022-lemma-6",
        "2022, Lemma 6",
        "with orthogonal inputs, a unit (j, k) that is inactive stays so, at every lambda",
        _lemma_6,
        {"the inputs are correlated": _correlated},
    ),
    Claim(
        "2022-prop-2",
        "2022, Prop. 2",
        "the flow has a solution for all times if and only if sigma'(0) = 0",
        _proposition_2,
        {"sigma'(0) is 1/2": _solves(0.5), "sigma'(0) is 1": _solves(1.0)},
    ),
)
