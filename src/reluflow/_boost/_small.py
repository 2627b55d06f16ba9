"""Sums over a short axis, written out.

On a CPU, XLA hands a reduction or a product of small matrices to a library whose call, and whose
threads, cost ten times the arithmetic; additions are fused with what they add.
"""

import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np


def total(values: jax.Array, axis: int) -> jax.Array:
    """sum(values, axis)."""
    return jnp.squeeze(functools.reduce(operator.add, _parts(values, axis)), axis)


def small_product(matrix, values: jax.Array) -> jax.Array:
    """sum_p matrix[i, p] values[p], of shape (i, ...)."""
    # A constant is taken apart while tracing, where it costs no equations.
    known = isinstance(matrix, np.ndarray)
    columns = np.hsplit(matrix, len(values)) if known else _parts(matrix, 1)
    shape = (-1, *(1,) * (values.ndim - 1))
    pairs = zip(columns, _parts(values, 0), strict=True)
    products = [jnp.reshape(column, shape) * part for column, part in pairs]
    return functools.reduce(operator.add, products)


def _parts(values: jax.Array, axis: int):
    """The slices along an axis, which keep it, with length 1."""
    return jax.lax.split(values, (1,) * values.shape[axis], axis)
