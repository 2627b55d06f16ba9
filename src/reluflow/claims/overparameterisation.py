"""What is left of the bias where Assumption 3 fails (2022, section 3.2)."""

import functools

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from .. import analysis, theory
from .._model._dataset import Dataset
from .._model._initialisation import balanced
from .._model._loss import loss
from .._model._network import Network
from ._claim import Claim
from ._finding import Finding
from ._jumping import at, failed, follow
from ._over_lambda import over_lambda
from ._problems import first, standard

_LOG_LAMBDAS = (-10.0, -30.0, -100.0, -300.0, -1000.0, -10000.0)
_SHARE = 1e-6  # of the output, below which a direction is none: what an integration leaves
_ZERO = 1e-12  # of the first loss
_LARGER = 1e-3  # how much larger than the minimum is larger
_SAMPLES = 16  # of the limit processes; widths 4n and n^2


@functools.cache
def without_assumption_3() -> tuple[Network, Dataset]:
    """The standard problem with S_+,1 or S_-,1 empty, where every sample can still be fitted."""

    def wanted(net: Network, data: Dataset) -> bool:
        report = theory.assumptions(net, data)
        rest = all(report[2022, number].holds for number in ("1", "2", "4"))
        if report[2022, "3"].holds or not rest:
            return False
        return bool(theory.limit_process(net, data).interpolates)

    return first(wanted, 0, _LOG_LAMBDAS[0])


def _narrow(quick: bool) -> list[Finding]:
    return _flows(*without_assumption_3(), quick) + _necessary(quick) + [_exponential(quick)]


def _wide(quick: bool) -> list[Finding]:
    """Assumption 3 holds: two kinks, two saddles, and the smallest norm."""
    return _flows(*standard(1), quick)


def _flows(net: Network, data: Dataset, quick: bool) -> list[Finding]:
    process = theory.limit_process(net, data)
    jumps = int(process.num_jumps)
    left, ratio, kinks, visited = {}, {}, {}, {}
    for log_lambda in _LOG_LAMBDAS[-2:-1] if quick else _LOG_LAMBDAS:
        sol = follow(at(net, log_lambda), data, process, log_lambda)
        left[log_lambda] = float(loss(sol.final, data)) / float(sol.losses[0]) + failed(sol)
        ratio[log_lambda] = float(analysis.norm_ratio(sol.final, data)) + failed(sol)
        kinks[log_lambda] = float(sum(c.share > _SHARE for c in analysis.clusters(sol.final)))
        passed = analysis.saddles(sol, data)
        at_saddles = (s.stationary and s.reached and s.index > 0 for s in passed)
        visited[log_lambda] = float(sum(at_saddles))
    return [
        over_lambda("final loss over the first", left, "<=", _ZERO),
        over_lambda("|theta|^2 over its minimum", ratio, ">=", 1.0 + _LARGER),
        over_lambda("directions that carry the fit, its kinks", kinks, ">=", 3.0),
        over_lambda("saddles on the way, one per kink", visited, "==", float(jumps)),
    ]


def _necessary(quick: bool) -> list[Finding]:
    """Over limit processes that fit everything: the norm is minimal just where 3 holds."""
    seeds = 200 if quick else 2000
    found = []
    for neurons in (64,) if quick else (64, 256):
        fits, minimal, covered, kinks = _limits(jr.split(jr.key(1), seeds), neurons, _SAMPLES)
        where = f"{int(fits.sum())} limit processes that fit all, n = {_SAMPLES}, m = {neurons}"
        mistaken, fails = int(np.sum((minimal != covered) & fits)), fits & ~covered
        found += [
            Finding(
                f"of {where}: those with minimal norm though Assumption 3 fails, or without "
                "though it holds",
                mistaken,
                "==",
                0.0,
            ),
            Finding(
                f"of {where}: the share for which it fails",
                float(fails.sum() / fits.sum()),
                ">=",
                0.5,
            ),
            Finding(
                f"of {where}: the mean number of kinks of these",
                float(np.mean(kinks[fails])),
                ">=",
                3.0,
            ),
        ]
    return found


@functools.partial(jax.jit, static_argnums=(1, 2))
def _limits(keys, neurons: int, samples: int):
    """Labels N(0, 1), of alternate signs: what is fitted, how, and whether Assumption 3 holds."""

    def one(key):
        net_key, label_key = jr.split(key)
        size = jnp.abs(jr.normal(label_key, (samples,)))
        data = Dataset(jnp.eye(samples), jnp.where(jnp.arange(samples) % 2 == 0, size, -size))
        net = balanced(net_key, neurons, samples, log_lambda=-1.0)
        process = theory.limit_process(net, data)
        least = theory.minimal_squared_norm(data)
        covered = jnp.any(theory.S_plus_1(net, data)) & jnp.any(theory.S_minus_1(net, data))
        minimal = process.final_squared_norm < least * (1.0 + 1e-9)
        return process.interpolates, minimal, covered, process.num_jumps

    return jax.vmap(one)(keys)


def _exponential(quick: bool) -> Finding:
    """How many neurons Assumption 3 takes, as they are drawn one after the other.

    n / 2 labels of either sign: a neuron is in S_+,1 with probability 2^{-n/2 - 1}, and so in
    S_-,1. The mean of the larger of the two waiting times is 3/2 of that of one, up to
    2^{-n/2}: its logarithm has the slope ln(2) / 2 in n.
    """
    seeds = 200 if quick else 1000
    sizes = (8, 12) if quick else (8, 10, 12, 14, 16)
    logs = [np.log(_waiting(jr.split(jr.key(n), seeds), 24 * 2 ** (n // 2), n)) for n in sizes]
    means = [float(np.log(np.mean(np.exp(log)))) for log in logs]
    # The spread of the larger waiting time is about 3/4 of its mean.
    error = 0.75 / np.sqrt(seeds) / np.sqrt(np.sum((np.array(sizes) - np.mean(sizes)) ** 2))
    return Finding(
        f"d ln(m) / dn, m the mean width at which Assumption 3 begins to hold, n = {sizes[0]} to "
        f"{sizes[-1]}",
        float(np.polyfit(sizes, means, 1)[0]),
        "==",
        float(np.log(2.0) / 2.0),
        3.0 * float(error),
    )


@functools.partial(jax.jit, static_argnums=(1, 2))
def _waiting(keys, most: int, samples: int):
    """The smallest width with which both sets are not empty (`most` where none is: 1e-5)."""
    sign = jnp.where(jnp.arange(samples) % 2 == 0, 1.0, -1.0)
    data = Dataset(jnp.eye(samples), sign)

    def one(key):
        net = balanced(key, most, samples, log_lambda=-1.0)
        last = [
            jnp.where(jnp.any(found), jnp.argmax(found) + 1, most)
            for found in (theory.S_plus_1(net, data), theory.S_minus_1(net, data))
        ]
        return jnp.maximum(*last).astype(jnp.float64)

    return jax.lax.map(one, keys, batch_size=50)


CLAIMS = (
    Claim(
        "2022-overparameterisation",
        "2022, section 3.2",
        "with a width polynomial in n Assumption 3 fails: zero loss, but more than two kinks, a "
        "saddle for each, and a norm that is not minimal",
        _narrow,
        {"Assumption 3 holds": _wide},
    ),
)
