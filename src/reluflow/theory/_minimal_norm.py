"""The smallest network that interpolates orthogonal data (2022, Prop. 1)."""

import jax.numpy as jnp

from .._checks import is_concrete
from .._dataset import Dataset
from .._shapes import Scalar


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
    if is_concrete(data.x) and not data.is_orthogonal():
        raise ValueError(
            "Argument `data` must have orthogonal inputs, but it does not: the closed form of "
            "the minimal norm holds for these alone."
        )
    squares = data.y**2 / jnp.sum(data.x**2, axis=1)
    positive = jnp.sum(jnp.where(data.y > 0.0, squares, 0.0))
    negative = jnp.sum(jnp.where(data.y < 0.0, squares, 0.0))
    return 2.0 * (jnp.sqrt(positive) + jnp.sqrt(negative))
