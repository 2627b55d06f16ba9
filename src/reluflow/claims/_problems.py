"""The problems that several claims are measured on, each integrated once.

Claims share shapes on purpose: a program is compiled once a shape, and that is what they cost.
"""

import functools

import diffrax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from .. import theory
from .._boost import Boost
from .._dataset import Dataset
from .._flow import flow
from .._initialisation import balanced
from .._network import Network
from .._solution import Solution
from ..datasets import orthonormal

SAMPLES, NEURONS = 4, 40  # of the standard problem
SAVES = 400


@functools.cache
def standard(seed: int = 0, log_lambda: float = -100.0) -> tuple[Network, Dataset]:
    """Orthonormal inputs, labels of both signs, balanced neurons; Assumptions 1 to 4 of 2022 hold.

    The data are the first of their seed for which they do; a network of the same key at another
    lambda has the same directions.
    """
    for key in jr.split(jr.key(seed), 1000):
        data_key, net_key = jr.split(key)
        data = orthonormal(data_key, SAMPLES)
        net = balanced(net_key, NEURONS, SAMPLES, log_lambda=log_lambda)
        if theory.assumptions(net, data).theorem_1:
            return net, data
    raise RuntimeError("None of 1000 draws satisfies the assumptions: is Assumption 3 hopeless?")


def run(net: Network, data: Dataset, t1: float, saves: int = SAVES) -> Solution:
    """The flow, at `saves` + 1 times from 0 to t1. Does not raise; ask `sol.result`."""
    ts = jnp.linspace(0.0, t1, saves + 1)
    return flow(net, data, t1, integrator=Boost(), saveat=diffrax.SaveAt(ts=ts), throw=False)


def duration(data: Dataset, log_lambda: float) -> float:
    """Until well after the last drop of the loss: twice its predicted time, and the fit."""
    predicted = theory.phases(data, log_lambda)
    return float(2.0 * predicted.second_drop + 40.0 / predicted.rate)


@functools.cache
def standard_run(seed: int = 0, log_lambda: float = -100.0) -> Solution:
    net, data = standard(seed, log_lambda)
    return run(net, data, duration(data, log_lambda))


def saved(sol: Solution) -> np.ndarray:
    """Which of the saved times the run reached."""
    return np.isfinite(np.asarray(sol.ts))
