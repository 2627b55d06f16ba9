"""Neurons that have become one: clusters of directions, and how many there are."""

from typing import NamedTuple

import numpy as np
import scipy

from .._model._network import Network, check_single
from .._support._checks import as_number
from ._alignment import unit


class Cluster(NamedTuple):
    """Neurons of one sign and one direction.

    Fields:
        neurons: their indices, the largest first.
        sign: of a_j.
        direction: the mean of w_j / |w_j|, weighted with |a_j| |w_j|, as a unit vector, (dim,).
        log_size: ln sum_j |a_j| |w_j|.
        share: of sum_j |a_j| |w_j| over the whole network.
    """

    neurons: np.ndarray
    sign: float
    direction: np.ndarray
    log_size: float
    share: float


def clusters(net: Network, tolerance: float = 1e-2) -> list[Cluster]:
    """Directions that neurons share, the largest cluster first.

    Two neurons are in one cluster if a_j has the same sign and a chain of neurons leads from one
    to the other in angles of at most `tolerance` radians. Neurons with a_j = 0 or w_j = 0 are in
    none. Sizes are |a_j| |w_j|: what one neuron in place of the cluster would have.

    Arguments:
        net: a single network.
        tolerance: in radians, in (0, pi).

    Raises:
        ValueError: leading axes, or a tolerance out of range.
    """
    check_single(net)
    tolerance = as_number("tolerance", tolerance)
    if not 0.0 < tolerance < np.pi:
        raise ValueError(f"Argument `tolerance` must lie in (0, pi), but it is {tolerance}.")
    log_size = log_sizes(net)
    (alive,) = np.nonzero(np.isfinite(log_size))
    if not len(alive):
        return []
    directions, sign = unit(np.asarray(net.hidden)[alive]), np.sign(np.asarray(net.output))[alive]
    chord = scipy.spatial.distance.cdist(directions, directions)
    near = (chord <= 2.0 * np.sin(tolerance / 2.0)) & (sign[:, None] == sign[None, :])
    count, label = scipy.sparse.csgraph.connected_components(near, directed=False)
    total = scipy.special.logsumexp(log_size)
    found = []
    for index in range(count):
        (mine,) = np.nonzero(label == index)
        size = log_size[alive[mine]]
        order = np.argsort(-size)
        whole = float(scipy.special.logsumexp(size))
        mean = unit(np.exp(size - whole) @ directions[mine])
        share = float(np.exp(whole - total))
        found.append(Cluster(alive[mine[order]], float(sign[mine[0]]), mean, whole, share))
    return sorted(found, key=lambda cluster: -cluster.log_size)


def effective_neurons(net: Network, tolerance: float = 1e-2) -> float:
    """How many neurons would do: 1 / sum_c share_c^2 over the clusters c (inverse participation).

    M for M clusters of equal size; those that are small beside the others do not count. 0 for
    a network of 0. Arguments and errors as for `clusters`.
    """
    shares = np.array([cluster.share for cluster in clusters(net, tolerance)])
    return float(1.0 / np.sum(shares**2)) if len(shares) else 0.0


def log_sizes(net: Network) -> np.ndarray:
    """ln(|a_j| |w_j|), of any size; -inf where it is 0."""
    with np.errstate(divide="ignore"):
        norms = np.log(np.abs(net.output)) + np.log(np.linalg.norm(net.hidden, axis=-1))
    return norms + 2.0 * np.asarray(net.log_scale)
