"""The kinks of a one-dimensional fit: where it bends, and by how much."""

from typing import NamedTuple

import numpy as np

from .._model._dataset import Dataset
from .._model._network import Network, check_paper_pair
from .._support._checks import as_number


class Kink(NamedTuple):
    """position: u; change: of the slope of u -> h((u, c)), from left to right; neurons: whose
    kinks these are."""

    position: float
    change: float
    neurons: np.ndarray


def kinks(net: Network, data: Dataset, tolerance: float = 1e-6) -> list[Kink]:
    """The kinks of u -> h((u, c)), from left to right, for inputs x = (u, c) with a bias c.

    Neuron j bends at u = -c w_b / w_u, and there the slope changes by a_j |w_u|: from 0 to
    a_j w_u where w_u > 0, from a_j w_u to 0 where w_u < 0. Kinks at the same place are one, and
    their changes add (or cancel). A neuron with w_u = 0 has none.

    Arguments:
        net: a single network.
        data: says what c is, and how long the interval of the inputs is.
        tolerance: kinks are merged where neighbours are closer than this share of that length,
            and left out where their change is below this share of the largest.

    Raises:
        ValueError: leading axes, or inputs that are not of this form.
    """
    check_paper_pair(net, data)
    tolerance = as_number("tolerance", tolerance)
    if not 0.0 <= tolerance < 1.0:
        raise ValueError(f"Argument `tolerance` must lie in [0, 1), but it is {tolerance}.")
    if not is_line(data):
        raise ValueError(
            "Argument `data` must have inputs (u, c), one-dimensional with a constant bias "
            "coordinate c, but it does not: a kink has no position."
        )
    x = np.asarray(data.x)
    a, w = map(np.asarray, net.weights())
    # Positions from directions, which do not underflow; changes below 1e-308 are none.
    hidden = np.asarray(net.hidden)
    (bends,) = np.nonzero(hidden[:, 0])
    position = -x[0, 1] * hidden[bends, 1] / hidden[bends, 0]
    change = a[bends] * np.abs(w[bends, 0])
    order = np.argsort(position)
    bends, position, change = bends[order], position[order], change[order]
    apart = np.diff(position) > tolerance * np.ptp(x[:, 0])
    found = []
    for mine in np.split(np.arange(len(bends)), np.flatnonzero(apart) + 1):
        weight = np.abs(change[mine])
        if weight.sum() > 0.0:
            middle = np.average(position[mine], weights=weight)
            found.append(Kink(float(middle), float(change[mine].sum()), bends[mine]))
    largest = max((abs(kink.change) for kink in found), default=0.0)
    return [kink for kink in found if abs(kink.change) > tolerance * largest]


def is_line(data: Dataset) -> bool:
    """Whether inputs are (u, c): one-dimensional with a bias coordinate."""
    x = np.asarray(data.x)
    return data.dim == 2 and bool(np.all(x[:, 1] == x[0, 1])) and bool(x[0, 1] != 0.0)
