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
from .._shapes import PerNeuron
from .._switching import Boundary, settle
from .._turning import places
from ._frame import node_frame, overlaps
from ._path import lagrange
from ._record import Record, kink_of
from ._release import Release
from ._walk import Course, Walk

# How many neurons can be settled in one hop by the full complementarity problem.
_TURNS = 8


class Turning(eqx.Module):
    """The neurons that change their pattern at the end of this hop, and how."""

    simple: Bool[Array, " neurons"]  # one unit crosses or comes to rest
    mode: Int[Array, " neurons"]  # of that unit
    full: Bool[Array, " neurons"]  # by the complementarity problem
    waits: Bool[Array, " neurons"]  # for the next hop: too many at once
    vanishes: Bool[Array, " neurons"]  # with its output
    chosen: Int[Array, " turns"]  # the neurons that are settled
    boundary: Boundary  # of each
    sign: PerNeuron
    residual: Float[Array, "neurons samples"]


def decide(course: Course, walk: Walk, tried, released: Release, leaves, settles) -> Turning:
    """leaves: those that settle since a unit ceases to slide."""
    rows = jnp.arange(walk.time.shape[0])
    basis = lagrange(tried.end)
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
    # Others at the same instant.
    slides = walk.pattern.mode == _modes.SLIDING
    itself = meets[:, None] & (jnp.arange(course.samples) == k[:, None])
    ties = _ties(course, walk, tried, sign[:, None] * frame.velocity(basis)) & ~itself
    alone = meets & ~jnp.any(slides | ties, axis=1)
    simple = settles & alone & (passes | rests)
    full = settles & ~simple
    (chosen,) = jnp.nonzero(full, size=min(_TURNS, rows.shape[0]), fill_value=rows.shape[0])
    served = jnp.zeros_like(full).at[chosen].set(True, mode="drop")
    arrives = jnp.where(walk.pending[:, None], walk.preactivation == 0.0, itself | ties) & ~slides
    status = _status(walk, released, leaves, vanishes)
    gather = jnp.minimum(chosen, rows.shape[0] - 1)
    capacity = places(course.samples, walk.pattern.slots.shape[1])
    boundary = jax.vmap(lambda on, m, s: Boundary.gather(on, m, s, capacity))(
        (slides | arrives)[gather], walk.pattern.mode[gather].astype(jnp.int32), status[gather]
    )
    residual = course.residual_at(tried.end)
    return Turning(
        simple, mode, full & served, full & ~served, vanishes, chosen, boundary, sign, residual
    )


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


def turn(course: Course, walk: Walk, record: Record, lane, turning: Turning):
    """The neurons on their next patterns, and the record of it."""
    walk, record = run_if(
        jnp.any(turning.simple), lambda both: _turn_simple(course, *both, lane, turning),
        (walk, record),
    )  # fmt: skip
    return run_if(
        jnp.any(turning.full), lambda both: _turn_full(course, *both, lane, turning),
        (walk, record),
    )  # fmt: skip


def _turn_simple(course: Course, walk: Walk, record: Record, lane, turning: Turning):
    """One unit of each neuron is switched: an update of rank one of what the residual is to it."""
    k = walk.search.sample
    rows = jnp.arange(k.shape[0])
    old = walk.pattern.mode[rows, k]
    here = turning.simple[:, None] & (jnp.arange(course.samples) == k[:, None])
    change = jnp.where(turning.mode == _modes.ACTIVE, 1.0, 0.0)
    change = change - jnp.where(old == _modes.ACTIVE, 1.0, 0.0)
    nodes, overlap = walk.nodes, walk.reduced.overlap
    if nodes is None:
        overlap = jnp.where(here.T, 0.0, overlap)
    else:
        nodes = nodes.switched(course, jnp.where(turning.simple, change, 0.0), k)
        rests = here & (turning.mode == _modes.RESTING)[:, None]
        nodes = eqx.tree_at(lambda n: n.force, nodes, jnp.where(rests, 0.0, nodes.force))
    mode = jnp.where(here, turning.mode[:, None].astype(walk.pattern.mode.dtype), walk.pattern.mode)
    kink = kink_of(course, walk, rows, k, turning.residual[rows, k])
    events = record.events.add(
        lane, turning.simple, walk.time, walk.index, k, old, turning.mode, kink
    )
    walk = eqx.tree_at(
        lambda w: (w.pattern.mode, w.preactivation, w.armed, w.nodes, w.reduced.overlap),
        walk,
        (mode, jnp.where(here, 0.0, walk.preactivation), walk.armed & ~here, nodes, overlap),
        is_leaf=lambda leaf: leaf is None,
    )
    return walk, eqx.tree_at(lambda r: r.events, record, events)


