"""What a neuron does at the boundary it has met: its next pattern, and the record of it.

The decisions are those of `_events`. A unit alone that crosses, or comes to rest, is an update of
rank one, for all neurons at once; the others are asked about a few at a time.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from .. import _modes
from .._arrangement import Pulls
from .._branch import run_if
from .._events import Fired, Standing, Transition, alone, places, ties, transition
from .._field import Pattern
from .._indexing import first_and_rest, of_lanes
from .._shapes import PerNeuron, UnitFlags, Units
from ._course import Course
from ._frame import mode_frame, overlaps
from ._path import legendre, series
from ._record import Record, Worth, kink_of
from ._release import Release, guards
from ._walk import Walk

# How many neurons are settled at once, where room for their units is small; else one by one.
_TURNS, _ROOM = 8, 12
_BEND = 0.2


class Turning(eqx.Module):
    """The neurons that change their pattern at the end of this hop, and what they have met."""

    simple: Bool[Array, " neurons"]  # one unit crosses or comes to rest
    mode: Int[Array, " neurons"]  # of that unit
    full: Bool[Array, " neurons"]  # the others
    fired: Fired  # of each neuron
    sign: PerNeuron
    velocity: Units  # of the preactivations
    pulls: Pulls  # (neurons, boundaries)
    slope: PerNeuron  # of the guard that fires, in units of the step

    @classmethod
    def none(cls, walk: Walk, pulls: Pulls) -> "Turning":
        """None of these neurons; pulls: of which those here have the form."""
        number, unit = jnp.zeros_like(walk.time), jnp.zeros_like(walk.preactivation)
        index, no = jnp.zeros(number.shape, jnp.int32), jnp.zeros(number.shape, bool)
        fired = Fired(jnp.zeros_like(walk.search.sample), index, *([no] * 6))
        nothing = pulls.map(lambda _: unit)
        return cls(no, index, no, fired, number, unit, nothing, number)


def decide(course: Course, walk: Walk, tried, released: Release, leaves, settles) -> Turning:
    """leaves: those that settle since a guard of theirs fires."""
    rows = jnp.arange(walk.time.shape[0])
    basis = legendre(tried.end)
    frame, end = walk.frame(course), tried.move.end
    vanishes = walk.search.vanishing & ~leaves & ~walk.pending
    meets = ~vanishes & ~leaves & ~walk.pending
    slope = frame.along(basis, end.overlap)
    sign = jnp.sign(jnp.where(vanishes | (end.output == 0.0), slope, end.output))
    k = walk.search.sample
    old = walk.pattern.mode[rows, k]
    # Of the same polynomial as the force: where nothing else pulls, the two cancel exactly.
    pull = course.jump_of(basis, k) * jnp.diag(course.gram)[k] / course.samples
    two_sided = course.arrangement.two_sided()[k]
    mode, sure = alone(old, sign * frame.velocity_at(basis, k), pull, sign, two_sided)
    slides = walk.pattern.mode == _modes.SLIDING
    itself = meets[:, None] & (jnp.arange(course.boundaries) == k[:, None])
    speed = sign[:, None] * frame.velocity(basis)
    near = walk.slack(course.norms)
    tied = ties(walk.pattern.mode, tried.preactivation, speed, near, walk.armed) & ~itself
    simple = settles & meets & ~jnp.any(slides | tied, axis=1) & sure
    return Turning(
        simple=simple,
        mode=mode.astype(jnp.int32),
        full=settles & ~simple,
        fired=_fired(walk, released, leaves, vanishes, meets),
        sign=sign,
        velocity=jnp.abs(end.output)[:, None] * speed,
        pulls=_judged_by(course, tried.end, slides),
        slope=released.slope,
    )


def _judged_by(course: Course, s: PerNeuron, slides: UnitFlags) -> Pulls:
    """The pulls by which the neurons are settled: where units slide, that by which they cease
    to; else that which moves them, which would take back at once what the other says."""

    def judging(fine, moves):
        moves, fine = series(s[:, None], moves), series(s[:, None], fine)
        return jnp.where(jnp.any(slides, axis=1)[:, None], fine, moves)

    return jax.tree.map(judging, course.fine, course.pulls)


def _fired(walk: Walk, released: Release, leaves, vanishes, meets) -> Fired:
    """What each of the neurons has met."""
    slots = walk.pattern.slots
    width, rows = slots.shape[1], jnp.arange(leaves.shape[0])
    slot, ray = released.index % max(width, 1), released.index - 2 * width
    unit = (slots[rows, slot] if width else slot).astype(walk.search.sample.dtype)
    appears = leaves & (ray >= 0)
    low = leaves & (released.index < width)
    boundary = jnp.where(leaves, unit, walk.search.sample)
    return Fired(
        boundary=boundary,
        ray=jnp.maximum(ray, 0),
        arrives=meets,
        leaves_low=low,
        leaves_high=leaves & ~low & ~appears,
        vanishes=vanishes,
        starts=walk.pending & ~leaves,
        appears=appears,
    )


def turn(
    course: Course, walk: Walk, record: Record, lane, uncertainty: PerNeuron, of_use: Worth, turning
):
    """The neurons on their next patterns, and the record of it."""
    walk, record = run_if(
        jnp.any(turning.simple),
        lambda both: _turn_simple(course, *both, lane, of_use, turning),
        (walk, record),
    )
    neurons, width = walk.pattern.slots.shape
    at_once = 1 if places(course.boundaries, width) > _ROOM else min(_TURNS, neurons)

    def some(carry):
        full, walk, record = carry
        chosen, full = first_and_rest(full, at_once)
        return full, *_turn_full(course, walk, record, lane, uncertainty, of_use, turning, chosen)

    carry = (turning.full, walk, record)
    return jax.lax.while_loop(lambda carry: jnp.any(carry[0]), some, carry)[1:]


def _turn_simple(course: Course, walk: Walk, record: Record, lane, of_use: Worth, turning: Turning):
    """One unit of each neuron is switched: an update of rank one of what the residual is to it."""
    k = walk.search.sample
    rows = jnp.arange(k.shape[0])
    old = walk.pattern.mode[rows, k]
    here = turning.simple[:, None] & (jnp.arange(course.boundaries) == k[:, None])
    change = jnp.where(turning.mode == _modes.ACTIVE, 1.0, 0.0)
    change = change - jnp.where(old == _modes.ACTIVE, 1.0, 0.0)
    modes, overlap = walk.modes, walk.reduced.overlap
    if modes is None:
        overlap = jnp.where(here.T, 0.0, overlap)
    else:
        modes = modes.switched(course, jnp.where(turning.simple, change, 0.0), k)
        rests = here & (turning.mode == _modes.RESTING)[:, None]
        modes = eqx.tree_at(lambda m: m.force, modes, jnp.where(rests, 0.0, modes.force))
    mode = jnp.where(here, turning.mode[:, None].astype(walk.pattern.mode.dtype), walk.pattern.mode)
    kink = kink_of(course, walk, rows, k, turning.pulls.jump[rows, k])
    record = record.add(
        of_use, lane, turning.simple, walk.time, walk.index, k, old, turning.mode, kink, kink
    )
    walk = eqx.tree_at(
        lambda w: (w.pattern.mode, w.preactivation, w.armed, w.modes, w.reduced.overlap),
        walk,
        (mode, jnp.where(here, 0.0, walk.preactivation), walk.armed & ~here, modes, overlap),
        is_leaf=lambda leaf: leaf is None,
    )
    return walk, record


def _turn_full(
    course: Course,
    walk: Walk,
    record: Record,
    lane,
    uncertainty: PerNeuron,
    of_use: Worth,
    turning: Turning,
    chosen,
):
    """The chosen neurons take the pattern that comes next."""
    neurons, width = walk.pattern.slots.shape
    present, at = chosen < neurons, jnp.minimum(chosen, neurons - 1)
    few, given = walk.rows(at), jax.tree.map(lambda leaf: leaf[at], turning)
    standing = Standing(
        mode=few.pattern.mode.astype(jnp.int32),
        preactivation=few.preactivation,
        velocity=given.velocity,
        near=few.slack(course.norms),
        armed=few.armed,
        watched=few.pattern.watched,
        sign=given.sign,
    )

    def one(pulls, uncertainty, standing, fired):
        return transition(course.arrangement, pulls, uncertainty, standing, fired, width)

    each = (given.pulls, uncertainty[at], standing, given.fired)
    if len(at) > 1:
        found = jax.vmap(one)(*each)
    else:  # loops of one, which `jax.vmap` would make copy their tables at every turn
        one_each = jax.tree.map(lambda leaf: leaf[0], each)
        found = jax.tree.map(lambda leaf: leaf[None], one(*one_each))
    record = _recorded(course, walk, record, lane, of_use, given, found, at, present)
    pattern = Pattern(
        found.mode.astype(jnp.int8), found.slots.astype(jnp.int32), found.response, found.watched
    )
    zeroed = jnp.where(found.stands, 0.0, few.preactivation)
    here = course.rows(at)

    def changed(w: Walk):
        return (
            w.pattern,
            w.preactivation,
            w.armed,
            w.pending,
            w.reduced.overlap,
            w.guards,
            w.modes,
        )

    new = (
        pattern,
        zeroed,
        few.armed & ~found.stands,
        jnp.zeros_like(few.pending),
        overlaps(here, pattern, zeroed),
        guards(course.arrangement, pattern, here.fine),
        None if walk.modes is None else mode_frame(here, pattern),
    )
    few = eqx.tree_at(changed, few, new, is_leaf=lambda leaf: leaf is None)
    return walk.with_rows(chosen, few, changed), record


def _recorded(
    course: Course,
    walk: Walk,
    record: Record,
    lane,
    of_use: Worth,
    given: Turning,
    found: Transition,
    at,
    present,
) -> Record:
    """The record so far, and what became of the neurons `at`."""
    before = walk.pattern.mode[at].astype(jnp.int32)
    changed = (before != found.mode) & present[:, None]
    boundary = jnp.broadcast_to(jnp.arange(course.boundaries), before.shape)
    kink = kink_of(course, walk, at[:, None], boundary, given.pulls.jump)
    # Where alpha r, or (1 - alpha) r, passes through zero, r'' jumps by what its slope makes of
    # the kink: over a step, a polynomial misses a fifth as much of it as of a kink in r'.
    leaves = (given.fired.leaves_low | given.fired.leaves_high)[:, None]
    leaves = leaves & (boundary == given.fired.boundary[:, None])
    bend = kink_of(course, walk, at[:, None], boundary, _BEND * given.slope[:, None])

    def of_each(values):
        return jnp.broadcast_to(values[at][:, None], before.shape)

    new = (of_each(lane), changed, of_each(walk.time), of_each(walk.index))
    new = (*new, boundary, before, found.mode, kink, jnp.where(leaves, bend, kink))
    record = record.add(of_use, *(array.ravel() for array in new))
    record = record.doubt(lane[at], present, walk.time[at], walk.index[at], found.ambiguity)

    def reported(flags, bad):
        return of_lanes(lane[at], len(flags), bad & present, "max", flags)

    return eqx.tree_at(
        lambda r: (r.chatters, r.overflows),
        record,
        (
            reported(record.chatters, ~found.found),
            reported(record.overflows, ~found.fits),
        ),
    )
