"""The Taylor expansion of the flow on one activation pattern.

The field is a polynomial in (a, p), so its Taylor coefficients follow by recursion, one product
with the Gram matrix each: with [i] the coefficient of t^i and * the Cauchy product,

    h_k[i] = sum_j weight_j s_jk c_k (a_j * p_jb)[i],    beta[i]: linear in r[i], see `Pattern`,
    (i+1) a_j[i+1] = 1/n sum_b (beta_jb * p_jb)[i],
    (i+1) c_jb[i+1] = 1/n (a_j * beta_jb)[i],       p[i+1] = c[i+1] G,

and the residual follows from h: of the square loss, r - y = -h. Time is in a unit near the flow's
own, a power of two: a flow of age 1e100 changes in times of 1e100, of which float64 has no powers.

It carries the flow over the last bit of the way to an event, exact to rounding, where another
Runge-Kutta step would cost three times as much and need a guess of its length.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._dynamics._field import Neurons, Pattern, Problem, coefficients, predictions
from .._model import _modes
from .._model._shapes import PerNeuron, PerSample, Scalar
from .._support._powers_of_two import exponent_of, power_of_two
from ._location import horner

ORDER = 4


class Expansion(eqx.Module):
    """Coefficients 0..ORDER of (a, c, p), of h and of the residual, along a leading axis; for time
    in this unit."""

    neurons: Neurons
    h: Float[Array, "orders samples"]
    residual: Float[Array, "orders samples"]
    unit: Scalar

    def velocity(self) -> Neurons:
        return jax.tree.map(lambda terms: terms[1] / self.unit, self.neurons)

    def dissipation(self) -> Scalar:
        """r K r = sum_k r_k h_k'."""
        return self.residual[0] @ self.h[1] / self.unit

    def after(self, time: Scalar) -> Neurons:
        """The neurons at `time` from the centre."""
        powers = (time / self.unit) ** jnp.arange(ORDER + 1, dtype=jnp.float64)
        return jax.tree.map(lambda terms: jnp.tensordot(powers, terms, axes=1), self.neurons)

    def loss(self, problem: Problem) -> Float[Array, " orders"]:
        """Of L, from L' = -1/n sum_k r_k h_k'."""
        terms = [problem.mean_loss(self.h[0])]
        for i in range(ORDER):
            falls = sum(self.residual[m] * self.h[i + 1 - m] * (i + 1.0 - m) for m in range(i + 1))
            terms.append(-jnp.mean(falls) / (i + 1.0))
        return jnp.stack(terms)


def expand(
    start: Neurons, pattern: Pattern, weight: PerNeuron, problem: Problem, near: Scalar
) -> Expansion:
    """near: a time of the size of the flow's own."""
    unit = power_of_two(exponent_of(near))
    samples, sliding = problem.samples, pattern.mode == _modes.SLIDING
    a, c, p = start.output[None], start.combination[None], start.preactivation[None]
    h = predictions(problem.arrangement, start, pattern, weight)[None]
    residual_of = _Composed(problem, h[0])
    residual = residual_of.term(h)[None]
    beta = coefficients(problem.pulls(residual[0]), pattern)[None] / samples
    for i in range(ORDER):
        # Each sum over k of terms k and i - k is one contraction with a reversed factor.
        pull = unit * jnp.einsum("ijk,ijk->j", beta, p[::-1]) / (i + 1.0)
        push = unit * jnp.einsum("ij,ijk->jk", a, beta[::-1]) / (i + 1.0)
        a = jnp.concatenate([a, pull[None]])
        c = jnp.concatenate([c, push[None]])
        p = jnp.concatenate([p, jnp.where(sliding, 0.0, push @ problem.gram)[None]])
        h = jnp.concatenate([h, _product(problem, pattern, weight * a, p[::-1])[None]])
        change = residual_of.term(h)
        residual = jnp.concatenate([residual, change[None]])
        beta = jnp.concatenate([beta, coefficients(problem.pulls(change), pattern)[None] / samples])
    return Expansion(Neurons(a, c, p), h, residual, unit)


class _Composed:
    """The residual as a series, from that of h: sum_m r^(m)(h[0]) (h - h[0])^m / m!."""

    def __init__(self, problem: Problem, h: PerSample):
        count = 2 if problem.loss.quadratic else ORDER + 1
        self.derivatives = problem.derivatives(h, count)

    def term(self, h: Float[Array, "orders samples"]) -> PerSample:
        """The coefficient after as many as h has, less one."""
        order = h.shape[0] - 1
        if order == 0:
            return self.derivatives[0]
        steps = [jnp.zeros_like(h[0]), *h[1:]]
        power, factorial, found = steps, 1.0, jnp.zeros_like(h[0])
        for m, derivative in enumerate(self.derivatives[1:], start=1):
            factorial = factorial * m
            found = found + derivative * power[order] / factorial
            power = [
                sum((steps[k] * power[i - k] for k in range(i + 1)), jnp.zeros_like(h[0]))
                for i in range(order + 1)
            ]
        return found


def _product(problem: Problem, pattern: Pattern, a, p):
    """The coefficient of h that is the sum of these products."""
    sides = (pattern.mode == _modes.ACTIVE, pattern.mode == _modes.INACTIVE)
    if problem.arrangement.incidence is None:
        sides = sides[:1] * 2
    of_sides = (jnp.einsum("ij,ijk->k", a, jnp.where(side, p, 0.0)) for side in sides)
    return problem.arrangement.predictions(*of_sides)


def first_zero(g: Float[Array, "orders guards"]) -> Float[Array, " guards"]:
    """When each of these functions, in units of time, falls through zero near the centre; inf where
    it does not.

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
