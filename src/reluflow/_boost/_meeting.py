"""How far a neuron gets in a hop: to its end, or to the first boundary before that."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from .. import _modes
from .._branch import run_if
from .._shapes import PerNeuron, UnitFlags, Units
from ._frame import Frame
from ._path import Move, lagrange, propagate
from ._root import locate
from ._walk import Course, Walk

# Along a boost of this rapidity a neuron has turned to its D up to rounding. A longer one, in
# which something crosses, is cut: where the path is all exponentials, an order of events drowns.
_LONGEST = 30.0
# What such a one is cut to: clearly less, or by rounding the cut one is as long again, for ever.
_SHORTER = 0.9 * _LONGEST


class Met(eqx.Module):
    """How far each neuron gets, and what it meets there."""

    end: PerNeuron
    move: Move
    preactivation: Units
    sample: Int[Array, " neurons"]  # whose boundary it meets first
    meets: Bool[Array, " neurons"]
    vanishes: Bool[Array, " neurons"]  # its output
    early: Bool[Array, " neurons"]  # it has passed another boundary before


def meet(course: Course, walk: Walk, end) -> Met:
    """Moves to the end, or to the first boundary before it."""
    frame = walk.frame(course)
    move = propagate(walk.reduced, frame, walk.time, end, course.length)
    reached = reached_by(walk, frame, move)
    slack = walk.slack(course.problem)
    crossing = _crossed(walk, reached, jnp.where(walk.armed, 0.0, slack)) & ~walk.pending[:, None]
    crosses = jnp.any(crossing, axis=1)
    cut, middle = _hidden(course, walk, frame, end, move, reached, crossing, slack)
    long = crosses & (move.growth > _LONGEST)
    begin = move.kept[:, None] * walk.preactivation
    side = walk.side()
    height, depth = jnp.maximum(side * begin, 0.0), side * reached
    fraction = height / jnp.where(crossing, height - depth, 1.0)
    fraction = jnp.where(crossing, fraction, jnp.inf)
    sample = jnp.argmin(fraction, axis=1)
    fraction = jnp.min(fraction, axis=1)
    vanishes = (walk.reduced.output * move.end.output < 0.0) & ~long & ~cut
    meets = crosses & ~long & ~cut & ~vanishes
    wanted = meets | vanishes

    def search(_):
        time = locate(course, walk, frame, end, move, sample, fraction, wanted, vanishes)
        moved = propagate(walk.reduced, frame, walk.time, time, course.length)
        arrived = reached_by(walk, frame, moved)
        # Beyond rounding: two boundaries met at one instant are settled together.
        passed = _crossed(walk, arrived, slack)
        passed = passed & ((jnp.arange(passed.shape[1]) != sample[:, None]) | vanishes[:, None])
        return time, moved, arrived, jnp.any(passed, axis=1) & wanted

    whole = (end, move, reached, jnp.zeros_like(wanted))
    time, moved, arrived, passed = run_if(jnp.any(wanted), search, whole)
    # Not this time: a shorter hop is tried, to where a neuron seems to have been earlier.
    shorter = jnp.where(
        cut, middle, walk.time + (end - walk.time) * jnp.where(long, _SHORTER / move.growth, 1.0)
    )
    early = passed | long | cut
    time = jnp.where(cut | long, jax.lax.stop_gradient(shorter), time)
    return Met(time, moved, arrived, sample, meets, vanishes, early)


def _hidden(course: Course, walk: Walk, frame: Frame, end, move, reached, crossing, slack):
    """Whether a unit may have crossed and come back, or left and returned, inside the hop.

    A preactivation moves by a(s) <x_k, D(s)>, so it can only turn where one of them changes its
    sign. Where the tangents at both ends meet beyond zero, the hop is cut where it turns.
    """
    first, last = lagrange(walk.time), lagrange(end)
    scale, side = course.length * (end - walk.time), walk.side()
    pull0, pull1 = side * frame.velocity(first), side * frame.velocity(last)
    slope0 = (scale * move.kept * walk.reduced.output)[:, None] * pull0
    slope1 = (scale * move.end.output)[:, None] * pull1
    height0, height1 = side * move.kept[:, None] * walk.preactivation, side * reached
    free = walk.pattern.mode != _modes.SLIDING
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


def reached_by(walk: Walk, frame: Frame, move: Move) -> Units:
    """The preactivations at the end of a move, or of several along a leading axis."""
    moved = move.kept[..., None] * walk.preactivation + frame.spread(move.gained)
    if walk.pattern.slots.shape[1] > 0:
        moved = jnp.where(walk.pattern.mode == _modes.SLIDING, 0.0, moved)
    return moved


def _crossed(walk: Walk, preactivation: Units, threshold) -> UnitFlags:
    free = walk.pattern.mode != _modes.SLIDING
    return beyond(free, walk.side() * preactivation, threshold)