def _turn_full(course: Course, walk: Walk, record: Record, lane, turning: Turning):
    """The chosen neurons take the pattern that their complementarity problem tells."""
    chosen, neurons = turning.chosen, walk.time.shape[0]
    present, at = chosen < neurons, jnp.minimum(chosen, neurons - 1)
    width = walk.pattern.slots.shape[1]

    def one(j, boundary):
        return settle(
            course.gram, turning.residual[j], turning.sign[j],
            walk.pattern.mode[j].astype(jnp.int32), boundary, width,
        )  # fmt: skip

    settled = jax.vmap(one)(at, turning.boundary)
    places = turning.boundary.samples
    lost = jnp.where(turning.vanishes[at], jnp.sum(walk.pattern.mode[at] == _modes.SLIDING, 1), 0)
    events = _with_changes(course, walk, record, lane, turning, settled.modes, at, present)
    lane = jnp.where(present, lane[at], record.ambiguous.shape[0])

    def reported(flags, bad):
        return flags.at[lane].max(bad, mode="drop")

    record = Record(
        events=events,
        ambiguous=record.ambiguous.at[lane].add(
            jnp.maximum(settled.ambiguous, lost).astype(record.ambiguous.dtype), mode="drop"
        ),
        chatters=reported(record.chatters, ~settled.found),
        overflows=reported(record.overflows, ~settled.fits),
        parallel=reported(record.parallel, ~settled.distinct),
    )
    few = walk.rows(at)
    units = (jnp.arange(places.shape[0])[:, None], places)
    pattern = Pattern(
        settled.mode.astype(jnp.int8), settled.slots.astype(jnp.int32), settled.response
    )
    zeroed = few.preactivation.at[units].set(0.0, mode="drop")
    course = course.rows(at)
    new = (
        pattern, zeroed, few.armed.at[units].set(False, mode="drop"), jnp.zeros_like(few.pending),
        overlaps(course, pattern, zeroed),
        None if walk.nodes is None else node_frame(course, pattern),
    )  # fmt: skip
    few = eqx.tree_at(
        lambda w: (
            w.pattern, w.preactivation, w.armed, w.pending, w.reduced.overlap, w.nodes
        ),
        few, new, is_leaf=lambda leaf: leaf is None,
    )  # fmt: skip
    return walk.with_rows(chosen, few), record


def _with_changes(course: Course, walk: Walk, record: Record, lane, turning, modes, at, present):
    """The events so far, and the changes of mode of the settled neurons `at`."""
    places, before = turning.boundary.samples, turning.boundary.before
    changed = (places < course.samples) & (before != modes) & present[:, None]
    residual = turning.residual[at[:, None], jnp.minimum(places, course.samples - 1)]
    kink = kink_of(course, walk, at[:, None], places, residual)

    def of_each(values):
        return jnp.broadcast_to(values[at][:, None], places.shape)

    new = (
        of_each(lane), changed, of_each(walk.time), of_each(walk.index), places, before, modes, kink
    )  # fmt: skip
    return record.events.add(*(array.ravel() for array in new))
