"""The extreme rays of the arrangement of boundaries, which tell whether a way leads out of w = 0.

With the residuals frozen, the field about w = 0 is w' = a D(pattern of w), constant on each cone of
the arrangement: the gradient of a E(w),

    E(w) = 1/n sum_k r_k relu(<w, x_k>),

which is linear on each cone. A direction u with a E(u) > 0 leads out: from there a E only grows.
So whether there is one is told by the values of E at the extreme rays of the cones, along which
all but one of the independent boundaries vanish. In one dimension these are +1 and -1, in two the
directions orthogonal to an input; in more, intersections of dim - 1 boundaries.
"""

import itertools
import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._shapes import Inputs

# Extreme rays are many in high dimensions. Up to so many intersections are looked at.
_MOST = 256


def rays(x: Inputs) -> Float[Array, "rays samples"]:
    """<u, x_k> for the extreme rays u, both signs; none where a neuron cannot come to rest at
    w = 0 and be let go again, or where there are more than can be looked at.

    With no more inputs than dimensions there is a cone on which no unit is active. A neuron that
    comes to w = 0 goes on into it and stops: none is asked again.

    Each u is of such a length that relu(<u, x_k>) sums to 1 over k: n E(u) is a mean of residuals.
    """
    samples, dim = x.shape
    if samples <= dim or math.comb(samples, dim - 1) > _MOST:
        return jnp.zeros((0, samples))
    if dim == 1:
        onto = x.T
    else:
        chosen = np.array(list(itertools.combinations(range(samples), dim - 1)))
        onto = _null_vectors(x[chosen]) @ x.T
        onto = onto.at[np.arange(len(chosen))[:, None], chosen].set(0.0)
    both = jnp.concatenate([onto, -onto])
    reach = jnp.sum(jnp.maximum(both, 0.0), axis=1, keepdims=True)
    return both / jnp.where(reach > 0.0, reach, 1.0)


def unwatched(samples: int, dim: int) -> bool:
    """Whether neurons may rest at w = 0 without being asked again, since the rays are too many."""
    return samples > dim and math.comb(samples, dim - 1) > _MOST


def _null_vectors(rows: Float[Array, "rays less dim"]) -> Float[Array, "rays dim"]:
    """A unit vector orthogonal to each set of dim - 1 vectors."""
    if rows.shape[2] == 2:
        length = jnp.linalg.norm(rows[:, 0], axis=1, keepdims=True)
        return jnp.stack([-rows[:, 0, 1], rows[:, 0, 0]], axis=1) / length
    return jnp.linalg.svd(rows)[2][:, -1]
