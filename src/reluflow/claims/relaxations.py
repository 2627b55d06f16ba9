"""The same picture where two assumptions hold only nearly (2022, section 3.2)."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import diffrax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from .. import analysis, theory
from .._flow import flow
from .._integration._solution import Solution
from .._model._dataset import Dataset
from .._model._initialisation import unbalanced
from .._model._loss import loss
from .._model._network import Network
from .._runge_kutta._runge_kutta import RungeKutta
from ._claim import Claim
from ._finding import Finding, Relation
from ._jumping import at, failed, follow, save_times
from ._over_lambda import over_lambda
from ._problems import NEURONS, SAMPLES, standard

_LOG_LAMBDA = -30.0  # of nearly orthogonal data: an intermediate saddle, a coherence above rounding
_ZERO = 1e-12  # of the first loss
_SAME, _OTHER = 0.01, 0.1  # differences of loss and of |theta|, relative: the same, and not
_MANY = 1e3  # what is much larger than lambda
_LOG_LAMBDAS = (-10.0, -30.0, -100.0, -300.0, -1000.0, -10000.0)
_MINIMAL = 1e-6  # of the norm: the integration's tolerance is 1e-8


def _nearly(quick: bool) -> list[Finding]:
    return _against_orthogonal(np.exp(_LOG_LAMBDA), "lambda", quick)


def _correlated(quick: bool) -> list[Finding]:
    return _against_orthogonal(0.3, "0.3", quick)


def _against_orthogonal(coherence: float, name: str, quick: bool) -> list[Finding]:
    pairs = [_pair(seed, float(coherence)) for seed in ((0,) if quick else (0, 1, 2, 3))]
    where = f"coherence {name}, the worst of {len(pairs)} seeds"
    saddles = _worst(abs(pair.saddles - pair.saddles_orthogonal) for pair in pairs)
    numbers: tuple[tuple[str, float, Relation, float], ...] = (
        ("final loss over the first", _worst(pair.left for pair in pairs), "<=", _ZERO),
        (
            "distance to the loss with orthogonal inputs, over the first loss",
            _worst(pair.apart for pair in pairs),
            "<=",
            _SAME,
        ),
        (
            "distance to its final weights, relative",
            _worst(pair.distance for pair in pairs),
            "<=",
            _SAME,
        ),
        ("saddles more or fewer than with orthogonal inputs", saddles, "==", 0.0),
    )
    return [
        Finding(f"{what}, {where}", value, relation, bound, log_lambda=_LOG_LAMBDA)
        for what, value, relation, bound in numbers
    ]


def _drastic(quick: bool) -> list[Finding]:
    return _different(_MANY * np.exp(_LOG_LAMBDA), f"{_MANY:g} lambda", quick)


def _of_order_lambda(quick: bool) -> list[Finding]:
    return _different(np.exp(_LOG_LAMBDA), "lambda", quick)


def _different(coherence: float, name: str, quick: bool) -> list[Finding]:
    pairs = [_pair(seed, float(coherence)) for seed in ((0,) if quick else (0, 1, 2, 3))]
    where = f"coherence {name}, the largest of {len(pairs)} seeds"
    return [
        Finding(
            f"distance to the loss with orthogonal inputs, over the first loss, {where}",
            _worst(pair.apart for pair in pairs),
            ">=",
            _OTHER,
            log_lambda=_LOG_LAMBDA,
        ),
        Finding(
            f"distance to its final weights, relative, {where}",
            _worst(pair.distance for pair in pairs),
            ">=",
            _OTHER,
            log_lambda=_LOG_LAMBDA,
        ),
    ]


class _Pair(NamedTuple):
    """A flow on nearly orthogonal inputs beside the flow on orthogonal ones."""

    left: float
    apart: float
    distance: float
    saddles: int
    saddles_orthogonal: int


@functools.cache
def _pair(seed: int, coherence: float) -> _Pair:
    net, data = standard(seed, _LOG_LAMBDA)
    process = theory.limit_process(net, data)
    ts = jnp.asarray(save_times(process, data.samples, _LOG_LAMBDA))
    orthogonal = follow(net, data, process, _LOG_LAMBDA)
    near = nearly_orthonormal(data, coherence, seed)
    # A Runge-Kutta solver compiles in a quarter of the time, and at this lambda is as good.
    sol = flow(
        net,
        near,
        ts[-1],
        integrator=RungeKutta(),
        saveat=diffrax.SaveAt(ts=ts),
        max_steps=100_000,
        throw=False,
    )
    if np.isnan(failed(sol) + failed(orthogonal)):
        return _Pair(np.nan, np.nan, np.nan, -1, 0)
    first_loss = float(sol.losses[0])
    return _Pair(
        left=float(loss(sol.final, near)) / first_loss,
        apart=float(jnp.max(jnp.abs(sol.losses - orthogonal.losses))) / first_loss,
        distance=_distance(sol.final, orthogonal.final),
        saddles=_saddles(sol, near),
        saddles_orthogonal=_saddles(orthogonal, data),
    )


def nearly_orthonormal(data: Dataset, coherence: float, seed: int) -> Dataset:
    """Inputs of length 1 with max |<x_k, x_l>| = coherence: (I + coherence S)^{1/2} x, S random."""
    random = np.random.default_rng(seed).uniform(-1.0, 1.0, (data.samples, data.samples))
    products = np.triu(random, 1) + np.triu(random, 1).T
    values, vectors = np.linalg.eigh(products / np.abs(products).max())
    root = (vectors * np.sqrt(1.0 + coherence * values)) @ vectors.T
    return Dataset(root @ np.asarray(data.x), data.y)


def _worst(values: Iterable[float]) -> float:
    """The largest, or NaN if one is: max() would depend on the order."""
    return float(np.max(list(values)))


def _distance(net: Network, other: Network) -> float:
    (a, w), (b, v) = net.weights(), other.weights()
    apart = jnp.sum((a - b) ** 2) + jnp.sum((w - v) ** 2)
    return float(jnp.sqrt(apart / other.squared_norm()))


def _saddles(sol: Solution, data: Dataset) -> int:
    passed = analysis.saddles(sol, data)
    return sum(s.stationary and s.reached and s.index > 0 for s in passed)


def _unbalanced(quick: bool) -> list[Finding]:
    return _starts(_LOG_LAMBDAS[-2:-1] if quick else _LOG_LAMBDAS, quick, at)


def _outer_weights_large(quick: bool) -> list[Finding]:
    """w_j of size lambda, a_j of size 1: a^0 does not scale with lambda."""

    def start(net: Network, log_lambda: float) -> Network:
        return Network(jnp.zeros(NEURONS), net.output, np.exp(log_lambda) * net.hidden)

    return _starts((-100.0,), quick, start)


def _starts(
    log_lambdas: Sequence[float], quick: bool, start: Callable[[Network, float], Network]
) -> list[Finding]:
    """From Gaussian a_j and w_j with which Assumption 3 holds."""
    left, above, saddles = {}, {}, {}
    seeds = range(2 if quick else 6)
    problems = [_gaussian(seed) for seed in seeds]
    for log_lambda in log_lambdas:
        sols = [
            (follow(start(net, log_lambda), data, process, log_lambda), data)
            for net, data, process in problems
        ]
        rest = [float(loss(s.final, d)) / float(s.losses[0]) + failed(s) for s, d in sols]
        ratios = [float(analysis.norm_ratio(s.final, d)) + failed(s) for s, d in sols]
        left[log_lambda] = _worst(rest)
        above[log_lambda] = _worst(abs(ratio - 1.0) for ratio in ratios)
        saddles[log_lambda] = float(sum(_saddles(s, d) == 2 for s, d in sols))
    worst = f"the worst of {len(seeds)} seeds"
    return [
        over_lambda(f"final loss over the first, {worst}", left, "<=", _ZERO),
        over_lambda(
            f"distance of |theta|^2 over its minimum from 1, {worst}", above, "<=", _MINIMAL
        ),
        over_lambda(
            "seeds with two saddles, the origin and one more", saddles, "==", float(len(seeds))
        ),
    ]


@functools.cache
def _gaussian(seed: int) -> tuple[Network, Dataset, theory.LimitProcess]:
    """The standard data; a_j and w_j with Assumption 3; when the limit process jumps.

    These are its jumps from a balanced start: under Assumption 3 they are 1 / |D_+| and 1 / |D_-|.
    """
    balanced, data = standard(seed)
    for key in jr.split(jr.key(seed), 1000):
        net = unbalanced(key, NEURONS, SAMPLES, log_lambda=0.0)
        if theory.assumptions(net, data)[2022, "3"].holds:
            return net, data, theory.limit_process(balanced, data)
    raise RuntimeError("None of 1000 draws satisfies Assumption 3.")


CLAIMS = (
    Claim(
        "2022-nearly-orthogonal",
        "2022, section 3.2",
        "inputs whose scalar products are of order lambda give the same picture",
        _nearly,
        {"correlated inputs": _correlated},
    ),
    Claim(
        "2022-correlated",
        "2022, section 3.2",
        "where they are much larger than lambda, the dynamics is drastically different",
        _drastic,
        {"of order lambda": _of_order_lambda},
    ),
    Claim(
        "2022-unbalanced",
        "2022, section 3.2",
        "an unbalanced initialisation, a_j Gaussian of scale lambda, gives the same picture",
        _unbalanced,
        {"a_j does not scale with lambda": _outer_weights_large},
    ),
)
