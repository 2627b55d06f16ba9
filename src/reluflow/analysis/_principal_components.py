"""The plane in which the neurons of a network lie, as far as there is one."""

from typing import NamedTuple

import numpy as np

from .._model._network import Network, check_single
from ._alignment import unit


class PrincipalComponents(NamedTuple):
    """The top two uncentred principal components of W.

    Fields:
        components: two orthonormal rows, (2, dim); the second is 0 if dim = 1.
        explained: the share of |W|^2 = sum_j |w_j|^2 along each, (2,).
        angle: of the projection of w_j onto their plane, (neurons,).
        log_radius: ln of its length, (neurons,); -inf for 0.
    """

    components: np.ndarray
    explained: np.ndarray
    angle: np.ndarray
    log_radius: np.ndarray


def principal_components(net: Network) -> PrincipalComponents:
    """W = U S V^T: the first two rows of V^T, not centred, and where each w_j lies in their plane.

    The sign of a component, which the decomposition leaves open, is such that its neurons
    weigh more on the positive side: sum_j |w_j| <w_j, v> >= 0.

    Source: 2022, Fig. 6 and 7.

    Raises:
        ValueError: a network with leading axes.
    """
    check_single(net)
    hidden, log_norm = np.asarray(net.hidden), np.asarray(net.log_norm())
    largest = log_norm.max()
    weights = np.zeros(hidden.shape)
    alive = np.isfinite(log_norm)
    # Relative to the largest neuron: squares of weights of 1e-200 would underflow.
    weights[alive] = unit(hidden[alive]) * np.exp(log_norm[alive] - largest)[:, None]
    _, singular, rows = np.linalg.svd(weights, full_matrices=False)
    components, squares = np.zeros((2, net.dim)), np.zeros(2)
    count = min(2, len(singular))
    components[:count], squares[:count] = rows[:count], singular[:count] ** 2
    along = weights @ components.T
    side = np.linalg.norm(weights, axis=1) @ along
    components *= np.where(side < 0.0, -1.0, 1.0)[:, None]
    planar = hidden @ components.T
    with np.errstate(divide="ignore"):
        log_radius = np.log(np.linalg.norm(planar, axis=1)) + np.asarray(net.log_scale)
    explained = squares / max(np.sum(singular**2), np.finfo(np.float64).tiny)
    return PrincipalComponents(
        components, explained, np.arctan2(planar[:, 1], planar[:, 0]), log_radius
    )
