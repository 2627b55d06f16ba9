"""The Taylor expansion of the flow on one activation pattern.

The field is a polynomial in (a, p), so its Taylor coefficients follow by recursion, one product
with the Gram matrix each: with [i] the coefficient of t^i, * the Cauchy product, and r - y = -h,

    h_k[i] = sum_j weight_j c_k (a_j * p_jb)[i],    beta[i]: linear in r[i], see `Pattern`,
    (i+1) a_j[i+1] = 1/n sum_b (beta_jb * p_jb)[i],
    (i+1) c_jb[i+1] = 1/n (a_j * beta_jb)[i],       p[i+1] = c[i+1] G.

It carries the flow over the last bit of the way to an event, exact to rounding, where another
Runge-Kutta step would cost three times as much and need a guess of its length.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from . import _modes
from ._field import Neurons, Pattern, Problem, coefficients, predictions
from ._location import horner
from ._shapes import PerNeuron, Scalar

ORDER = 4


def expand(
    start: Neurons, pattern: Pattern, weight: PerNeuron, problem: Problem
) -> tuple[Neurons, Float[Array, "orders samples"]]:
    """Coefficients 0..ORDER of (a, c, p) and of the residual, along a leading axis."""
    samples, sliding = problem.samples, pattern.mode == _modes.SLIDING
    a, c, p = start.output[None], start.combination[None], start.preactivation[None]
    residual = (problem.labels - predictions(problem.arrangement, start, pattern, weight))[None]
    beta = coefficients(problem.pulls(residual[0]), pattern)[None] / samples
    for i in range(ORDER):
        # Each sum over k of terms k and i - k is one contraction with a reversed factor.
        pull = jnp.einsum("ijk,ijk->j", beta, p[::-1]) / (i + 1.0)
        push = jnp.einsum("ij,ijk->jk", a, beta[::-1]) / (i + 1.0)
        a = jnp.concatenate([a, pull[None]])
        c = jnp.concatenate([c, push[None]])
        p = jnp.concatenate([p, jnp.where(sliding, 0.0, push @ problem.gram)[None]])
        h = _product(problem, pattern, weight * a, p[::-1])
        residual = jnp.concatenate([residual, -h[None]])
        change = coefficients(problem.pulls(-h), pattern)
        beta = jnp.concatenate([beta, change[None] / samples])
    return Neurons(a, c, p), residual


def _product(problem: Problem, pattern: Pattern, a, p):
    """The coefficient of h that is the sum of these products."""
    sides = (pattern.mode == _modes.ACTIVE, pattern.mode == _modes.INACTIVE)
    if problem.arrangement.incidence is None:
        sides = sides[:1] * 2
    of_sides = (jnp.einsum("ij,ijk->k", a, jnp.where(side, p, 0.0)) for side in sides)
    return problem.arrangement.predictions(*of_sides)


def evaluate(expansion: Neurons, time: Scalar) -> Neurons:
    """The expansion at `time` from its centre."""
    powers = time ** jnp.arange(ORDER + 1, dtype=jnp.float64)
    return jax.tree.map(lambda terms: jnp.tensordot(powers, terms, axes=1), expansion)


def first_zero(g: Float[Array, "orders guards"]) -> Float[Array, " guards"]:
    """When each of these functions falls through zero near the centre; inf where it does not.

    The root of the quadratic part, in the form without cancellation, then two Newton steps on
    the whole polynomial.
    """
    discriminant = g[1] ** 2 - 4.0 * g[0] * g[2]
    falls = (g[1] < 0.0) & (discriminant >= 0.0)
    root = jnp.sqrt(jnp.where(falls, discriminant, 1.0))
    time = jnp.where(falls, 2.0 * g[0] / jnp.where(falls, root - g[1], 1.0), 0.0)
    for _ in range(2):
        value, slope = horner(g, time)
        time = jnp.where(slope < 0.0, time - value / jnp.where(slope < 0.0, slope, 1.0), time)
    return jnp.where(falls, time, jnp.inf)
