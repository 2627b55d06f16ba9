"""The growth of a cluster against the logistic equation."""

from typing import NamedTuple

import numpy as np
import scipy
from scipy.special import logsumexp

from .._checks import as_number, shortened
from .._solution import Solution
from ._trajectory import networks, saved_times


class Logistic(NamedTuple):
    """u' = rate (1 - u / capacity) u, u(half_time) = capacity / 2.

    deviation: the largest |ln u - ln fit| at the saved times; what a fit is worth.
    """

    rate: float
    capacity: float
    half_time: float
    deviation: float


def logistic_fit(sol: Solution, neurons, begin: float = -np.inf, end: float = np.inf) -> Logistic:
    """The logistic equation that u(t) = sum_{j in neurons} |w_j|^2 follows.

    For a cluster aligned with D_+ of orthonormal inputs (2022, section 4, second phase),

        u' = 2 |D_+| (1 - u / (n |D_+|)) u,

    up to what alignment and the other neurons add. The fit is by least squares in ln u, so that
    every e-folding of the growth has its weight, from whatever size.

    Arguments:
        sol: a single trajectory with its networks saved.
        neurons: indices or a mask, such as `clusters(sol.final)[0].neurons`.
        begin, end: the times between which it is fitted: leave out alignment, and later drops.

    Raises:
        ValueError: fewer than four saves in between; neurons that are 0 or that there are not.
        RuntimeError: the fit did not converge.
    """
    begin, end = as_number("begin", begin), as_number("end", end)
    nets, kept = networks(sol), saved_times(sol)
    ts = np.asarray(sol.ts)
    kept = kept & (ts >= begin) & (ts <= end)
    if kept.sum() < 4:
        raise ValueError(
            "Arguments `begin` and `end` must have at least 4 saved times between them, but they "
            f"have {int(kept.sum())}."
        )
    ts, log_norm = ts[kept], np.asarray(nets.log_norm())[kept]
    chosen = log_norm[:, _places(neurons, nets.neurons)]
    if chosen.size == 0 or np.isneginf(chosen).all(axis=1).any():
        raise ValueError("Argument `neurons` must name neurons that are not 0, but it does not.")
    log_u = logsumexp(2.0 * chosen, axis=1)
    # Beginning from the plainest of estimates.
    rate = max(np.max(np.diff(log_u) / np.diff(ts)), np.finfo(np.float64).tiny)
    half = ts[np.argmax(log_u >= log_u.max() - np.log(2.0))]
    guess = [np.log(rate), log_u.max(), half * rate]
    found = scipy.optimize.least_squares(
        lambda p: _log_logistic(ts, *p) - log_u,
        guess,
        xtol=1e-14,
        ftol=1e-14,
        gtol=1e-14,
        x_scale="jac",
    )
    if not found.success:
        raise RuntimeError(f"The logistic fit did not converge: {found.message}")
    log_rate, log_capacity, phase = found.x
    rate = float(np.exp(log_rate))
    deviation = float(np.max(np.abs(found.fun)))
    return Logistic(rate, float(np.exp(log_capacity)), float(phase / rate), deviation)


def _places(neurons, count: int) -> np.ndarray:
    """A mask or indices, as one or the other."""
    try:
        places = np.asarray(neurons)
        kind = places.dtype.kind
    except ValueError:  # lists of several lengths
        places, kind = np.zeros(()), "O"
    mask = kind == "b" and places.shape == (count,)
    indices = kind in "iu" and places.ndim == 1 and np.all((-count <= places) & (places < count))
    if not (mask or indices or (places.ndim == 1 and not places.size)):
        raise ValueError(
            f"Argument `neurons` must hold indices of the {count} neurons, or a mask of them, but "
            f"it is {shortened(neurons)}."
        )
    return places if mask else places.astype(int)


def _log_logistic(ts: np.ndarray, log_rate: float, log_capacity: float, phase: float):
    """ln u; phase = rate * half_time, of which the fit is well scaled at any lambda."""
    return log_capacity - np.logaddexp(0.0, phase - np.exp(log_rate) * ts)
