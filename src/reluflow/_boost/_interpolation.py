"""The polynomial through the nodes of a step, and that through all its points, elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np

from ._collocation import NODES, POINTS


def lagrange(s: jax.Array) -> jax.Array:
    """The Lagrange polynomials of the nodes at s, shape (nodes, *s.shape)."""
    return _through(NODES, s)


def lagrange_of_points(s: jax.Array) -> jax.Array:
    """The Lagrange polynomials of all points at s, shape (points, *s.shape)."""
    return _through(POINTS, s)


def _through(points: np.ndarray, s: jax.Array) -> jax.Array:
    """prod_{j != i} (s - s_j) / (s_i - s_j): one kernel, where a recurrence would be a dozen."""
    apart = points[:, None] - points + np.eye(len(points))
    column = (-1, *(1,) * jnp.ndim(s))
    index = np.arange(len(points)).reshape(column)
    values = jnp.asarray(1.0 / np.prod(apart, axis=1)).reshape(column)
    for j, point in enumerate(points):
        values = values * jnp.where(index == j, 1.0, s - point)
    return values
