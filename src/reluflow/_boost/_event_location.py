"""The search for an event: where a preactivation, or the output, is zero."""

import equinox as eqx
import jax
import jax.numpy as jnp

from .._shapes import PerNeuron
from ._basis import Basis
from ._generator import Generator
from ._moving_neurons import TO_EVENT, MovingNeurons, Search
from ._propagator import Propagation, legendre
from ._small import total

# A Newton step this short, in units of the step, leaves an error of the order of its square: the
# place it leads to is as good as any.
_CLOSE = 1e-9


def search_step(
    generator: Generator, moving: MovingNeurons, basis: Basis, trial, searches
) -> Search:
    """One step of Newton's method, kept in the bracket, of the neurons that search."""
    search, s = moving.search, jax.lax.stop_gradient(trial.end)
    rows = jnp.arange(s.shape[0])
    unit = trial.preactivation[rows, search.sample]
    output = trial.propagation.end.output
    polynomials = legendre(s)
    unit_slope = output * basis.velocity_at(polynomials, search.sample)
    slope = jnp.where(
        search.vanishing, basis.along(polynomials, trial.propagation.end.overlap), unit_slope
    )
    value = jnp.where(search.vanishing, output, unit)
    side = moving.side()[rows, search.sample]
    start = jnp.sign(jnp.where(search.vanishing, moving.reduced.output, side))
    slope = jax.lax.stop_gradient(generator.length * slope)
    inside = value * start > 0.0
    low = jnp.where(searches & inside, s, search.low)
    high = jnp.where(searches & ~inside, s, search.high)
    falls = slope * start < 0.0
    # Its derivative is that of the root.
    newton = s - value / jnp.where(falls, slope, 1.0)
    falls = falls & (newton >= low) & (newton <= high)
    new = jnp.where(falls, newton, jax.lax.stop_gradient((low + high) / 2.0))
    at_event = falls & (jnp.abs(new - s) <= _CLOSE)
    at_event = searches & (at_event | (high - low <= 4e-16))
    estimate = jnp.where(at_event, new, jax.lax.stop_gradient(new))
    return eqx.tree_at(
        lambda s: (s.stage, s.low, s.high, s.estimate),
        search,
        (
            jnp.where(at_event, TO_EVENT, search.stage),
            jax.lax.stop_gradient(low),
            jax.lax.stop_gradient(high),
            jnp.where(searches, estimate, search.estimate),
        ),
    )


def guess(
    moving: MovingNeurons, basis: Basis, end, propagation: Propagation, fraction
) -> PerNeuron:
    """When a preactivation has made this fraction of its way, for D constant at its mean.

    Then f = a sinh(rho) / |D| + <D, w> (cosh(rho) - 1) / |D|^2 is all that moves it: a quadratic
    equation for e^rho.
    """
    rho = propagation.growth
    span = end - moving.time
    # The mean of D acts by <D, w>, from the q at the middle; per unit of rapidity.
    polynomials = legendre((moving.time + end) / 2.0)
    b = basis.weights(polynomials)
    along = total(b * moving.reduced.overlap, 0)
    square = total(b * basis.products(b), 0)
    speed = jnp.sqrt(jnp.where(square > 0.0, square, 1.0))
    a, b = moving.reduced.output, along / speed
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
    iterate = jnp.log(jnp.where(good, ratio, 1.0)) / jnp.where(rho > 0.0, rho, 1.0)
    iterate = jnp.where(good, iterate, fraction)
    return moving.time + span * jnp.clip(iterate, 0.0, 1.0)
