"""What happens where <w_j, x_k> = 0 (2022, Lemma 6 and Prop. 2)."""

import functools

import diffrax
import jax.numpy as jnp
import numpy as np

from .. import _modes, analysis
from .._dataset import Dataset
from .._flow import flow
from .._runge_kutta import RungeKutta
from .._solution import Solution
from ..analysis._alignment import unit
from ._claim import Claim
from ._finding import Finding
from ._problems import SAVES, draws, problem, standard
from ._sweep import LOG_LAMBDAS, worst

_SIGN = 1e-12  # of <w_j, x_k> / |w_j|: what is not above it is not positive
_STEPS = 4096  # of Euler's method over the time it takes to see the boundary's neighbourhood


def _lemma_6(quick: bool) -> list[Finding]:
    found = [
        _reactivated(data, sol)
        for seed in draws(quick)
        for _, data, sol in (problem(seed, log_lambda) for log_lambda in LOG_LAMBDAS)
    ]
    events, signs = np.sum([pair[0] for pair in found]), np.max([pair[1] for pair in found])
    where = f"{len(found)} flows, ln(lambda) from {LOG_LAMBDAS[0]:g} to {LOG_LAMBDAS[-1]:g}"
    return _no_reactivation(events, signs, where)


def _no_reactivation(events: float, signs: float, where: str) -> list[Finding]:
    return [
        Finding(f"inactive units that became active, in {where}", float(events), "==", 0.0),
        Finding("largest <w_j, x_k> / |w_j| of a unit that was inactive at a save before",
                float(signs), "<=", _SIGN),
    ]  # fmt: skip


def _reactivated(data: Dataset, sol: Solution) -> tuple[int, float]:
    """By the events of the flow, and by the signs of the saved networks, which know none."""
    cosine = unit(np.asarray(sol.networks.hidden)) @ np.asarray(data.x).T
    was_off = np.logical_or.accumulate(cosine < -_SIGN, axis=0)
    return analysis.reactivations(sol), float(np.max(cosine, where=was_off, initial=-1.0))


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
    found = worst([_first_boundary(seed) for seed in draws(quick)])
    return found + [
        _contradiction(0.0, 0.0),
        _contradiction(0.5, 0.5),
        _contradiction(1.0, 1.0),
    ]


def _first_boundary(seed: int) -> list[Finding]:
    """The first event of the flow: the velocities of <w_j, x_k> on both sides, and the mode after.

    On the inactive side it is 0, on the active one it points to the boundary: the unit cannot
    leave to either side, so <w_j, x_k> = 0 from there on, whatever sigma'(0) is.
    """
    _, data, sol = problem(seed, -100.0)
    mode = int(np.asarray(sol.events.after)[0])
    active, inactive = (_velocity(seed, derivative) for derivative in (1.0, 0.0))
    return [
        Finding("velocity of <w_j, x_k> on the active side of the first boundary, per |a_j|",
                active, "<=", 0.0),
        Finding("the same on its inactive side", inactive, "==", 0.0),
        Finding("mode of the unit from there on, 3 being at rest", mode, "==", _modes.RESTING),
    ]  # fmt: skip


def _velocity(seed: int, derivative: float) -> float:
    """sigma'(0) s_j r_k |x_k|^2 / n at the first event of the flow, r being y to rounding there.

    Inputs are orthogonal: the other samples do not enter.
    """
    net, data, sol = problem(seed, -100.0)
    j, k = (int(np.asarray(field)[0]) for field in (sol.events.neuron, sol.events.sample))
    pull = float(jnp.sign(net.output[j]) * data.y[k] * jnp.sum(data.x[k] ** 2))
    return derivative * pull / data.samples


def _contradiction(derivative: float, predicted: float) -> Finding:
    """Euler's method for eq. 39 with sigma'(0) = derivative, from the first boundary.

    As its step goes to 0 it goes to <w_j, x_k> = 0. That solves eq. 39 only if the velocity that
    eq. 39 demands there is 0 as well; the difference is given over that of the active side.
    """
    active = _velocity(0, 1.0)
    value, step = 0.0, 1.0 / _STEPS
    for _ in range(_STEPS):
        slope = 1.0 if value > 0.0 else derivative if value == 0.0 else 0.0
        value += step * slope * active
    demanded = derivative * active
    defect = abs(value - demanded) / abs(active)
    return Finding(
        f"sigma'(0) = {derivative:g}: by how much eq. 39 is violated on the boundary",
        defect, "==", predicted, 1.0 / _STEPS,
    )  # fmt: skip


def _solves(derivative: float):
    """Whether eq. 39 has a solution that passes the first boundary."""

    def measure(quick: bool) -> list[Finding]:
        return [_contradiction(derivative, 0.0)]

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
