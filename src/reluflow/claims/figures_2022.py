"""What the figures of the 2022 paper show (Fig. 2 and 3, 4, 5), in numbers.

The published code has w ~ N(0, lambda^2), lambda = scale / (m d)^{1/2} with the bias counted in d,
and one of its iterations is 2e-3 of time. It is unseeded: what is read off a figure is compared
with the spread over seeds.
"""

import functools

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from .. import analysis, theory
from .._flow import flow
from .._integration._solution import Solution
from .._model._dataset import Dataset
from .._model._initialisation import balanced
from .._model._network import Network
from .._runge_kutta._runge_kutta import RungeKutta
from ..datasets import five_points, two_points
from ._claim import Claim
from ._finding import Finding
from ._problems import SAVES

_NEURONS = 60
_ITERATION = 2e-3
_LEAVES = 5200 * _ITERATION, 10700 * _ITERATION  # Fig. 3
_ENDS = {1e-4: 700.0, 10.0: 20_000 * _ITERATION}  # Fig. 4 by scale, a little longer; Fig. 5
_LEFT = 0.01  # of the next fall: where a curve is seen to leave a plateau
_SPREAD = 3.0  # standard deviations over seeds
_BENDS = 1e-3  # of the largest: a change of slope that is seen in a figure
_GROUP = 0.01  # of the output: a group that is
_FITTED = 1e-3  # of the first loss, which is 0 in a figure
_TURNS = 0.1  # radians
_LAZY, _KERNEL = 0.5, 0.05  # the weights move little, and the outputs as the kernel says


@functools.cache
def _run(points: int, scale: float, t1: float, seed: int) -> tuple[Network, Dataset, Solution]:
    data = two_points() if points == 2 else five_points()
    log_lambda = np.log(scale / np.sqrt(_NEURONS * data.dim))
    net = balanced(jax.random.key(seed), _NEURONS, data.dim, log_lambda=log_lambda)
    ts = jnp.linspace(0.0, t1, SAVES + 1)
    saveat = diffrax.SaveAt(ts=ts)
    return net, data, flow(net, data, t1, integrator=RungeKutta(), saveat=saveat, throw=False)


def _two_points(quick: bool) -> list[Finding]:
    return _saddle_times(1e-6, quick)


def _two_points_larger(quick: bool) -> list[Finding]:
    return _saddle_times(1e-4, quick)


def _saddle_times(scale: float, quick: bool) -> list[Finding]:
    seeds = range(5 if quick else 20)
    runs = [_run(2, scale, 40.0, seed) for seed in seeds]
    times = np.array([_leaving(sol) for _, _, sol in runs])
    kinks = max(len(analysis.kinks(sol.final, data, _BENDS)) for _, data, sol in runs)
    left = max(float(sol.losses[-1] / sol.losses[0]) for _, _, sol in runs)
    mean, spread = times.mean(axis=0), _SPREAD * times.std(axis=0, ddof=1)
    where = f"scale {scale:g}, mean of {len(seeds)} seeds and {_SPREAD:g} standard deviations"
    return [
        *(
            Finding(
                f"time at which the {name} saddle is left, {where}",
                mean[i],
                "==",
                _LEAVES[i],
                spread[i],
            )
            for i, name in enumerate(("first", "second"))
        ),
        Finding(f"final loss over the first, scale {scale:g}", left, "<=", _FITTED),
        Finding(f"most kinks of a final fit, scale {scale:g}", kinks, "==", 2.0),
    ]


def _leaving(sol: Solution) -> tuple[float, float]:
    """When 1% of the fall from each of the first two plateaus is done; NaN without two."""
    found = analysis.plateaus(sol)
    if len(found) < 2:
        return np.nan, np.nan
    ts, losses = np.asarray(sol.ts), np.asarray(sol.losses)
    levels = (found[0].loss, found[1].loss, float(losses[-1]))
    marks = [levels[i] + _LEFT * (levels[i + 1] - levels[i]) for i in (0, 1)]
    first, second = (float(np.interp(-np.log(mark), -np.log(losses), ts)) for mark in marks)
    return first, second


def _five_points(quick: bool) -> list[Finding]:
    return _rich(1e-4, quick)


def _five_points_large(quick: bool) -> list[Finding]:
    return _rich(10.0, quick)


