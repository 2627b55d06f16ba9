"""The loss of a network on data."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._dataset import Dataset
from ._losses import AbstractLoss, as_loss, square
from ._network import Network, check_pair


def loss(
    net: Network, data: Dataset, loss: AbstractLoss | Callable = square
) -> Float[Array, "*#batch"]:
    """L = 1/n sum_k omega_k l(h(x_k), y_k); by default 1/(2n) sum_k (h(x_k) - y_k)^2.

    Half the mean squared error: the code published with the 2022 paper minimises and plots 2L.
    Leading axes of `net` (time, lanes) are kept.

    Arguments:
        net, data: the network and the data, whose weights are omega.
        loss: `rf.square`, `rf.logistic`, `rf.exponential`, or a function l(h, y).
    """
    check_pair(net, data)
    loss = as_loss(loss)
    loss.check_labels(data.y)
    return mean_loss(net, data, loss)


@eqx.filter_jit
def mean_loss(net: Network, data: Dataset, loss: AbstractLoss) -> Float[Array, "*#batch"]:
    h = net(data.x)
    return data.mean(loss(h, jnp.broadcast_to(data.y, h.shape)))
