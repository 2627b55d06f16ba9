"""The earliest root of many functions along one step.

Along a step every guard is (to the accuracy of the solver's interpolant) a polynomial in
theta = (t - t0) / h. Its Bernstein coefficients b_0..b_q on [0, 1] come from its values at q + 1
nodes by one matrix product, and its graph lies in the convex hull of the points (i/q, b_i). So

* if no b_i is negative, there is no root: a pair of crossings inside a step, which comparing the
  signs at its two ends would miss, always shows;
* where the lower edge of the hull meets zero is a lower bound of the first root.

The bound is computed for all guards; Newton's method starts there for the few whose bound is
smallest. Its root only says where the next step should end: that step is judged in the same way,
so a root that was jumped over shows again, and more clearly the shorter the step is.
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
_BERNSTEIN_FROM_VALUES = _bernstein_from_values()
_MONOMIAL_FROM_VALUES = np.linalg.inv(np.vander(NODES, increasing=True))


def bernstein(values: Float[Array, "nodes guards"]) -> Float[Array, "nodes guards"]:
    """Bernstein coefficients of the polynomials with these values at `NODES`."""
    return jnp.tensordot(jnp.asarray(_BERNSTEIN_FROM_VALUES), values, axes=1)


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


def first_roots(
    values: Float[Array, "nodes guards"], keep: int
) -> tuple[Float[Array, " keep"], Int[Array, " keep"], Float[Array, ""]]:
    """First roots of the `keep` guards that may have the earliest ones.

    Arguments:
        values: of the guards at `NODES`.
        keep: of how many guards to find the root.

    Returns (roots in increasing order, their guards, a bound below which no other guard has a
    root); inf stands for 'none'. Where Newton's method does not find the root that the hull
    suspects, its lower bound is given, and the step taken to it decides.
    """
    bounds = lower_bound(bernstein(values))
    # Padded for problems with fewer guards than that.
    bounds = jnp.concatenate([bounds, jnp.full((max(0, keep + 1 - bounds.shape[0]),), jnp.inf)])
    guards, others = _smallest(bounds, keep)
    guards = jnp.minimum(guards, values.shape[1] - 1)
    bound = bounds[guards]
    roots = _newton(jnp.asarray(_MONOMIAL_FROM_VALUES) @ values[:, guards], bound)
    order = jnp.argsort(roots)
    return roots[order], guards[order], others


def _newton(terms: Float[Array, "powers keep"], bound: Float[Array, " keep"], rounds: int = 5):
    """Roots of polynomials in monomial form, from their lower bounds."""
    theta = jnp.where(bound < 1.0, bound, 0.0)
    scale = jnp.max(jnp.abs(terms), axis=0)
    for _ in range(rounds):
        value, slope = horner(terms, theta)
        falls = slope < 0.0
        theta = jnp.where(falls, theta - value / jnp.where(falls, slope, 1.0), theta)
        theta = jnp.clip(theta, 0.0, 1.0)
    value, slope = horner(terms, theta)
    found = (
        (jnp.abs(value) <= 1e-6 * scale) & (slope < 0.0) & (theta < 1.0) & (theta >= bound - 1e-9)
    )
    return jnp.where(found, theta, jnp.where(bound < 1.0, bound, jnp.inf))


def horner(terms: Float[Array, "powers *many"], at: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Polynomials with coefficients terms[power] and their derivatives."""
    value, slope = terms[-1], jnp.zeros_like(at)
    for coefficient in terms[-2::-1]:
        slope = slope * at + value
        value = value * at + coefficient
    return value, slope


def _smallest(bounds: jax.Array, keep: int) -> tuple[jax.Array, jax.Array]:
    """Where the `keep` smallest are, and the next one.

    By plain minima: on a CPU, lax.top_k sorts them all, and an argmin does not vectorise.
    """
    index = jnp.arange(bounds.shape[0], dtype=jnp.int32)

    def take(i, carry):
        left, places = carry
        place = jnp.min(jnp.where(left == jnp.min(left), index, bounds.shape[0]))
        return jnp.where(index == place, jnp.inf, left), places.at[i].set(place)

    left, places = jax.lax.fori_loop(0, keep, take, (bounds, jnp.zeros((keep,), jnp.int32)))
    return places, jnp.min(left)
