"""Event location: when a preactivation, or the output, is zero."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from .._model._shapes import PerNeuron
from ._basis import Basis
from ._event_detection import Detection, Trial
from ._generator import Generator
from ._line import propagated
from ._moving_neurons import Location, MovingNeurons
from ._propagator import Propagation, legendre

# A Newton step this short, in units of the step, leaves an error of the order of its square: the
# place it leads to is as good as any.
_CLOSE = 1e-9
# Should Newton's method not find it within so many steps, halvings do, of which 52 are enough.
_MOST_NEWTON, _MOST = 40, 100
_NOTHING_BETWEEN = 4e-16


class _Bracket(eqx.Module):
    """The event lies between `low` and `high`; time: where the next propagation ends."""

    low: PerNeuron
    high: PerNeuron
    time: PerNeuron
    going: Bool[Array, " neurons"]
    count: Int[Array, ""]


def locate(
    generator: Generator,
    moving: MovingNeurons,
    basis: Basis,
    detection: Detection,
    trial: Trial,
    found: Bool[Array, " neurons"],
) -> Location:
    """The events of the neurons that have found one, by Newton's method in a bracket.

    Only the one boundary is looked at: whether the neuron meets another before it is for the
    propagation to the event to tell.
    """
    stopped = jax.lax.stop_gradient

    def iterate(bracket: _Bracket) -> _Bracket:
        s = stopped(bracket.time)
        there = propagated(generator, moving, basis, s)
        value, slope, start = _function(generator, moving, basis, detection, there, s)
        inside = value * start > 0.0
        low = jnp.where(bracket.going & inside, s, bracket.low)
        high = jnp.where(bracket.going & ~inside, s, bracket.high)
        falls = (slope * start < 0.0) & (bracket.count < _MOST_NEWTON)
        # Its derivative is that of the root.
        newton = s - value / jnp.where(falls, slope, 1.0)
        falls = falls & (newton >= low) & (newton <= high)
        new = jnp.where(falls, newton, stopped((low + high) / 2.0))
        there = falls & (jnp.abs(new - s) <= _CLOSE)
        there = there | (high - low <= _NOTHING_BETWEEN)
        time = jnp.where(bracket.going, jnp.where(there, new, stopped(new)), bracket.time)
        going = bracket.going & ~there
        return _Bracket(stopped(low), stopped(high), time, going, bracket.count + 1)

    begin = (stopped(moving.time), stopped(trial.end), detection.guess)
    begin = _Bracket(*begin, found, jnp.array(0, jnp.int32))

    def running(bracket: _Bracket):
        return jnp.any(bracket.going) & (bracket.count < _MOST)

    done = jax.lax.while_loop(running, iterate, begin)
    return Location(found, detection.sample, detection.vanishing, done.time)


def _function(
    generator: Generator,
    moving: MovingNeurons,
    basis: Basis,
    detection: Detection,
    there: Propagation,
    s: PerNeuron,
):
    """What vanishes at the event: its value, its slope in s, and its sign before the event."""
    rows, sample = jnp.arange(s.shape[0]), detection.sample
    output, polynomials = there.end.output, legendre(s)
    unit = there.kept * moving.preactivation[rows, sample]
    unit = unit + basis.spread_at(there.gained, sample)
    unit_slope = output * basis.velocity_at(polynomials, sample)
    slope = jnp.where(detection.vanishing, basis.along(polynomials, there.end.overlap), unit_slope)
    value = jnp.where(detection.vanishing, output, unit)
    side = moving.side()[rows, sample]
    start = jnp.sign(jnp.where(detection.vanishing, moving.reduced.output, side))
    return value, jax.lax.stop_gradient(generator.length * slope), start
