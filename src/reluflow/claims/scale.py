"""How small the initialisation must be for an intermediate saddle (2022, section 3.2)."""

from collections.abc import Callable

import jax.numpy as jnp
import jax.random as jr
import numpy as np

from .. import analysis, theory
from .._flow import flow
from .._integration._solution import Solution
from .._model._dataset import Dataset
from .._model._initialisation import balanced
from .._model._network import Network
from .._runge_kutta._runge_kutta import RungeKutta
from ._claim import Claim
from ._finding import Finding
from ._jumping import at, failed, follow
from ._problems import NEURONS, standard

_LARGE, _SMALL, _SMALLER = -8.0, -300.0, -1000.0  # ln(lambda): no saddle, saddle
_CLOSE = 0.1  # of the minimal norm, by the paper's "seem to converge"
_SLOPE = 1e-2  # relative: offsets of O(1) change a little with lambda as neurons align further
_WIDTH = 2.0**-7  # to which ln(lambda*) is bisected
_DENSE = 5.0  # e-foldings around a jump: saves 0.1 apart, so that the slowest moment is seen
_ABSENT = -1e7  # ln|w_j| of a neuron that cannot grow up in any of these runs
_NEAR_MINIMAL = 0.01  # what counts as having come to the minimal norm, where n is varied


def _scale(quick: bool) -> list[Finding]:
    seeds = (0, 1) if quick else (0, 1, 2, 3)
    problems = [standard(seed, _LARGE) for seed in seeds]
    found = [*_saddles(problems), _mean_field(*problems[0])]
    return found if quick else [*found, _samples()]


def _equal_pull(quick: bool) -> list[Finding]:
    """|D_+| = |D_-| (Assumption 2 fails): both signs are fitted at once, whatever lambda is."""
    net, data = standard(0, _LARGE)
    plus = float(jnp.linalg.norm(theory.D_plus(data)) / jnp.linalg.norm(theory.D_minus(data)))
    return _saddles([(net, Dataset(data.x, jnp.where(data.y > 0.0, data.y / plus, data.y)))])


def _saddles(problems: list[tuple[Network, Dataset]]) -> list[Finding]:
    large, small, ratio, slopes = [], [], [], []
    for net, data in problems:
        process = theory.limit_process(net, data)
        sol = follow(at(net, _LARGE), data, process, _LARGE)
        large.append(len(_intermediate(sol, data)))
        ratio.append(float(analysis.norm_ratio(sol.final, data)) + failed(sol))
        sols = [
            follow(at(net, log_lambda), data, process, log_lambda)
            for log_lambda in (_SMALL, _SMALLER)
        ]
        small.append(len(_intermediate(sols[1], data)))
        ahead = theory.phases(data, -1.0)
        predicted = float(ahead.second_drop - ahead.first_drop) * (_SMALL - _SMALLER)
        grown = _length(sols[1]) - _length(sols[0])
        slopes.append(grown / predicted if predicted else np.nan)
    worst = max(slopes, key=lambda slope: abs(slope - 1.0) if np.isfinite(slope) else np.inf)
    many = f"over {len(problems)} seeds"
    return [
        Finding(f"intermediate saddles at lambda = e^{_LARGE:g}, {many}", sum(large), "==", 0.0),
        Finding(
            f"largest |theta|^2 over its minimum there, {many}", np.max(ratio), "<=", 1.0 + _CLOSE
        ),
        Finding(
            f"seeds with one intermediate saddle at lambda = e^{_SMALLER:g}, {many}",
            small.count(1),
            "==",
            len(problems),
            log_lambda=_SMALLER,
        ),
        Finding(
            "growth of the time between the drops from lambda = e^-300 to e^-1000, over "
            f"(1/|D-| - 1/|D+|) ln(1/lambda), the worst {many}",
            worst,
            "==",
            1.0,
            _SLOPE,
        ),
    ]


def _intermediate(sol: Solution, data: Dataset) -> list[analysis.Saddle]:
    passed = analysis.saddles(sol, data)
    return [s for s in passed if s.stationary and s.reached and s.index > 0 and s.active.any()]


def _length(sol: Solution) -> float:
    """Between the middles of the first drop and the last: sharper than where a plateau begins."""
    halves = [p.half for p in analysis.plateaus(sol) if np.isfinite(p.half)]
    return halves[-1] - halves[0] if len(halves) > 1 else np.nan


