"""The flow beside the process that it tends to (2026, Theorem 2 and Fig. 1, 3, 4)."""

import functools
from typing import NamedTuple

import jax.numpy as jnp
import jax.random as jr
import numpy as np

from .. import analysis, theory
from .._integration._solution import Solution
from .._model._dataset import Dataset
from .._model._initialisation import balanced
from .._model._network import Network
from ..datasets import orthonormal
from ._claim import Claim
from ._finding import Finding
from ._jumping import at, follow
from ._over_lambda import over_lambda

_SAMPLES, _NEURONS = 64, 6  # of Fig. 1
_LOG_LAMBDAS = (-30.0, -100.0, -300.0, -1000.0, -10000.0)
_QUICK = (-1000.0, -3000.0)
_OFF = 0.02  # compact sets off the jump times: this far from them, relative to the last one
_CLOSE = 1e-6  # of weights: the integration's tolerance is 1e-8
_RATE = 0.1  # of an exponent of ln(1/lambda), known from two lambda


class _Compared(NamedTuple):
    """A flow and its limit process, in the clock s = t / ln(1/lambda)."""

    weights: float  # the largest distance off the jump times, over the largest norm
    exponents: float  # the largest distance of ln|w_j| / ln(1/lambda) from q_j, at all times
    losses: float  # the largest distance off the jump times, over the first loss
    times: float  # the largest distance of a jump time, in s; NaN where their number differs
    order: int  # jumps that another neuron makes


@functools.cache
def figure_1() -> tuple[Network, Dataset]:
    """n = d = 64, y = |N(0, 1)|, m = 6, |w_j| = a_j = lambda; the first that satisfies all.

    That is, Assumptions 1 to 4. All a_j > 0, as in the figure: the others have nothing to fit.
    """
    for key in jr.split(jr.key(0), 1000):
        data_key, net_key = jr.split(key)
        data = orthonormal(data_key, _SAMPLES, labels="positive")
        drawn = balanced(net_key, _NEURONS, _SAMPLES, log_lambda=0.0)
        size = jnp.linalg.norm(drawn.hidden, axis=1)
        net = Network(drawn.log_scale, jnp.ones(_NEURONS), drawn.hidden / size[:, None])
        if theory.assumptions(net, data).theorem_2:
            return net, data
    raise RuntimeError("None of 1000 draws satisfies the assumptions.")


@functools.cache
def followed(log_lambda: float) -> Solution:
    net, _ = figure_1()
    return _follow(at(net, log_lambda), log_lambda)


def _follow(net: Network, log_lambda: float) -> Solution:
    """Saved where the process of `figure_1` jumps at this lambda, whatever `net` is."""
    _, data = figure_1()
    return follow(net, data, process_1(), log_lambda)


@functools.cache
def process_1() -> theory.LimitProcess:
    return theory.limit_process(*figure_1())


def _compare(sol: Solution, log_lambda: float) -> _Compared:
    process = process_1()
    count, size = int(process.num_jumps), -log_lambda
    s = np.asarray(sol.ts) / size
    jumps = np.asarray(process.jump_times)[:count]
    plateau = np.searchsorted(jumps, s, side="right")
    off = np.min(np.abs(s[:, None] - jumps), axis=1) > _OFF * jumps[-1]
    a, w = map(np.asarray, sol.networks.weights())
    b, v = map(np.asarray, process.saddles().weights())
    apart = np.sum((a - b[plateau]) ** 2, axis=1) + np.sum((w - v[plateau]) ** 2, axis=(1, 2))
    largest = float(process.final_squared_norm) ** 0.5
    levels, losses = np.asarray(process.losses)[plateau], np.asarray(sol.losses)
    log_norm = np.asarray(sol.networks.log_norm()) / size
    found = analysis.jumps(sol)
    grown = np.array([jump.neurons[0] for jump in found])
    happened = np.array([jump.time for jump in found])
    same = len(found) == count
    return _Compared(
        weights=float(np.sqrt(apart[off].max())) / largest,
        exponents=float(np.abs(log_norm - np.asarray(process.exponents(s))).max()),
        losses=float(np.abs(losses - levels)[off].max()) / float(losses[0]),
        times=float(np.abs(happened / size - jumps).max()) if same else np.nan,
        order=int(np.sum(grown != np.asarray(process.neuron)[:count])) if same else count,
    )


def _limit(quick: bool) -> list[Finding]:
    log_lambdas = _QUICK if quick else _LOG_LAMBDAS
    return _findings({value: _compare(followed(value), value) for value in log_lambdas})


def _other_powers(quick: bool) -> list[Finding]:
    """|w_j| = lambda^(1 + j / m) (Assumption 3 of 2026 fails): another process altogether."""
    net, _ = figure_1()
    found = {}
    for log_lambda in _QUICK:
        powers = 1.0 + jnp.arange(_NEURONS) / _NEURONS
        start = Network(log_lambda * powers, net.output, net.hidden)
        found[log_lambda] = _compare(_follow(start, log_lambda), log_lambda)
    return _findings(found)


def _findings(compared: dict[float, _Compared]) -> list[Finding]:
    def column(name: str) -> dict[float, float]:
        return {log_lambda: float(getattr(row, name)) for log_lambda, row in compared.items()}

    low, high = sorted(compared)[:2]
    return [
        over_lambda("jumps of another neuron than predicted", column("order"), "==", 0.0),
        over_lambda(
            f"largest |theta - limit| over |theta|, {_OFF:g} off the jump times",
            column("weights"),
            "<=",
            _CLOSE,
        ),
        over_lambda(
            f"largest |L - its plateau| over the first, {_OFF:g} off the jump times",
            column("losses"),
            "<=",
            _CLOSE,
        ),
        Finding(
            "exponent of ln(1/lambda) with which the jump times converge",
            _rate(column("times"), low, high),
            "==",
            -1.0,
            _RATE,
            log_lambda=low,
        ),
        Finding(
            "exponent with which ln|w_j| / ln(1/lambda) does, at all times",
            _rate(column("exponents"), low, high),
            "==",
            -1.0,
            _RATE,
            log_lambda=low,
        ),
    ]


def _rate(values: dict[float, float], low: float, high: float) -> float:
    return float(np.log(values[low] / values[high]) / np.log(low / high))


CLAIMS = (
    Claim(
        "2026-theorem-2",
        "2026, Theorem 2",
        "as lambda tends to 0, the accelerated flow converges to the limit process of Algorithm 1, "
        "uniformly off its jump times",
        _limit,
        {"initial norms of different powers of lambda": _other_powers},
    ),
)
