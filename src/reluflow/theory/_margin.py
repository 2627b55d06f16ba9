"""The margin of a network, and how far it is from a KKT point of the max-margin problem."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy

from .._dataset import Dataset
from .._losses import AbstractLoss, as_loss, logistic
from .._network import Network, check_single_pair

_ROUNDING = 16.0 * float(np.finfo(np.float64).eps)


class MaxMarginKKT(NamedTuple):
    """How well a network meets the conditions of a KKT point; of one, both residuals are 0.

    Fields:
        margin: min_k y_k h(x_k) / |theta|^2, which a multiple of the weights does not change.
        stationarity: |theta - sum_k mu_k y_k grad h(x_k)| / |theta|.
        complementarity: sum_k mu_k (y_k h(x_k) - m) / sum_k mu_k m, with m the smallest y_k h(x_k).
        multipliers: mu, (samples,), not negative.
    """

    margin: float
    stationarity: float
    complementarity: float
    multipliers: np.ndarray


def max_margin_kkt(
    net: Network, data: Dataset, loss: AbstractLoss | Callable = logistic
) -> MaxMarginKKT:
    """The KKT conditions of min |theta|^2 subject to y_k h(x_k) >= 1, at a multiple of a network.

        theta = sum_k mu_k y_k grad h(x_k),   mu_k >= 0,   mu_k > 0 only where the margin is least.

    The flow of the logistic and of the exponential loss tends to such a point in direction, where
    it fits all labels: its residuals tend to multiples of the multipliers, and those are taken
    here, times what makes the first condition hold best. Both residuals fall like 1 / ln t.

    On a boundary the slope of a unit is the one between those on its sides that is best.

    Arguments:
        net: a single network, of any activation, with concrete weights.
        data: labels 1 and -1.
        loss: of the flow: `rf.logistic` or `rf.exponential`.

    Source: Lyu & Li 2020; Chizat & Bach 2020.

    Raises:
        ValueError: leading axes, other labels, labels that the network does not fit.
    """
    check_single_pair(net, data)
    loss = as_loss(loss)
    logistic.check_labels(data.y)
    x, y = np.asarray(data.x), np.asarray(data.y)
    (a, w), h = (np.asarray(part) for part in net.weights()), np.asarray(net(data.x))
    least = float(np.min(y * h))
    if least <= 0.0:
        raise ValueError(
            "Argument `net` must fit the signs of all labels, but the smallest y_k h(x_k) is "
            f"{least:.6g}: integrate further."
        )
    square = float(np.sum(a**2) + np.sum(w**2))
    weights = np.asarray(data.weighted(loss.residual(h, y))) * y
    weights = weights / np.max(weights)
    # Of a homogeneous h the sum of mu y <theta, grad h> is 2 sum mu y h: the best factor, where the
    # gradient is along theta.
    multipliers = weights * square / (2.0 * np.sum(weights * y * h))
    off = _off_stationary(net, a, w, x, multipliers * y)
    excess = np.sum(multipliers * (y * h - least)) / (np.sum(multipliers) * least)
    return MaxMarginKKT(least / square, off / np.sqrt(square), float(excess), multipliers)


def _off_stationary(net: Network, a, w, x, pull) -> float:
    """|theta - sum_k pull_k grad h(x_k)|, with the best slopes on boundaries."""
    p = w @ x.T
    near = _ROUNDING * np.linalg.norm(w, axis=1)[:, None] * np.linalg.norm(x, axis=1)
    minus, plus = (float(slope) for slope in net.activation.slopes())
    slope = np.where(p > 0.0, plus, minus)
    of_output = a - (slope * p) @ pull
    total = np.sum(of_output**2)
    for j, on in enumerate(np.abs(p) <= near):
        left = w[j] - a[j] * (np.where(on, 0.0, slope[j]) * pull) @ x
        if on.any():
            columns = a[j] * (pull * on)[:, None] * x
            low, high = min(minus, plus), max(minus, plus)
            free = scipy.optimize.lsq_linear(
                columns[on].T, left, (low - _ROUNDING, high + _ROUNDING)
            )
            left = left - free.x @ columns[on]
        total += left @ left
    return float(np.sqrt(total))
