"""The smallest network that interpolates orthogonal data (2022, Prop. 1)."""

import equinox as eqx
import jax.numpy as jnp

from .._model._dataset import Dataset
from .._model._network import Network
from .._model._shapes import Scalar
from ._orthogonal import lengths, require_orthogonal

_WHAT = "the closed form of the minimal norm"


def minimal_squared_norm(data: Dataset) -> Scalar:
    """min |theta|^2 over h(x_k) = y_k

        = 2 (sum_{y_k > 0} y_k^2 / |x_k|^2)^{1/2} + 2 (sum_{y_k < 0} y_k^2 / |x_k|^2)^{1/2}

    for orthogonal inputs, of any lengths; |theta|^2 = sum_j a_j^2 + |w_j|^2, in the squared
    units of a weight.

    Why: a_j^2 + |w_j|^2 >= 2 |a_j| |w_j|, and with v_j = |a_j| w_j, over neurons of a_j > 0 and
    samples of y_k > 0, y_k / |x_k| <= sum_j relu(<v_j, x_k / |x_k|>). As vectors over k, the
    right side has norm at most sum_j |v_j| (triangle inequality, then Bessel). The same holds
    for the negative part. One neuron each, w along sum_k y_k x_k / |x_k|^2 over its samples,
    attains both bounds. For orthonormal inputs this is 2n (|D+| + |D-|).

    Source: 2022 paper, Prop. 1 and eq. 8, there for normalised inputs.

    Raises:
        ValueError: inputs that are not orthogonal (to rounding).
    """
    return 2.0 * minimal_variation_norm(data)


def minimal_variation_norm(data: Dataset) -> Scalar:
    """min sum_j |a_j| |w_j| over h(x_k) = y_k: half of the minimal squared norm (2022, eq. 8).

    For orthogonal inputs. A network that has the minimal squared norm is balanced, and there
    a_j^2 + |w_j|^2 = 2 |a_j| |w_j|.
    """
    require_orthogonal(data, _WHAT)
    return _variation_norm(data)


@eqx.filter_jit
def _variation_norm(data: Dataset) -> Scalar:
    squares = data.y**2 / jnp.sum(data.x**2, axis=1)
    positive = jnp.sum(jnp.where(data.y > 0.0, squares, 0.0))
    negative = jnp.sum(jnp.where(data.y < 0.0, squares, 0.0))
    return jnp.sqrt(positive) + jnp.sqrt(negative)


def minimal_norm_network(data: Dataset) -> Network:
    """The interpolator of minimal |theta|^2 with two neurons, for orthogonal inputs:

        a = +-|e|^{1/2},  w = e / |e|^{1/2},   e = sum_{+-y_k > 0} |y_k| x_k / |x_k|^2.

    The first neuron fits the positive labels, the second the negative ones; it is zero where
    there are none. Every other minimiser splits these two into parallel ones (2022, Prop. 1).
    """
    require_orthogonal(data, _WHAT)
    sign = jnp.array([1.0, -1.0])
    labels = jnp.maximum(sign[:, None] * data.y, 0.0)
    effect = (labels / lengths(data) ** 2) @ data.x
    size = jnp.linalg.norm(effect, axis=1)
    root = jnp.sqrt(size)
    hidden = effect / jnp.where(size > 0.0, root, 1.0)[:, None]
    return Network(jnp.zeros(2), sign * root, hidden)
