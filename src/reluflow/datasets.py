"""The data sets of the papers.

`two_points` and `five_points` are one-dimensional with a bias coordinate, x = (u, 1).
"""

from typing import Literal

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ._checks import check_key, check_memory, check_positive_int, require_x64
from ._dataset import Dataset
from ._factorisations import qr
from ._shapes import Key


def two_points() -> Dataset:
    """x = (-0.5, 1), (2, 1) and y = -1, 1: orthogonal, not normalised (2022, Fig. 2 and 3)."""
    return Dataset(np.array([[-0.5, 1.0], [2.0, 1.0]]), np.array([-1.0, 1.0]))


def five_points() -> Dataset:
    """u = -1.5, -1, 0, 0.25, 2 with a bias; not orthogonal, the flow slides (2022, Fig. 4, 5)."""
    u = np.array([-1.5, -1.0, 0.0, 0.25, 2.0])
    return Dataset(np.stack([u, np.ones_like(u)], axis=1), np.array([0.7, -0.3, -0.3, 0.4, 0.2]))


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
