"""The square loss, in the papers' normalisation."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._dataset import Dataset
from ._network import Network, check_pair


def loss(net: Network, data: Dataset) -> Float[Array, "*#batch"]:
    """L = 1/(2n) sum_k (h(x_k) - y_k)^2.

    Half the mean squared error: the code published with the 2022 paper minimises and plots 2L.
    Leading axes of `net` (time, lanes) are kept.
    """
    check_pair(net, data)
    return _loss(net, data)


@eqx.filter_jit
def _loss(net: Network, data: Dataset) -> Float[Array, "*#batch"]:
    return jnp.mean((data.y - net(data.x)) ** 2, axis=-1) / 2.0
