"""The search for an event: where a preactivation, or the output, is zero."""

import equinox as eqx
import jax
import jax.numpy as jnp

from .._shapes import PerNeuron
from ._course import Course
from ._frame import Frame
from ._path import Move, legendre
from ._small import total
from ._walk import LANDING, Search, Walk

# A Newton step this short, in units of the step, leaves an error of the order of its square: the
# place it leads to is as good as any.
_CLOSE = 1e-9


def searched(course: Course, walk: Walk, frame: Frame, tried, searches) -> Search:
    """One step of Newton's method, kept in the bracket, of the neurons that search."""
    search, s = walk.search, jax.lax.stop_gradient(tried.end)
    rows = jnp.arange(s.shape[0])
    unit = tried.preactivation[rows, search.sample]
    output = tried.move.end.output
    basis = legendre(s)
    unit_slope = output * frame.velocity_at(basis, search.sample)
    slope = jnp.where(search.vanishing, frame.along(basis, tried.move.end.overlap), unit_slope)
    value = jnp.where(search.vanishing, output, unit)
    side = walk.side()[rows, search.sample]
    start = jnp.sign(jnp.where(search.vanishing, walk.reduced.output, side))
    slope = jax.lax.stop_gradient(course.length * slope)
    inside = value * start > 0.0
    low = jnp.where(searches & inside, s, search.low)
    high = jnp.where(searches & ~inside, s, search.high)
    falls = slope * start < 0.0
    # Its derivative is that of the root.
    newton = s - value / jnp.where(falls, slope, 1.0)
    falls = falls & (newton >= low) & (newton <= high)
    new = jnp.where(falls, newton, jax.lax.stop_gradient((low + high) / 2.0))
    lands = falls & (jnp.abs(new - s) <= _CLOSE)
    lands = searches & (lands | (high - low <= 4e-16))
    trial = jnp.where(lands, new, jax.lax.stop_gradient(new))
    return eqx.tree_at(
        lambda s: (s.stage, s.low, s.high, s.trial),
        search,
        (
            jnp.where(lands, LANDING, search.stage),
            jax.lax.stop_gradient(low),
            jax.lax.stop_gradient(high),
            jnp.where(searches, trial, search.trial),
        ),
    )


def guess(walk: Walk, frame: Frame, end, move: Move, fraction) -> PerNeuron:
    """When a preactivation has made this fraction of its way, for D constant at its mean.

    Then f = a sinh(rho) / |D| + <D, w> (cosh(rho) - 1) / |D|^2 is all that moves it: a quadratic
    equation for e^rho.
    """
    rho = move.growth
    span = end - walk.time
    # The mean of D acts by <D, w>, from the q at the middle; per unit of rapidity.
    basis = legendre((walk.time + end) / 2.0)
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
