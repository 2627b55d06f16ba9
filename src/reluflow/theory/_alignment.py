"""The two directions that neurons align with, and the neurons that fit all of a sign (2022)."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._model._dataset import Dataset
from .._model._network import Network, check_as_in_papers, check_pair
from .._support._checks import check_type


def D_plus(data: Dataset) -> Float[Array, " dim"]:
    """D_+ = 1/n sum_{y_k > 0} y_k x_k (2022, section 4.1)."""
    check_type("data", data, Dataset)
    check_as_in_papers(data=data)
    return _pull(data, data.y > 0.0)


def D_minus(data: Dataset) -> Float[Array, " dim"]:
    """D_- = 1/n sum_{y_k < 0} y_k x_k; the neurons of a_j < 0 align with -D_- (2022, 4.1)."""
    check_type("data", data, Dataset)
    check_as_in_papers(data=data)
    return _pull(data, data.y < 0.0)


def S_plus_1(net: Network, data: Dataset) -> Bool[Array, "*#batch neurons"]:
    """S_{+,1}: a_j > 0, and <w_j, x_k> > 0 for every y_k > 0 (2022, eq. 5).

    The paper has >= 0. A unit exactly on its boundary, an event of probability 0 there, stays
    inactive in the flow (sigma'(0) = 0): its neuron does not fit the sample, and is not counted.
    """
    return _covering(net, data, 1.0)


def S_minus_1(net: Network, data: Dataset) -> Bool[Array, "*#batch neurons"]:
    """S_{-,1}: a_j < 0, and <w_j, x_k> > 0 for every y_k < 0 (2022, eq. 6); see `S_plus_1`."""
    return _covering(net, data, -1.0)


def _pull(data: Dataset, which: Bool[Array, " samples"]) -> Float[Array, " dim"]:
    return jnp.where(which, data.y, 0.0) @ data.x / data.samples


def _covering(net: Network, data: Dataset, sign: float) -> Bool[Array, "*#batch neurons"]:
    check_pair(net, data)
    check_as_in_papers(net, data)
    needed = sign * data.y > 0.0
    active = net.preactivations(data.x) > 0.0
    return (sign * net.output > 0.0) & jnp.all(active | ~needed, axis=-1)
