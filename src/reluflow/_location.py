"""The earliest root of many functions along one step.

Along a step every guard is (to the accuracy of the solver's interpolant) a polynomial in
theta = (t - t0) / h. Its Bernstein coefficients b_0..b_q on [0, 1] come from its values at q + 1
nodes by one matrix product, and its graph lies in the convex hull of the points (i/q, b_i). So

* if no b_i is negative, there is no root: a pair of crossings inside a step, which comparing the
  signs at its two ends would miss, always shows;
* where the lower edge of the hull meets zero is a lower bound of the first root. Cutting the
  polynomial there and repeating (Bezier clipping) converges quadratically to a simple root, and
  never jumps over one.

The bound is computed for all guards, the clipping only for the few whose bound is smallest.
"""

from math import comb

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

DEGREE = 6  # of the interpolant of Dopri8; diffrax has none higher


def _nodes() -> np.ndarray:
    return (1.0 - np.cos(np.pi * np.arange(DEGREE + 1) / DEGREE)) / 2.0


def _bernstein_from_values() -> np.ndarray:
    theta = _nodes()[:, None]
    i = np.arange(DEGREE + 1)
    binomial = np.array([comb(DEGREE, k) for k in i])
    matrix = np.linalg.inv(binomial * theta**i * (1.0 - theta) ** (DEGREE - i))
    matrix[0], matrix[-1] = np.eye(DEGREE + 1)[[0, -1]]  # the ends are values: no rounding
    return matrix


NODES = _nodes()
_FROM_VALUES = _bernstein_from_values()


def bernstein(values: Float[Array, "nodes guards"]) -> Float[Array, "nodes guards"]:
    """Bernstein coefficients of the polynomials with these values at `NODES`."""
    return jnp.tensordot(jnp.asarray(_FROM_VALUES), values, axes=1)


def lower_bound(b: Float[Array, "nodes *guards"]) -> Float[Array, "*guards"]:
    """Where the lower edge of the convex hull of the control points first meets zero, or inf.

    A guard that begins at or below zero and falls has bound 0. One that begins there and rises
    is leaving its boundary: that is no root.
    """
    bound = jnp.where((b[0] <= 0.0) & (b[1] < b[0]), 0.0, jnp.inf)
    for right in range(1, DEGREE + 1):
        for left in range(right):
            falls = (b[left] > 0.0) & (b[right] < 0.0)
            slope = jnp.where(falls, b[left] - b[right], 1.0)
            meets = (left + (right - left) * b[left] / slope) / DEGREE
            bound = jnp.where(falls, jnp.minimum(bound, meets), bound)
    return bound


def _right_part(b: jax.Array, theta: jax.Array) -> jax.Array:
    """Control points of the polynomial on [theta, 1] (de Casteljau)."""
    for level in range(1, DEGREE + 1):
        last = DEGREE + 1 - level  # the points from here on are final
        b = jnp.concatenate([b[:last] + theta * (b[1 : last + 1] - b[:last]), b[last:]])
    return b


def first_roots(
    b: Float[Array, "nodes guards"], keep: int, rounds: int = 6
) -> tuple[Float[Array, " keep"], Int[Array, " keep"], Float[Array, ""]]:
    """First roots of the `keep` guards that may have the earliest ones.

    Returns (roots in increasing order, their guards, a bound below which no other guard has a
    root); inf stands for 'none'. A root that has not converged is given by its lower bound, so a
    step that ends at the smallest of roots and bound contains no root in its interior.
    """
    bounds = lower_bound(b)
    keep = min(keep, bounds.shape[0] - 1)
    guards, others = _smallest(bounds, keep)

    def clip(_, carry):
        points, start = carry
        cut = lower_bound(points)
        inside = cut < 1.0
        step = jnp.where(inside, cut, 0.0)
        points = jnp.where(inside, _right_part(points, step), points)
        start = jnp.where(inside, start + step * (1.0 - start), start)
        return points, jnp.where(jnp.isinf(cut), jnp.inf, start)

    chosen = b[:, guards]
    start = jnp.where(jnp.isinf(bounds[guards]), jnp.inf, 0.0)
    _, roots = jax.lax.fori_loop(0, rounds, clip, (chosen, start))
    order = jnp.argsort(roots)
    return roots[order], guards[order], others


def _smallest(bounds: jax.Array, keep: int) -> tuple[jax.Array, jax.Array]:
    """Where the `keep` smallest are, and the next one. (lax.top_k sorts them all on a CPU.)"""

    def take(i, carry):
        left, places = carry
        place = jnp.argmin(left).astype(jnp.int32)
        return left.at[place].set(jnp.inf), places.at[i].set(place)

    left, places = jax.lax.fori_loop(
        0, keep, take, (bounds, jnp.zeros((keep,), jnp.int32)), unroll=False
    )
    return places, jnp.min(left)
