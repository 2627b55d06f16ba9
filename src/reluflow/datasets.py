"""The data sets of the papers, and small ones whose inputs share boundaries.

`two_points` and `five_points` are one-dimensional with a bias coordinate, x = (u, 1).
"""

from typing import Literal

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ._model._dataset import Dataset
from ._model._shapes import Key
from ._support._checks import (
    as_float64,
    check_bool,
    check_finite,
    check_key,
    check_memory,
    check_ndim,
    check_positive_int,
    require_x64,
)
from ._support._factorisations import qr


def two_points() -> Dataset:
    """x = (-0.5, 1), (2, 1) and y = -1, 1: orthogonal, not normalised (2022, Fig. 2 and 3)."""
    return Dataset(np.array([[-0.5, 1.0], [2.0, 1.0]]), np.array([-1.0, 1.0]))


def five_points() -> Dataset:
    """u = -1.5, -1, 0, 0.25, 2 with a bias; not orthogonal, the flow slides (2022, Fig. 4, 5)."""
    u = np.array([-1.5, -1.0, 0.0, 0.25, 2.0])
    return Dataset(np.stack([u, np.ones_like(u)], axis=1), np.array([0.7, -0.3, -0.3, 0.4, 0.2]))


def xor() -> Dataset:
    """x = (+-1, +-1) and y = x_1 x_2. Of its two boundaries each has an input and its opposite, of
    equal label; from small balanced weights the flow ends at |theta|^2 = 4 sqrt 2.
    """
    x = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    return Dataset(x, x[:, 0] * x[:, 1])


def one_dimensional(u, y, bias: bool = True) -> Dataset:
    """Regression of labels on numbers u, both of shape (samples,): x = (u, 1), or x = (u) without
    a bias.

    Without one, all inputs share the boundary w = 0, and h is linear on either side of u = 0.
    """
    check_bool("bias", bias)
    u = as_float64("u", u)
    check_ndim("u", u, ("samples",))
    check_finite("u", u)
    return Dataset(jnp.stack([u, jnp.ones_like(u)], axis=1) if bias else u[:, None], y)


def symmetric_pairs(
    key: Key, pairs: int, dim: int, labels: Literal["even", "odd", "normal"] = "even"
) -> Dataset:
    """Standard Gaussian inputs x and their opposites -x, first all x, then all -x: 2 pairs samples.

    Arguments:
        key: a JAX random key.
        pairs: how many.
        dim: d.
        labels: N(0, 1), the same for x and -x ("even"), or of opposite sign ("odd"), or
            independent ("normal").

    Raises:
        ValueError: an unknown kind of labels.
    """
    require_x64()
    check_key("key", key)
    check_positive_int("pairs", pairs)
    check_positive_int("dim", dim)
    if labels not in ("even", "odd", "normal"):
        raise ValueError(
            f"Argument `labels` must be 'even', 'odd' or 'normal', but it is {labels!r}."
        )
    check_memory("pairs", 16 * pairs * dim, f"a data set of {2 * pairs} samples")
    x_key, y_key, other_key = jr.split(key, 3)
    x = jr.normal(x_key, (pairs, dim), jnp.float64)
    y = jr.normal(y_key, (pairs,), jnp.float64)
    other = jr.normal(other_key, (pairs,), jnp.float64) if labels == "normal" else y
    other = -other if labels == "odd" else other
    return Dataset(jnp.concatenate([x, -x]), jnp.concatenate([y, other]))


def orthonormal(
    key: Key,
    samples: int,
    dim: int | None = None,
    labels: Literal["normal", "positive"] = "normal",
) -> Dataset:
    """A uniformly random orthonormal family of inputs, with labels N(0, 1) or |N(0, 1)|.

    Arguments:
        key: a JAX random key.
        samples: n.
        dim: d, at least n; n where not given.
        labels: "normal" (2022) or "positive" (2026, Fig. 1, 3, 4).

    Raises:
        ValueError: dim < samples (there is no such family), or an unknown kind of labels.
    """
    require_x64()
    check_key("key", key)
    check_positive_int("samples", samples)
    dim = samples if dim is None else dim
    check_positive_int("dim", dim)
    if dim < samples:
        raise ValueError(
            f"Argument `dim` must be at least `samples` ({samples}) for orthonormal inputs to "
            f"exist, but it is {dim}."
        )
    check_memory("dim", 16 * samples * dim, f"a family of {samples} inputs of dimension {dim}")
    if labels not in ("normal", "positive"):
        raise ValueError(f"Argument `labels` must be 'normal' or 'positive', but it is {labels!r}.")
    x_key, y_key = jr.split(key)
    gaussian = jr.normal(x_key, (dim, samples), jnp.float64)
    q, r = qr(gaussian)
    q = q * jnp.sign(jnp.diag(r))  # the sign that makes the family Haar distributed
    y = jr.normal(y_key, (samples,), jnp.float64)
    return Dataset(q.T, jnp.abs(y) if labels == "positive" else y)


def gaussian_teacher(
    key: Key, samples: int = 75, dim: int = 150, teacher_neurons: int = 6
) -> Dataset:
    """Standard Gaussian inputs, labelled by a small random ReLU network (2022, Fig. 6 and 7).

    x ~ N(0, I_d);  y_k = sum_i b_i relu(<v_i, x_k>) with v ~ N(0, I / (p d)), b ~ N(0, 1 / p)
    and p teacher neurons, as in the code published with the paper.
    """
    require_x64()
    check_key("key", key)
    for name, value in (("samples", samples), ("dim", dim), ("teacher_neurons", teacher_neurons)):
        check_positive_int(name, value)
    check_memory("samples", 8 * samples * dim, f"a data set of {samples} samples")
    x_key, v_key, b_key = jr.split(key, 3)
    x = jr.normal(x_key, (samples, dim), jnp.float64)
    v = jr.normal(v_key, (teacher_neurons, dim), jnp.float64) / np.sqrt(teacher_neurons * dim)
    b = jr.normal(b_key, (teacher_neurons,), jnp.float64) / np.sqrt(teacher_neurons)
    return Dataset(x, jax.nn.relu(x @ v.T) @ b)
