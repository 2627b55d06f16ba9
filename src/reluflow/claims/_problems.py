"""The problems that several claims are measured on, each integrated once.

Claims share shapes on purpose: a program is compiled once a shape, and that is what they cost.
"""

import functools
from collections.abc import Callable

import diffrax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from .. import theory
from .._boost import Boost
from .._flow import flow
from .._integration._solution import Solution
from .._model._dataset import Dataset
from .._model._initialisation import balanced
from .._model._network import Network
from ..datasets import orthonormal

SAMPLES, NEURONS = 4, 40  # of the standard problem
SAVES = 400


@functools.cache
def standard(seed: int = 0, log_lambda: float = -100.0) -> tuple[Network, Dataset]:
    """Orthonormal inputs, labels of both signs, balanced neurons; Assumptions 1 to 4 of 2022 hold.

    The data are the first of their seed for which they do; a network of the same key at another
    lambda has the same directions.
    """
    return first(lambda net, data: theory.assumptions(net, data).theorem_1, seed, log_lambda)


def first(
    wanted: Callable[[Network, Dataset], bool], seed: int, log_lambda: float
) -> tuple[Network, Dataset]:
    """The first draw of the standard shape, with labels of both signs, that is as wanted."""
    for key in jr.split(jr.key(seed), 1000):
        data_key, net_key = jr.split(key)
        data = orthonormal(data_key, SAMPLES)
        net = balanced(net_key, NEURONS, SAMPLES, log_lambda=log_lambda)
        # Labels of one sign satisfy the assumptions too, with nothing to fit second.
        both = bool(jnp.any(data.y > 0.0) & jnp.any(data.y < 0.0))
        if both and wanted(net, data):
            return net, data
    raise RuntimeError("None of 1000 draws is as wanted: are the assumptions hopeless?")


def draws(quick: bool) -> range:
    """The seeds that claims about one problem are measured on."""
    return range(1) if quick else range(4)


def run(net: Network, data: Dataset, t1: float, saves: int = SAVES) -> Solution:
    """The flow, at `saves` + 1 times from 0 to t1. Does not raise; ask `sol.result`."""
    return run_at(net, data, jnp.linspace(0.0, t1, saves + 1))


def run_at(net: Network, data: Dataset, ts) -> Solution:
    """The flow, at these times; 401 of them are the shape that is compiled already."""
    ts = jnp.asarray(ts)
    return flow(net, data, ts[-1], integrator=Boost(), saveat=diffrax.SaveAt(ts=ts), throw=False)


def duration(data: Dataset, log_lambda: float) -> float:
    """Until well after the last drop of the loss: twice its predicted time, and the fit."""
    predicted = theory.phases(data, log_lambda)
    return float(2.0 * predicted.second_drop + 40.0 / predicted.rate)


def times(data: Dataset, log_lambda: float) -> np.ndarray:
    """401 times from 0 to `duration`: a third of them everywhere, the others where much happens.

    A drop lasts a few 1 / |D|, which is nothing beside its time -ln(lambda) / |D|: equal distances
    do not resolve it. Among them are the times that 2022, Fig. 1 names.
    """
    predicted, end = theory.phases(data, log_lambda), duration(data, log_lambda)
    slow, drops = 1.0 / predicted.rate, (predicted.first_drop, predicted.second_drop)
    windows = [(0.0, 20.0 * slow, 60)]
    windows += [(max(t - 10.0 * slow, 0.0), min(t + 20.0 * slow, end), 100) for t in drops]
    parts = [np.linspace(begin, stop, count + 2)[1:-1] for begin, stop, count in windows]
    named = (
        predicted.alignment,
        predicted.first_fitted,
        predicted.saddle_left,
        predicted.second_fitted,
        *drops,
    )
    ts = np.unique(np.concatenate([[0.0, end], named, *parts]))
    # What is missing fills the whole, off the round numbers that the windows begin at.
    rest = SAVES + 1 - len(ts)
    return np.sort(np.concatenate([ts, end * (np.arange(rest) + np.pi / 6.0) / rest]))


def run_to(net: Network, data: Dataset, t1: float) -> Solution:
    """The flow at 0 and, 400 times over, at t1: the shape that is compiled already, but no time
    inside a step is asked for, which is most of what `run_at` does."""
    ts = np.full(SAVES + 1, float(t1))
    ts[0] = 0.0
    return run_at(net, data, ts)


@functools.cache
def standard_run(seed: int = 0, log_lambda: float = -100.0) -> Solution:
    """At `times`: alignment and both drops are resolved, at any lambda."""
    net, data = standard(seed, log_lambda)
    return run_at(net, data, times(data, log_lambda))


def problem(seed: int = 0, log_lambda: float = -100.0) -> tuple[Network, Dataset, Solution]:
    return *standard(seed, log_lambda), standard_run(seed, log_lambda)


def saved(sol: Solution) -> np.ndarray:
    """Which of the saved times the run reached."""
    return np.isfinite(np.asarray(sol.ts))
