"""When, on its way, a neuron meets a boundary, or its output vanishes."""

import jax
import jax.numpy as jnp

from .._shapes import PerNeuron
from ._frame import Frame
from ._path import Move, lagrange, propagate
from ._small import total
from ._walk import Course, Walk


def locate(
    course: Course, walk: Walk, frame: Frame, end, move: Move, sample, fraction, wanted, outputs
) -> PerNeuron:
    """The time in (walk.time, end) at which a neuron's unit, or its output, is at its zero.

    The first guess is exact for a constant D, along which f = a sinh(rho)/|D| + <D, w>
    (cosh(rho) - 1)/|D|^2 is all that moves a preactivation: a quadratic equation for e^rho.
    Newton's method, kept in the bracket, does the rest.
    """
    rows = jnp.arange(sample.shape[0])
    start = walk.reduced
    here = walk.preactivation[rows, sample]
    lower_sign = jnp.sign(jnp.where(outputs, start.output, walk.side()[rows, sample]))

    def value_at(s):
        moved = propagate(start, frame, walk.time, s, course.length)
        basis = lagrange(s)
        unit = moved.kept * here + frame.spread_at(moved.gained, sample)
        unit_slope = moved.end.output * frame.velocity_at(basis, sample)
        slope = frame.along(basis, moved.end.overlap)
        value = jnp.where(outputs, moved.end.output, unit)
        return value, course.length * jnp.where(outputs, slope, unit_slope)

    def newton(carry):
        s, low, high, count, _ = carry
        value, slope = value_at(s)
        inside = value * lower_sign > 0.0
        low, high = jnp.where(inside, s, low), jnp.where(inside, high, s)
        good = slope * lower_sign < 0.0
        step = jnp.where(good, -value / jnp.where(good, slope, 1.0), 0.0)
        new = s + step
        fine = good & (new >= low) & (new <= high)
        new = jnp.where(fine, new, (low + high) / 2.0)
        moving = wanted & (jnp.abs(new - s) > 4e-16 * jnp.maximum(s, high - walk.time))
        return jnp.where(wanted, new, s), low, high, count + 1, jnp.any(moving)

    guess = _guess(walk, frame, end, move, fraction)
    guess = jnp.where(outputs, (walk.time + end) / 2.0, guess)
    s, *_ = jax.lax.while_loop(
        lambda carry: carry[-1] & (carry[-2] < 60),
        newton,
        (jnp.where(wanted, guess, end), walk.time, end, 0, jnp.array(True)),
    )
    # Once more, for the derivative: of a root it is that of the last Newton step.
    s = jax.lax.stop_gradient(s)
    value, slope = value_at(s)
    slope = jax.lax.stop_gradient(slope)
    polished = s - value / jnp.where(slope * lower_sign < 0.0, slope, jnp.inf)
    within = (polished >= walk.time) & (polished <= end)
    return jnp.where(wanted & within, polished, s)


def _guess(walk: Walk, frame: Frame, end, move: Move, fraction) -> PerNeuron:
    """Where f is this fraction of its value at the end, for D constant at its mean."""
    rho = move.growth
    span = end - walk.time
    # The mean of D acts by <D, w>, from the q at the middle; per unit of rapidity.
    basis = lagrange((walk.time + end) / 2.0)
    b = frame.weights(basis)
    along = total(b * walk.reduced.overlap, 0)
    square = total(b * frame.products(b), 0)
    speed = jnp.sqrt(jnp.where(square > 0.0, square, 1.0))
    a, b = walk.reduced.output, along / speed
    grow = jnp.exp(jnp.minimum(rho, 50.0))
    whole = a * (grow - 1.0 / grow) / 2.0 + b * (grow + 1.0 / grow - 2.0) / 2.0
    f = fraction * whole
    root = jnp.sign(a) * jnp.sqrt(jnp.maximum(f**2 + 2.0 * b * f + a**2, 0.0))
    up, down = a + b, (b + f) - root
    use_up = jnp.abs(up) >= jnp.abs(down)
    ratio = jnp.where(
        use_up,
        ((b + f) + root) / jnp.where(up != 0.0, up, 1.0),
        (b - a) / jnp.where(down != 0.0, down, 1.0),
    )
    good = (ratio >= 1.0) & jnp.isfinite(ratio) & (rho > 0.0)
    progress = jnp.log(jnp.where(good, ratio, 1.0)) / jnp.where(rho > 0.0, rho, 1.0)
    progress = jnp.where(good, progress, fraction)
    return walk.time + span * jnp.clip(progress, 0.0, 1.0)
