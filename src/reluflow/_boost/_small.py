"""Sums over a short axis, written out.

On a CPU, XLA hands a reduction or a product of small matrices to a library whose call, and whose
threads, cost ten times the arithmetic; additions are fused with what they add.
"""

import functools
import operator

import jax
import jax.numpy as jnp


def total(values: jax.Array, axis: int) -> jax.Array:
    """sum(values, axis)."""
    parts = [
        jax.lax.index_in_dim(values, i, axis, keepdims=False) for i in range(values.shape[axis])
    ]
    return functools.reduce(operator.add, parts)


def small_product(matrix, values: jax.Array) -> jax.Array:
    """sum_p matrix[i, p] values[p], of shape (i, ...)."""
    matrix = jnp.asarray(matrix)
    column = (-1, *(1,) * (values.ndim - 1))
    parts = [matrix[:, p].reshape(column) * values[p] for p in range(matrix.shape[1])]
    return functools.reduce(operator.add, parts)
