"""The exact motion of a neuron under a given residual, in seven numbers.

Under the residual r(s) = sum_i r_i P_i(s), s in [0, 1], P_i the Legendre polynomials, and on a
fixed pattern, a neuron feels D(s) = sum_i D_i P_i(s), so that w(s) = w(0) + sum_i c_i(s) D_i: with
q_i = <D_i, w> and M_il = <D_i, D_l>, its linear ODE

    a' = sum_i P_i(s) q_i,      c_i' = a P_i(s),      q_i' = sum_l M_il c_l'

knows nothing of the dimension or of the number of samples. (Where boundaries are few, u_b take
the place of the D_i: see `_basis`.) For a constant combination D = sum_i b_i D_i its flow is a
Lorentz boost of rapidity rho = |D|,

    a -> a cosh(rho) + <D, w> sinh(rho) / rho,
    w -> w + D (a sinh(rho) / rho + <D, w> (cosh(rho) - 1) / rho^2),

and a product of five boosts is a scheme of order 6 for one that varies (see `_collocation`).
Each conserves a^2 - |w|^2 exactly. All is over e^{rho}, which goes to the logarithm of the size.
"""

import functools
import math
import operator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._model._shapes import PerNeuron
from .._support._powers_of_two import exponent_of, power_of_two
from ._basis import Basis
from ._collocation import EXPONENTS, FORWARD_EXPONENTS, GAUSS, NUM_NODES
from ._small import small_product, total

LONGEST_BACK = 20.0  # rapidity of a move that may go backwards
_LARGEST = 300.0  # of a logarithm of weights
_RANGE = 8  # a neuron is rescaled when its size leaves 2^-8 .. 2^8


class Reduced(eqx.Module):
    """A neuron in the coordinates of the module's equations."""

    output: PerNeuron
    overlap: Float[Array, "... _ neurons"]  # q_i, before the last axis
    balance: PerNeuron  # a^2 - |w|^2


class Propagation(eqx.Module):
    """Where a neuron gets: w -> kept w + sum_i gained_i D_i, all over 2^exponent e^growth."""

    end: Reduced
    kept: PerNeuron
    gained: Float[Array, "... _ neurons"]
    growth: PerNeuron
    exponent: Int[Array, "*#batch neurons"]


def legendre(s: jax.Array, modes: int = NUM_NODES) -> jax.Array:
    """The first Legendre polynomials of [0, 1] at s, shape (modes, *s.shape)."""
    factors = jnp.asarray(_leading(modes)).reshape(-1, *(1,) * s.ndim)
    return factors * jnp.stack(_monic(2.0 * s - 1.0, modes))


def series(s: jax.Array, coefficients: jax.Array) -> jax.Array:
    """sum_m P_m(s) coefficients[m], of shape coefficients.shape[1:], to which s is broadcast."""
    values = zip(
        _leading(coefficients.shape[0]), _monic(2.0 * s - 1.0, len(coefficients)), strict=True
    )
    terms = zip(values, coefficients, strict=True)
    return functools.reduce(operator.add, ((factor * value) * c for (factor, value), c in terms))


def _leading(modes: int) -> list[float]:
    """The leading coefficients of the Legendre polynomials of [-1, 1]."""
    return np.cumprod([1.0, *((2 * m - 1) / m for m in range(1, modes))]).tolist()


def _monic(x: jax.Array, modes: int) -> list[jax.Array]:
    """The Legendre polynomials with leading coefficient 1: their recurrence is the shortest."""
    values = [jnp.ones_like(x), x]
    for m in range(1, modes - 1):
        values.append(x * values[-1] - (m * m / (4 * m * m - 1)) * values[-2])
    return values[:modes]


def standing(start: Reduced) -> Propagation:
    """No propagation yet."""
    zero = jnp.zeros_like(start.output)
    exponent = jnp.zeros(zero.shape, jnp.int32)
    return Propagation(start, zero + 1.0, jnp.zeros_like(start.overlap), zero, exponent)


def propagate(start: Reduced, basis: Basis, begin, end, length) -> Propagation:
    """From s = begin to s = end (each per neuron) of a step of this length."""
    span = end - begin
    polynomials = legendre(begin + span * jnp.asarray(GAUSS)[:, None])
    weights = exponents(basis, basis.weights(jnp.swapaxes(polynomials, 0, 1)), length * span)
    return rescaled(boosted(standing(start), basis, weights, start.balance))