def _rich(scale: float, quick: bool) -> list[Finding]:
    fewest, groups, kinks, left, turned = [], [], [], [], []
    samples = 5
    for seed in range(1 if quick else 4):
        _, data, sol = _run(samples, scale, _ENDS[scale], seed)
        passed = [s for s in analysis.saddles(sol, data) if s.active.any() and s.index > 0]
        fewest.append(len(passed))
        kinks.append(len(analysis.kinks(sol.final, data, _BENDS)))
        left.append(float(sol.losses[-1] / sol.losses[0]))
        if passed:
            shares = [c.share for c in analysis.clusters(passed[0].network)]
            groups.append(sum(share > _GROUP for share in shares))
            turned.append(_turned(passed[0], sol.final))
    where = f"scale {scale:g}, {len(left)} seeds"
    return [
        Finding(f"fewest intermediate saddles, {where}", min(fewest), ">=", 1.0),
        Finding(
            f"most groups of neurons, 0.01 rad apart, at the first, {where}",
            max(groups, default=np.nan),
            "==",
            2.0,
        ),
        Finding(
            f"least angle that one of them still turns while it grows, {where}",
            min(turned, default=np.nan),
            ">=",
            _TURNS,
        ),
        Finding(f"final loss over the first, {where}", max(left), "<=", _FITTED),
        Finding(
            f"most kinks of a final fit, of {_NEURONS} neurons, {where}",
            max(kinks),
            "<=",
            samples,
        ),
    ]


def _turned(saddle: analysis.Saddle, final: Network) -> float:
    """The largest angle from the saddle to the end, over neurons that are not 0 there."""
    before, after = (np.asarray(net.hidden)[saddle.active] for net in (saddle.network, final))
    cosine = np.sum(before * after, axis=1)
    cosine /= np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    return float(np.arccos(np.clip(cosine, -1.0, 1.0)).max())


def _lazy(quick: bool) -> list[Finding]:
    return _kernel(10.0, quick)


def _not_lazy(quick: bool) -> list[Finding]:
    return _kernel(1e-4, quick)


def _kernel(scale: float, quick: bool) -> list[Finding]:
    saddles, moved, apart, kinks = [], [], [], []
    for seed in range(1 if quick else 4):
        net, data, sol = _run(5, scale, _ENDS[scale], seed)
        saddles.append(len(analysis.saddles(sol, data)))
        (a, w), (b, v) = net.weights(), sol.final.weights()
        change = jnp.sum((a - b) ** 2) + jnp.sum((w - v) ** 2)
        moved.append(float(jnp.sqrt(change / net.squared_norm())))
        kernel = theory.kernel_flow(net, data)
        outputs = sol.networks(data.x)
        distance = jnp.max(jnp.abs(outputs - kernel.predictions(sol.ts)))
        apart.append(float(distance / jnp.max(jnp.abs(data.y - kernel.initial))))
        kinks.append(len(analysis.kinks(sol.final, data, _BENDS)))
    where = f"scale {scale:g}, {len(moved)} seeds"
    return [
        Finding(f"most saddles, {where}", max(saddles), "==", 0.0),
        Finding(f"largest |theta - theta(0)| over |theta(0)|, {where}", max(moved), "<=", _LAZY),
        Finding(
            f"largest distance of the outputs to those with the first kernel, over that of the "
            f"labels, {where}",
            max(apart),
            "<=",
            _KERNEL,
        ),
        Finding(
            f"fewest kinks of a final fit, of {_NEURONS} neurons, {where}",
            min(kinks),
            ">=",
            _NEURONS / 2,
        ),
    ]


CLAIMS = (
    Claim(
        "2022-figure-3",
        "2022, Fig. 2 and 3",
        "on two points the loss leaves two saddles near iterations 5200 and 10700; the fit has two "
        "kinks",
        _two_points,
        {"scale 1e-4": _two_points_larger},
    ),
    Claim(
        "2022-figure-4",
        "2022, Fig. 4",
        "on five points two groups of neurons grow to an intermediate saddle, which turn as they "
        "grow on; the fit has few kinks",
        _five_points,
        {"scale 10": _five_points_large},
    ),
    Claim(
        "2022-figure-5",
        "2022, Fig. 5",
        "at scale 10 the flow passes no saddle, and is that of the kernel at initialisation",
        _lazy,
        {"scale 1e-4": _not_lazy},
    ),
)