def _mean_field(net: Network, data: Dataset) -> Finding:
    """Half of the neurons alone, and each of them twice: 1 / sqrt(m), the rest being equal.

    Alone: its twin is so small that it never comes, and of the same direction, since rates are
    compared over all neurons (`analysis.saddles`). Together they move as one neuron of sqrt(2)
    times the size.
    """
    half = NEURONS // 2
    twin = jnp.arange(NEURONS) % half
    absent = jnp.where(jnp.arange(NEURONS) < half, 0.0, _ABSENT)
    process = theory.limit_process(net, data)
    pairs = Network(jnp.zeros(NEURONS), net.output[twin], net.hidden[twin])

    def once(log_lambda: float) -> bool:
        return seen(Network(log_lambda + absent, pairs.output, pairs.hidden), log_lambda)

    def doubled(log_lambda: float) -> bool:
        return seen(at(pairs, log_lambda), log_lambda)

    def seen(start: Network, log_lambda: float) -> bool:
        sol = follow(start, data, process, log_lambda, _DENSE)
        return bool(_intermediate(sol, data))

    apart = _threshold(doubled) - _threshold(once)
    return Finding(
        f"ln(lambda*) at m = {NEURONS} minus at m = {half}, each neuron twice; lambda* the largest "
        "with an intermediate saddle",
        apart,
        "==",
        -0.5 * np.log(2.0),
        2.0 * _WIDTH,
    )


def _threshold(
    holds: Callable[[float], bool], low: float = -60.0, high: float = _LARGE, width: float = _WIDTH
) -> float:
    """The ln(lambda) above which it does not hold, between one where it does and one where not."""
    while high - low > width:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if holds(middle) else (low, middle)
    return 0.5 * (low + high)


def _samples() -> Finding:
    """n = 4, 8, 12, m = 64: labels 2 and -1 alternate, so that nothing but n is varied.

    A neuron that misses one of the n / 2 samples of its sign grows at a rate that is
    (1 - 2/n)^{1/2} of the largest: to leave it behind, lambda^{1/n} must be small.
    """
    sizes, seeds = (4, 8, 12), range(4)
    values = np.array([[_largest(size, seed) for seed in seeds] for size in sizes])
    n = np.repeat(sizes, len(seeds))
    (slope, _), covariance = np.polyfit(n, -values.ravel(), 1, cov=True)
    means = ", ".join(f"{value:.1f}" for value in values.mean(axis=1))
    return Finding(
        f"d(-ln lambda*) / dn from n = 4 to 12, above three standard errors; lambda* the largest "
        f"with |theta|^2 within 1% of its minimum, ln(lambda*) = {means}",
        float(slope),
        ">=",
        3.0 * float(np.sqrt(covariance[0, 0])),
    )


def _largest(samples: int, seed: int) -> float:
    data = Dataset(jnp.eye(samples), jnp.where(jnp.arange(samples) % 2 == 0, 2.0, -1.0))
    net = _covering(data, seed)

    def minimal(log_lambda: float) -> bool:
        ahead = theory.phases(data, log_lambda)
        t1 = ahead.second_drop + 40.0 / ahead.rate
        sol = flow(at(net, log_lambda), data, t1, integrator=RungeKutta(), throw=False)
        return float(analysis.norm_ratio(sol.final, data)) + failed(sol) <= 1.0 + _NEAR_MINIMAL

    return _threshold(minimal, -64.0, -1.0, 1.0)


def _covering(data: Dataset, seed: int) -> Network:
    """The first of its seed that satisfies Assumption 3."""
    for key in jr.split(jr.key(seed), 10_000):
        net = balanced(key, 64, data.dim, log_lambda=-1.0)
        if bool(theory.S_plus_1(net, data).any()) and bool(theory.S_minus_1(net, data).any()):
            return net
    raise RuntimeError("None of 10000 draws satisfies Assumption 3.")


CLAIMS = (
    Claim(
        "2022-scale",
        "2022, section 3.2",
        "without a small lambda there is no intermediate saddle, though the norm is almost "
        "minimal; it takes lambda of order e^-Theta(n) / sqrt(m)",
        _scale,
        {"|D_+| = |D_-|": _equal_pull},
    ),
)
