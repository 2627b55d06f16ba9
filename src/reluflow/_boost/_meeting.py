"""What lies between a neuron and where it looked: boundaries that it would cross."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from .. import _modes
from .._events import ON_BOUNDARY
from .._shapes import PerNeuron, UnitFlags, Units
from ._course import Course, Uncertainty
from ._frame import Frame
from ._path import Move, legendre
from ._root import guess
from ._walk import SEARCHING, Search, Walk

# Along a boost of this rapidity a neuron has turned to its D up to rounding. A longer one, in
# which something crosses, is cut: where the path is all exponentials, an order of events drowns.
_LONGEST = 30.0
# What such a one is cut to: clearly less, or by rounding the cut one is as long again, for ever.
_SHORTER = 0.9 * _LONGEST


class Tried(eqx.Module):
    """Where a hop has looked: the time, the move there, the preactivations there."""

    end: PerNeuron
    move: Move
    preactivation: Units

    @classmethod
    def of(cls, walk: Walk, frame: Frame, end: PerNeuron, move: Move) -> "Tried":
        return cls(end, move, reached_by(walk, frame, move))


class Met(eqx.Module):
    """early: not even a search can begin before `shorter` has been tried."""

    early: Bool[Array, " neurons"]
    shorter: PerNeuron
    finds: Bool[Array, " neurons"]  # an event, to be searched
    sample: Int[Array, " neurons"]  # whose boundary is crossed first, it seems
    vanishing: Bool[Array, " neurons"]  # or the output
    guess: PerNeuron

    def begin(self, walk: Walk, tried: Tried) -> Search:
        stage = jnp.full(self.sample.shape, SEARCHING, jnp.int32)
        return Search(stage, self.sample, self.vanishing, walk.time, tried.end, self.guess)


def meet(course: Course, walk: Walk, frame: Frame, tried: Tried, uncertainty: Uncertainty) -> Met:
    """What a neuron that seeks its next point finds."""
    end, move, reached = tried.end, tried.move, tried.preactivation
    slack = walk.slack(course.norms)
    crossing = _crossed(course, walk, reached, tolerated(course, walk.armed, slack, uncertainty))
    crossing = crossing & ~walk.pending[:, None]
    crosses = jnp.any(crossing, axis=1)
    cut, middle = _hidden(course, walk, frame, end, move, reached, crossing, slack)
    long = crosses & (move.growth > _LONGEST)
    begin = move.kept[:, None] * walk.preactivation
    side = walk.side()
    height, depth = jnp.maximum(side * begin, 0.0), side * reached
    fraction = height / jnp.where(crossing, height - depth, 1.0)
    fraction = jnp.where(crossing, fraction, jnp.inf)
    early = long | cut
    vanishes = (walk.reduced.output * move.end.output < 0.0) & ~early
    shorter = walk.time + (end - walk.time) * jnp.where(long, _SHORTER / move.growth, 1.0)
    first = guess(walk, frame, end, move, jnp.min(fraction, axis=1))
    return Met(
        early=early,
        shorter=jax.lax.stop_gradient(jnp.where(cut, middle, shorter)),
        finds=(crosses | vanishes) & ~early,
        sample=jnp.argmin(fraction, axis=1),
        vanishing=vanishes,
        guess=jax.lax.stop_gradient(jnp.where(vanishes, (walk.time + end) / 2.0, first)),
    )


def passes_another(course: Course, walk: Walk, tried: Tried) -> Bool[Array, " neurons"]:
    """Whether another boundary was crossed before the one that was searched.

    Beyond rounding: two boundaries met at one instant are settled together.
    """
    passed = _crossed(course, walk, tried.preactivation, walk.slack(course.norms))
    search = walk.search
    other = jnp.arange(passed.shape[1]) != search.sample[:, None]
    return jnp.any(passed & (other | search.vanishing[:, None]), axis=1)


def _hidden(course: Course, walk: Walk, frame: Frame, end, move, reached, crossing, slack):
    """Whether a unit may have crossed and come back, or left and returned, inside the hop.

    A preactivation moves by a(s) <u_b, D(s)>, so it can only turn where one of them changes its
    sign. Where the tangents at both ends meet beyond zero, the hop is cut where it turns.
    """
    first, last = legendre(walk.time), legendre(end)
    scale, side = course.length * (end - walk.time), walk.side()
    pull0, pull1 = side * frame.velocity(first), side * frame.velocity(last)
    slope0 = (scale * move.kept * walk.reduced.output)[:, None] * pull0
    slope1 = (scale * move.end.output)[:, None] * pull1
    height0, height1 = side * move.kept[:, None] * walk.preactivation, side * reached
    free = walk.meets(course)
    where = turning_point(free, walk.armed, crossing, height0, height1, slope0, slope1, slack)
    earliest = jnp.min(where, axis=1)
    # In a hop this short, nothing beyond rounding can hide.
    cut = jnp.isfinite(earliest) & (end - walk.time > 1e-9)
    return cut, walk.time + (end - walk.time) * jnp.where(cut, earliest, 1.0)


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


def tolerated(course: Course, armed, slack, uncertainty: Uncertainty) -> jax.Array:
    """How far beyond its boundary a unit may be: rounding; and one that has not yet come away from
    it, also what the uncertainty of the residual may do. One that has just ceased to slide did so
    by `course.fine`, and moves under `course.residual`; and a fitted sample's residual is noise."""
    scale = course.norms * course.arrangement.weight() / (course.samples * ON_BOUNDARY)
    driven = (course.length * uncertainty.motion)[:, None] * scale
    return jnp.where(armed, slack, slack * (1.0 + driven))


def reached_by(walk: Walk, frame: Frame, move: Move) -> Units:
    """The preactivations at the end of a move, or of several along a leading axis."""
    moved = move.kept[..., None] * walk.preactivation + frame.spread(move.gained)
    if walk.pattern.slots.shape[1] > 0:
        moved = jnp.where(walk.pattern.mode == _modes.SLIDING, 0.0, moved)
    return moved


def _crossed(course: Course, walk: Walk, preactivation: Units, threshold) -> UnitFlags:
    return beyond(walk.meets(course), walk.side() * preactivation, threshold)
