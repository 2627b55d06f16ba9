"""The extreme rays of the arrangement of boundaries, which tell whether a way leads out of w = 0.

With the residuals frozen, the field about w = 0 is w' = a D(pattern of w), constant on each cone of
the arrangement: the gradient of a E(w),

    E(w) = 1/n sum_k r_k phi(<w, x_k>),

which is linear on each cone. A direction u with a E(u) > 0 leads out: from there a E only grows.
So whether there is one is told by the values of E at the extreme rays of the cones, along which
all but one of the independent boundaries vanish. In one dimension these are +1 and -1, in two the
directions orthogonal to an input; in more, intersections of rank - 1 boundaries.
"""

import functools
import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._support._checks import is_concrete
from .._support._factorisations import svd
from ._activation import AbstractActivation, is_relu
from ._dataset import Dataset
from ._shapes import Inputs

# Extreme rays are many in high dimensions. Up to so many intersections are looked at; and where
# the rank is not known, because the inputs are traced, so many of all sizes.
_MOST, _MOST_OF_ALL = 256, 32
_FEW = 16  # samples, for which the inputs themselves are used always: it costs nothing there
# Nearer to parallel than this, the Gram matrix is too coarse for what slides along both.
_NEARLY_PARALLEL = 1e-3
_INDEPENDENT = 1e-9  # singular values, over the largest


class Geometry(NamedTuple):
    """What is fixed about the inputs when a flow is compiled.

    rank: of the inputs; None where they cannot be looked at. precise: whether sliding units are
    held by the inputs rather than by their Gram matrix. lines: see `Dataset.lines`. two_sided:
    whether it is known that something pulls at neurons on the negative side of a boundary, as where
    two inputs are antiparallel. relu: whether the activation is `rf.relu`.
    """

    rank: int | None
    precise: bool
    lines: tuple[int, ...] | None
    two_sided: bool
    relu: bool

    @classmethod
    def of(cls, data: Dataset, activation: AbstractActivation) -> "Geometry":
        few, relu = data.samples <= _FEW, is_relu(activation)
        if not is_concrete(data.x):
            return cls(None, few, None, not relu, relu)
        rank = min(data.samples, data.dim)
        if rank <= _FEW:
            rank = max(1, int(np.linalg.matrix_rank(np.asarray(data.x), rtol=_INDEPENDENT)))
        lines, precise = data.lines(), few or data.smallest_sine() < _NEARLY_PARALLEL
        two_sided = not relu or _antiparallel(np.asarray(data.x), lines)
        return cls(rank, precise, lines, two_sided, relu)

    def is_simple(self) -> bool:
        """Whether each input is known to have a boundary of its own, at which one side is 0."""
        alone = self.lines is not None and self.lines == tuple(range(len(self.lines)))
        return alone and self.relu


def _antiparallel(x: np.ndarray, lines) -> bool:
    first = [lines.index(line) for line in lines]
    return any(x[k] @ x[first[k]] < 0.0 for k, line in enumerate(lines) if line >= 0)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def rays(x: Inputs, rank: int | None, two_sided: bool = False) -> Float[Array, "rays samples"]:
    """<u, x_k> for the extreme rays u, both signs; none where a neuron cannot come to rest at
    w = 0 and be let go again, or where there are more than can be looked at.

    With independent inputs there is a cone on which no unit is active, unless some are
    antiparallel. A neuron that comes to w = 0 goes on into it and stops: none is asked again.

    Each u is of such a length that relu(<u, x_k>) sums to 1 over k: n E(u) is a mean of residuals.
    """
    samples, dim = x.shape
    chosen = _intersections(samples, dim, rank, two_sided)
    if len(chosen) == 0:
        return jnp.zeros((0, samples))
    onto, size, _ = svd(x)
    used = size > _INDEPENDENT * size[0]
    onto = jnp.where(used, onto, 0.0)
    # Of each set: the u in the span of the inputs that is orthogonal to all of them, if it is one.
    rows = jnp.concatenate([onto, jnp.zeros_like(onto[:1])])[chosen]
    outside = jnp.broadcast_to(jnp.diag(jnp.where(used, 0.0, 1.0)), (len(chosen), *2 * used.shape))
    _, sizes, vectors = jax.vmap(svd)(jnp.concatenate([rows, outside], axis=1))
    found = vectors[:, -1] @ onto.T
    one = sizes[:, -1] <= _INDEPENDENT
    if sizes.shape[1] > 1:
        one = one & (sizes[:, -2] > _INDEPENDENT)
    found = jnp.where(one[:, None], found, 0.0)
    found = jnp.where(_crossed(chosen, samples), 0.0, found)
    both = jnp.concatenate([found, -found])
    reach = jnp.sum(jnp.maximum(both, 0.0), axis=1, keepdims=True)
    return both / jnp.where(reach > 0.0, reach, 1.0)


@rays.defjvp
def _rays_moved(rank, two_sided, primals, tangents):
    """<u, x_k> where the inputs move: u turns so that it stays on its boundaries."""
    (x,), (dx,) = primals, tangents
    samples, dim = x.shape
    found = rays(x, rank, two_sided)
    chosen = _intersections(samples, dim, rank, two_sided)
    if len(chosen) == 0:
        return found, jnp.zeros_like(found)
    inverse = jnp.linalg.pinv(x, rtol=_INDEPENDENT)
    moved = (found @ inverse.T) @ dx.T
    held = jnp.linalg.pinv(jnp.concatenate([x, jnp.zeros_like(x[:1])])[chosen], rtol=_INDEPENDENT)
    both = np.concatenate([chosen, chosen])
    off = jnp.concatenate([moved, jnp.zeros_like(moved[:, :1])], axis=1)
    off = jnp.take_along_axis(off, jnp.asarray(both), axis=1)
    turns = jnp.einsum("idk,ik->id", jnp.concatenate([held, held]), off)
    moved = jnp.where(_crossed(both, samples), 0.0, moved - turns @ x.T)
    longer = jnp.sum(jnp.where(found > 0.0, moved, 0.0), axis=1, keepdims=True)
    return found, moved - longer * found


def _crossed(chosen: np.ndarray, samples: int) -> np.ndarray:
    """Which boundaries each set has, (sets, samples)."""
    return np.any(chosen[:, :, None] == np.arange(samples), axis=1)


def _intersections(samples: int, dim: int, rank: int | None, two_sided=False) -> np.ndarray:
    """Sets of samples whose boundaries may meet in a line, padded with `samples`."""
    if (
        rank is None
        and sum(math.comb(samples, k) for k in range(min(samples, dim))) <= _MOST_OF_ALL
    ):
        sizes = range(min(samples, dim))
    else:
        rank = min(samples, dim) if rank is None else rank
        many = (samples <= rank and not two_sided) or math.comb(samples, rank - 1) > _MOST
        sizes = [] if many else [rank - 1]
    sets = [s for size in sizes for s in itertools.combinations(range(samples), size)]
    longest = max((len(s) for s in sets), default=0)
    padded = [(*s, *(samples,) * (longest - len(s))) for s in sets]
    return np.array(padded, int).reshape(len(sets), longest)


def unwatched(samples: int, dim: int) -> bool:
    """Whether neurons may rest at w = 0 without being asked again, since the rays are too many."""
    return samples > dim and len(_intersections(samples, dim, dim)) == 0
