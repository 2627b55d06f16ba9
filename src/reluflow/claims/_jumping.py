"""Flows that a limit process predicts, saved where it says that something happens."""

import math

import jax.numpy as jnp
import numpy as np

from .. import theory
from .._integration._results import RESULTS
from .._integration._solution import Solution
from .._model._dataset import Dataset
from .._model._network import Network
from ._problems import SAVES, run_at

_WINDOW = 15.0  # times 1 / rate: an e-folding of a neuron's norm takes 1 / rate
_FIT = 25.0  # e-foldings of the residual after the last jump
_BEYOND = 1.05  # times the last jump, to see what comes after it


def at(net: Network, log_lambda: float) -> Network:
    """The same directions at another lambda."""
    return Network(jnp.full(net.neurons, float(log_lambda)), net.output, net.hidden)


def save_times(
    process: theory.LimitProcess, samples: int, log_lambda: float, window: float = _WINDOW
) -> np.ndarray:
    """As many as in the standard run: half of them evenly, the others around the jumps.

    A jump takes a time of O(1) and comes O(1) beside its prediction, whatever lambda is: of
    evenly spaced times, small lambda would leave none in it.
    """
    count = int(process.num_jumps)
    jumps = np.asarray(process.times(log_lambda))[:count]
    rates = np.asarray(process.plateau_rates)[np.arange(count), np.asarray(process.neuron)[:count]]
    # After a jump |w|^2 = a^2 = |e|, and a residual that the neuron fits decays at |e| / n.
    decay = np.min(np.asarray(process.squared_norms)[:count]) / 2.0 / samples
    end = max(jumps[-1] + window / rates.min() + _FIT / decay, _BEYOND * jumps[-1])
    even = np.linspace(0.0, end, SAVES // 2 + 1)
    share = math.ceil((SAVES - SAVES // 2) / count)
    near = [
        t + np.linspace(-1.0, 1.0, share) * window / v for t, v in zip(jumps, rates, strict=True)
    ]
    near = np.concatenate(near)[: SAVES - SAVES // 2]
    ts = np.sort(np.concatenate([even, np.clip(near, 0.0, end)]))
    return ts + 1e-9 * end * np.arange(len(ts))  # no two at once


def failed(sol: Solution) -> float:
    """0, or NaN where the integration did not get to the end: added to what is measured on it.

    NaN fulfils no comparison: a claim cannot hold by a flow that stopped.
    """
    return 0.0 if sol.result == RESULTS.successful else np.nan


def follow(
    net: Network,
    data: Dataset,
    process: theory.LimitProcess,
    log_lambda: float,
    window: float = _WINDOW,
) -> Solution:
    """The flow from `net`, which is of this lambda, to the end of its last jump. Does not raise."""
    return run_at(net, data, save_times(process, data.samples, log_lambda, window))