def boosted(propagation: Propagation, basis: Basis, weights, balance: PerNeuron) -> Propagation:
    """On by boosts along sum_i b_i B_i, the b in order; balance is that of the beginning.

    Several vectors (a, w) of each neuron may go the same way: what belongs to them has one axis
    more, before that of the neurons.
    """
    several = propagation.end.output.ndim > 1

    def of_each(b):
        return b[:, None] if several else b

    def boost(carry, b):
        end, kept, gained, growth = carry
        pull = basis.products(b)
        turn = _turn(total(b * pull, 0))
        along = total(of_each(b) * end.overlap, 0)
        gain = end.output * turn.sinh + along * turn.cosh_less
        output = end.output * turn.cosh + along * turn.sinh
        overlap = turn.decay * end.overlap + gain * of_each(pull)
        gained = turn.decay * gained + gain * of_each(b)
        end = Reduced(output, overlap, end.balance)
        return (end, turn.decay * kept, gained, growth + turn.rapidity), None

    carry = (propagation.end, propagation.kept, propagation.gained, propagation.growth)
    (end, kept, gained, growth), _ = jax.lax.scan(boost, carry, weights)
    end = Reduced(end.output, end.overlap, balance * kept**2)
    return Propagation(end, kept, gained, growth, propagation.exponent)


class _Turn(eqx.Module):
    """Of a boost of this rapidity rho, over e^rho: cosh rho, sinh(rho) / rho,
    (cosh(rho) - 1) / rho^2, and 1."""

    rapidity: jax.Array
    cosh: jax.Array
    sinh: jax.Array
    cosh_less: jax.Array
    decay: jax.Array


# sinh(y) / y = sum_k y^2k / (2k + 1)!; what is left out is below rounding for y <= 1/4.
_SINH_OVER = tuple(1.0 / math.factorial(2 * k + 1) for k in range(7))
_SHORT = 0.5


def _turn(square) -> _Turn:
    """From rho^2. All follow from (1 - e^-rho) / rho, by its series where that would cancel."""
    moving = square > 0.0
    rho = jnp.where(moving, jnp.sqrt(jnp.where(moving, square, 1.0)), 0.0)
    root = jnp.exp(-rho / 2.0)
    decay = root**2
    series = functools.reduce(lambda sum, c: sum * (square / 4.0) + c, reversed(_SINH_OVER))
    short = rho < _SHORT
    half = jnp.where(short, root * series, 1.0 - decay) / jnp.where(short, 1.0, rho)
    return _Turn(rho, (1.0 + decay**2) / 2.0, half * (1.0 + decay) / 2.0, half**2 / 2.0, decay)


def exponents(basis: Basis, at_gauss, time) -> Float[Array, "exponents ... vectors neurons"]:
    """The b of the five boosts, over the time that they take, from those of D at the Gauss points,
    of shape (points, ..., vectors, neurons).

    One of the five goes backwards, and along a boost of rapidity rho that multiplies what
    rounding has left of the decaying direction by e^{2 rho / 10}. So long a boost happens only
    where D hardly varies; there the scheme of order 4 is as good, whose two boosts go forwards.
    """
    mean = total(at_gauss, 0) / len(GAUSS)
    square = total(mean * basis.products(mean), -2) * time**2
    short = small_product(EXPONENTS, at_gauss)
    long = small_product(FORWARD_EXPONENTS, at_gauss)
    return time * jnp.where((square > LONGEST_BACK**2)[..., None, :], long, short)


def rescaled(propagation: Propagation) -> Propagation:
    """The same with every neuron of a size near 1, by a power of two: no bit changes."""
    output, balance = propagation.end.output, propagation.end.balance
    size = size_of(output, balance)
    found = exponent_of(size)
    shift = jnp.where(jnp.abs(found) > _RANGE, found, 0)
    factor = power_of_two(-shift)
    end = Reduced(output * factor, propagation.end.overlap * factor, balance * factor**2)
    return Propagation(
        end,
        propagation.kept * factor,
        propagation.gained * factor,
        propagation.growth,
        propagation.exponent + shift,
    )


def total_growth(growth, exponent):
    return growth + exponent.astype(jnp.float64) * np.log(2.0)


def size_of(output: PerNeuron, balance: PerNeuron) -> PerNeuron:
    """|(a, w)| of each neuron, from a and a^2 - |w|^2."""
    return jnp.sqrt(jnp.maximum(2.0 * output**2 - balance, output**2))


def weight_of(log_scale: jax.Array) -> jax.Array:
    """The square of a neuron's scale; finite also where a step is far too long."""
    return jnp.exp(2.0 * jnp.minimum(log_scale, _LARGEST))
