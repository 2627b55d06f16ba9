"""Event detection: which boundaries a neuron crosses between two times."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from .._events import ON_BOUNDARY
from .._model import _modes
from .._model._shapes import PerNeuron, UnitFlags, Units
from ._basis import Basis
from ._generator import Generator, Uncertainty
from ._moving_neurons import MovingNeurons
from ._propagator import Propagation, legendre
from ._small import total

# Along a boost of this rapidity a neuron has turned to its D up to rounding. A longer one, in
# which something crosses, is cut: where the path is all exponentials, an order of events drowns.
_LONGEST = 30.0
# What such a one is cut to: clearly less, or by rounding the cut one is as long again, for ever.
_SHORTER = 0.9 * _LONGEST


class Trial(eqx.Module):
    """A propagation that is not accepted yet: its end, what it does, the preactivations there."""

    end: PerNeuron
    propagation: Propagation
    preactivation: Units

    @classmethod
    def of(
        cls, moving: MovingNeurons, basis: Basis, end: PerNeuron, propagation: Propagation
    ) -> "Trial":
        return cls(end, propagation, reached_by(moving, basis, propagation))


class Detection(eqx.Module):
    """early: the propagation is too long to tell, and has to be tried again to `shorter`."""

    early: Bool[Array, " neurons"]
    shorter: PerNeuron
    finds: Bool[Array, " neurons"]  # an event, to be located
    sample: Int[Array, " neurons"]  # whose boundary is crossed first, it seems
    vanishing: Bool[Array, " neurons"]  # or the output
    guess: PerNeuron  # of its time


def detect(
    generator: Generator,
    moving: MovingNeurons,
    basis: Basis,
    trial: Trial,
    uncertainty: Uncertainty,
) -> Detection:
    """What a neuron meets on its way to its next point."""
    end, propagation, reached = trial.end, trial.propagation, trial.preactivation
    slack = moving.slack(generator.norms)
    crossing = _crossed(
        generator, moving, reached, tolerated(generator, moving.armed, slack, uncertainty)
    )
    crossing = crossing & ~moving.pending[:, None]
    crosses = jnp.any(crossing, axis=1)
    cut, middle = _hidden(generator, moving, basis, end, propagation, reached, crossing, slack)
    long = crosses & (propagation.growth > _LONGEST)
    begin = propagation.kept[:, None] * moving.preactivation
    side = moving.side()
    height, depth = jnp.maximum(side * begin, 0.0), side * reached
    fraction = height / jnp.where(crossing, height - depth, 1.0)
    fraction = jnp.where(crossing, fraction, jnp.inf)
    early = long | cut
    vanishes = (moving.reduced.output * propagation.end.output < 0.0) & ~early
    shorter = moving.time + (end - moving.time) * jnp.where(
        long, _SHORTER / propagation.growth, 1.0
    )
    first = _guess(moving, basis, end, propagation, jnp.min(fraction, axis=1))
    return Detection(
        early=early,
        shorter=jax.lax.stop_gradient(jnp.where(cut, middle, shorter)),
        finds=(crosses | vanishes) & ~early,
        sample=jnp.argmin(fraction, axis=1),
        vanishing=vanishes,
        guess=jax.lax.stop_gradient(jnp.where(vanishes, (moving.time + end) / 2.0, first)),
    )


def passes_another(
    generator: Generator, moving: MovingNeurons, trial: Trial
) -> Bool[Array, " neurons"]:
    """Whether another boundary was crossed before the one whose event was located.

    Beyond rounding: two boundaries that are met at one instant are decided together.
    """
    passed = _crossed(generator, moving, trial.preactivation, moving.slack(generator.norms))
    event = moving.event
    other = jnp.arange(passed.shape[1]) != event.sample[:, None]
    return jnp.any(passed & (other | event.vanishing[:, None]), axis=1)


def _hidden(
    generator: Generator,
    moving: MovingNeurons,
    basis: Basis,
    end,
    propagation,
    reached,
    crossing,
    slack,
):
    """Whether a unit may have crossed and come back, or left and returned, in between.

    A preactivation moves by a(s) <u_b, D(s)>, so it can only turn where one of them changes its
    sign. Where the tangents at both ends meet beyond zero, the propagation is cut where it turns.
    """
    first, last = legendre(moving.time), legendre(end)
    scale, side = generator.length * (end - moving.time), moving.side()
    pull0, pull1 = side * basis.velocity(first), side * basis.velocity(last)
    slope0 = (scale * propagation.kept * moving.reduced.output)[:, None] * pull0
    slope1 = (scale * propagation.end.output)[:, None] * pull1
    height0, height1 = side * propagation.kept[:, None] * moving.preactivation, side * reached
    free = moving.meets(generator)
    where = turning_point(free, moving.armed, crossing, height0, height1, slope0, slope1, slack)
    earliest = jnp.min(where, axis=1)
    # In a time this short, nothing beyond rounding can hide.
    cut = jnp.isfinite(earliest) & (end - moving.time > 1e-9)
    return cut, moving.time + (end - moving.time) * jnp.where(cut, earliest, 1.0)


def turning_point(free, armed, crossing, height0, height1, slope0, slope1, slack):
    """Where in (0, 1) a height of these values and slopes at the ends may turn beyond zero; inf."""
    dips = free & (slope0 < 0.0) & (slope1 > 0.0) & (height0 > 0.0) & ~crossing
    change = jnp.where(slope1 != slope0, slope1 - slope0, 1.0)
    meeting = (slope1 - height1 + height0) / change
    lowest = height0 + slope0 * meeting
    dips = dips & (lowest < -slack)
    returns = crossing & ~armed & (height0 <= slack) & (slope0 > 0.0) & (slope1 < 0.0)
    turns = -slope0 / change
    return jnp.where(dips | returns, jnp.clip(turns, 0.05, 0.95), jnp.inf)


def beyond(free, height, threshold) -> jax.Array:
    """Which units are on the wrong side of their boundary, by more than this."""
    return free & (height < -threshold)


def tolerated(generator: Generator, armed, slack, uncertainty: Uncertainty) -> jax.Array:
    """How far beyond its boundary a unit may be: rounding; and one that has not yet come away from
    it, also what the uncertainty of the residual may do. One that has just left a slide did so
    by `generator.fine`, and moves under `generator.pulls`; a fitted sample's residual is noise."""
    scale = generator.norms * generator.arrangement.weight() / (generator.samples * ON_BOUNDARY)
    driven = (generator.length * uncertainty.motion)[:, None] * scale
    return jnp.where(armed, slack, slack * (1.0 + driven))


def reached_by(moving: MovingNeurons, basis: Basis, propagation: Propagation) -> Units:
    """The preactivations at the end of a move, or of several along a leading axis."""
    moved = propagation.kept[..., None] * moving.preactivation + basis.spread(propagation.gained)
    if moving.pattern.slots.shape[1] > 0:
        moved = jnp.where(moving.pattern.mode == _modes.SLIDING, 0.0, moved)
    return moved


def _crossed(
    generator: Generator, moving: MovingNeurons, preactivation: Units, threshold
) -> UnitFlags:
    return beyond(moving.meets(generator), moving.side() * preactivation, threshold)


def _guess(
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
    share = jnp.log(jnp.where(good, ratio, 1.0)) / jnp.where(rho > 0.0, rho, 1.0)
    share = jnp.where(good, share, fraction)
    return moving.time + span * jnp.clip(share, 0.0, 1.0)
