"""The samples that a network does not fit, and which of its neurons could."""

from typing import NamedTuple

import numpy as np

from .._model._dataset import Dataset
from .._model._network import Network, check_paper_pair
from .._support._checks import as_number
from ._clusters import log_sizes

# A unit whose preactivation is below this share of |w_j| |x_k| stands on its boundary: what sums
# of some hundred products leave of a zero.
_ON_BOUNDARY = 1e-10
_ROUNDING = 1e-13  # of residuals, relative to the largest label


class Unfitted(NamedTuple):
    """A sample with a residual, and the neurons on it.

    A neuron helps if it is active there and a_j r_k > 0: growing, it makes the residual smaller.

    Fields:
        sample: k.
        label, residual: y_k and r_k = y_k - h(x_k).
        share: of the loss, r_k^2 / sum r^2.
        helpers: how many neurons help, of whatever size.
        helper: the largest of them; -1 if there is none, and the sample cannot be fitted unless
            a neuron is brought to it by others.
        log_size: its ln(|a_j| |w_j|); -inf if there is none.
        opponent_log_size: of the largest active neuron with a_j r_k < 0; -inf if there is none.
        waiting: how many neurons with a_j r_k > 0 are inactive there, or stand on the boundary.
    """

    sample: int
    label: float
    residual: float
    share: float
    helpers: int
    helper: int
    log_size: float
    opponent_log_size: float
    waiting: int


def unfitted(net: Network, data: Dataset, part: float = 0.99) -> list[Unfitted]:
    """The fewest samples that make up this part of the loss, the largest residual first.

    Where inputs are linearly independent and grad L = 0, no neuron that is not 0 is active on a
    sample with a residual: D_j = 1/n sum_k alpha_jk r_k x_k = 0 leaves alpha_jk r_k = 0 for every
    k. So at a saddle all helpers are dormant, and at a local minimum there are none.

    Arguments:
        net: a single network.
        data: the data.
        part: of sum_k r_k^2, in (0, 1].

    Raises:
        ValueError: leading axes, or a part out of range.
    """
    check_paper_pair(net, data)
    part = as_number("part", part)
    if not 0.0 < part <= 1.0:
        raise ValueError(f"Argument `part` must lie in (0, 1], but it is {part}.")
    x, y = np.asarray(data.x), np.asarray(data.y)
    residual = y - np.asarray(net(data.x))
    total = np.sum(residual**2)
    if np.max(np.abs(residual)) <= _ROUNDING * np.max(np.abs(y)):
        return []
    order = np.argsort(-(residual**2))
    many = 1 + int(np.searchsorted(np.cumsum(residual[order] ** 2), part * total * (1.0 - 1e-15)))
    hidden, sign = np.asarray(net.hidden), np.sign(np.asarray(net.output))
    length = np.linalg.norm(hidden, axis=1)[:, None] * np.linalg.norm(x, axis=1)
    active, size = hidden @ x.T > _ON_BOUNDARY * length, log_sizes(net)
    found = []
    for k in order[:many]:
        right = sign * residual[k] > 0.0
        helps, opposes = right & active[:, k], ~right & active[:, k]
        helper = int(np.argmax(np.where(helps, size, -np.inf))) if helps.any() else -1
        found.append(
            Unfitted(
                int(k),
                float(y[k]),
                float(residual[k]),
                float(residual[k] ** 2 / total),
                int(helps.sum()),
                helper,
                float(size[helper]) if helper >= 0 else -np.inf,
                float(np.max(size[opposes], initial=-np.inf)),
                int(np.sum(right & ~active[:, k])),
            )
        )
    return found
