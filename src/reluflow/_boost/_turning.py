"""What a neuron does at the boundary it has met: the records, and its next pattern.

A unit alone that crosses, or comes to rest, is an update of rank one, for all neurons at once.
Where units slide or several are met, the complementarity problem of `_switching` decides.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .. import _modes
from .._branch import run_if
from .._field import Pattern
from .._shapes import PerNeuron, UnitFlags
from .._switching import Boundary, settle
from .._turning import places
from ._frame import mode_frame, overlaps
from ._path import legendre, series
from ._record import Record, Worth, kink_of
from ._release import Release, guards
from ._walk import Course, Walk

# How many neurons are settled at once, where room for their units is small; else one by one.
_TURNS, _ROOM = 8, 12


class Turning(eqx.Module):
    """The neurons that change their pattern at the end of this hop, and how."""

    simple: Bool[Array, " neurons"]  # one unit crosses or comes to rest
    mode: Int[Array, " neurons"]  # of that unit
    full: Bool[Array, " neurons"]  # by the complementarity problem
    vanishes: Bool[Array, " neurons"]  # with its output
    # of the complementarity problem: the units that it is about, and where its search begins
    on: UnitFlags
    status: Int[Array, "neurons samples"]
    sign: PerNeuron
    residual: Float[Array, "neurons samples"]


def decide(course: Course, walk: Walk, tried, released: Release, leaves, settles) -> Turning:
    """leaves: those that settle since a unit ceases to slide."""
    rows = jnp.arange(walk.time.shape[0])
    basis = legendre(tried.end)
    frame, end = walk.frame(course), tried.move.end
    vanishes = walk.search.vanishing & ~leaves & ~walk.pending
    meets = ~vanishes & ~leaves & ~walk.pending
    slope = frame.along(basis, end.overlap)
    sign = jnp.sign(jnp.where(vanishes | (end.output == 0.0), slope, end.output))
    # The unit alone: its velocity as it is, and on the other side.
    k = walk.search.sample
    old = walk.pattern.mode[rows, k]
    # Of the same polynomial as the force: where nothing else pulls, the two cancel exactly.
    pull = course.residual_of(basis, k) * jnp.diag(course.gram)[k] / course.samples
    now = sign * frame.velocity_at(basis, k)
    other = now + sign * jnp.where(old == _modes.ACTIVE, -pull, pull)
    noise = 1e-12 * jnp.abs(pull)
    direction = jnp.where(old == _modes.ACTIVE, -1.0, 1.0)
    passes = direction * other > noise
    rests = (old == _modes.ACTIVE) & (jnp.abs(other) <= noise)
    mode = jnp.where(old == _modes.ACTIVE, _modes.INACTIVE, _modes.ACTIVE)
    mode = jnp.where(rests, _modes.RESTING, mode)
    # Where the search of the complementarity problem begins: an attractive unit has one answer, and
    # this is mostly it. A repulsive one is asked whether it stays on the side that it came from.
    held = direction * other < -noise
    likely = (sign * pull < 0.0) & (direction * now > noise) & (passes | held)
    expected = jnp.where(held, _modes.SLIDING, mode)
    status = _status(walk, released, leaves, vanishes)
    # Others at the same instant.
    slides = walk.pattern.mode == _modes.SLIDING
    itself = meets[:, None] & (jnp.arange(course.samples) == k[:, None])
    ties = _ties(course, walk, tried, sign[:, None] * frame.velocity(basis)) & ~itself
    alone = meets & ~jnp.any(slides | ties, axis=1)
    simple = settles & alone & (passes | rests)
    arrives = jnp.where(walk.pending[:, None], walk.preactivation == 0.0, itself | ties)
    return Turning(
        simple=simple,
        mode=mode,
        full=settles & ~simple,
        vanishes=vanishes,
        on=slides | arrives,
        status=jnp.where(itself & likely[:, None], expected[:, None], status),
        sign=sign,
        residual=_judged_by(course, tried.end, slides),
    )


def _judged_by(course: Course, s: PerNeuron, slides: UnitFlags) -> Float[Array, "neurons samples"]:
    """The residual by which the neurons are settled: where units slide, that by which they cease
    to; else that which moves them, which would take back at once what the other says."""
    moves = series(s[:, None], course.residual)
    return jnp.where(jnp.any(slides, axis=1)[:, None], course.residual_at(s), moves)


def _ties(course: Course, walk: Walk, tried, speed):
    """Units that are on their boundaries at this instant, and on their way across."""
    side, mode = walk.side(), walk.pattern.mode
    near = side * tried.preactivation <= walk.slack(course.norms)
    ties = near & (~walk.armed | (side * speed < 0.0))
    moving = (mode != _modes.SLIDING) & (mode != _modes.RESTING)
    return ties & moving


def _status(walk: Walk, released: Release, leaves, vanishes):
    """From which alpha of its units the search of the complementarity problem begins."""
    rows, samples = jnp.arange(walk.time.shape[0]), walk.preactivation.shape[1]
    slots = walk.pattern.slots
    slides = walk.pattern.mode == _modes.SLIDING
    unit = slots[rows, released.slot] if slots.shape[1] else jnp.zeros_like(rows)
    this = leaves[:, None] & (jnp.arange(samples) == unit[:, None].astype(rows.dtype))
    off = leaves & ~released.high
    held = jnp.where(this, jnp.where(off, _modes.INACTIVE, _modes.ACTIVE)[:, None], _modes.SLIDING)
    held = jnp.where(vanishes[:, None], _modes.INACTIVE, held)
    came = jnp.where(walk.pattern.mode == _modes.ACTIVE, _modes.ACTIVE, _modes.INACTIVE)
    return jnp.where(slides, held, came)


def turn(course: Course, walk: Walk, record: Record, lane, of_use: Worth, turning: Turning):
    """The neurons on their next patterns, and the record of it."""
    walk, record = run_if(
        jnp.any(turning.simple),
        lambda both: _turn_simple(course, *both, lane, of_use, turning),
        (walk, record),
    )
    neurons, width = walk.pattern.slots.shape
    capacity = places(course.samples, width)
    at_once = 1 if capacity > _ROOM else min(_TURNS, neurons)

    def some(carry):
        full, walk, record = carry
        (chosen,) = jnp.nonzero(full, size=at_once, fill_value=neurons)
        full = full.at[chosen].set(False, mode="drop")
        return full, *_turn_full(course, walk, record, lane, of_use, turning, chosen, capacity)

    carry = (turning.full, walk, record)
    return jax.lax.while_loop(lambda carry: jnp.any(carry[0]), some, carry)[1:]


def _turn_simple(course: Course, walk: Walk, record: Record, lane, of_use: Worth, turning: Turning):
    """One unit of each neuron is switched: an update of rank one of what the residual is to it."""
    k = walk.search.sample
    rows = jnp.arange(k.shape[0])
    old = walk.pattern.mode[rows, k]
    here = turning.simple[:, None] & (jnp.arange(course.samples) == k[:, None])
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
    kink = kink_of(course, walk, rows, k, turning.residual[rows, k])
    record = record.add(
        of_use, lane, turning.simple, walk.time, walk.index, k, old, turning.mode, kink
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
    of_use: Worth,
    turning: Turning,
    chosen,
    capacity: int,
):
    """The chosen neurons take the pattern that their complementarity problem tells."""
    neurons, width = walk.pattern.slots.shape
    present, at = chosen < neurons, jnp.minimum(chosen, neurons - 1)

    def one(j):
        mode = walk.pattern.mode[j].astype(jnp.int32)
        boundary = Boundary.gather(turning.on[j], mode, turning.status[j], capacity)
        settled = settle(course.gram, turning.residual[j], turning.sign[j], mode, boundary, width)
        return boundary, settled

    if len(at) > 1:
        boundary, settled = jax.vmap(one)(at)
    else:  # loops of one, which `jax.vmap` would make copy their tables at every turn
        boundary, settled = jax.tree.map(lambda leaf: leaf[None], one(at[0]))
    places = boundary.samples
    lost = jnp.where(turning.vanishes[at], jnp.sum(walk.pattern.mode[at] == _modes.SLIDING, 1), 0)
    record = _with_changes(
        course, walk, record, lane, of_use, turning, boundary, settled, at, present
    )
    lane = jnp.where(present, lane[at], record.ambiguous.shape[0])

    def reported(flags, bad):
        return flags.at[lane].max(bad, mode="drop")

    count = jnp.maximum(settled.ambiguous, lost).astype(record.ambiguous.dtype)
    record = eqx.tree_at(
        lambda r: (r.ambiguous, r.chatters, r.overflows, r.parallel),
        record,
        (
            record.ambiguous.at[lane].add(count, mode="drop"),
            reported(record.chatters, ~settled.found),
            reported(record.overflows, ~settled.fits),
            reported(record.parallel, ~settled.distinct),
        ),
    )
    few = walk.rows(at)
    units = (jnp.arange(places.shape[0])[:, None], places)
    pattern = Pattern(
        settled.mode.astype(jnp.int8), settled.slots.astype(jnp.int32), settled.response
    )
    zeroed = few.preactivation.at[units].set(0.0, mode="drop")
    course = course.rows(at)
    new = (
        pattern,
        zeroed,
        few.armed.at[units].set(False, mode="drop"),
        jnp.zeros_like(few.pending),
        overlaps(course, pattern, zeroed),
        guards(pattern, course.fine),
        None if walk.modes is None else mode_frame(course, pattern),
    )
    few = eqx.tree_at(
        lambda w: (
            w.pattern,
            w.preactivation,
            w.armed,
            w.pending,
            w.reduced.overlap,
            w.guards,
            w.modes,
        ),
        few,
        new,
        is_leaf=lambda leaf: leaf is None,
    )
    return walk.with_rows(chosen, few), record


def _with_changes(
    course: Course,
    walk: Walk,
    record: Record,
    lane,
    of_use,
    turning,
    boundary,
    settled,
    at,
    present,
) -> Record:
    """The record so far, and the changes of mode of the settled neurons `at`."""
    places, before, modes = boundary.samples, boundary.before, settled.modes
    changed = (places < course.samples) & (before != modes) & present[:, None]
    residual = turning.residual[at[:, None], jnp.minimum(places, course.samples - 1)]
    kink = kink_of(course, walk, at[:, None], places, residual)

    def of_each(values):
        return jnp.broadcast_to(values[at][:, None], places.shape)

    new = (
        of_each(lane),
        changed,
        of_each(walk.time),
        of_each(walk.index),
        places,
        before,
        modes,
        kink,
    )
    return record.add(of_use, *(array.ravel() for array in new))
