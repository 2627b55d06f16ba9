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
from .._solution import RESULTS
from .._switching import Boundary, Settled, settle
from .._turning import places
from ._frame import NodeFrame, node_frame, overlaps
from ._meeting import Met
from ._path import lagrange
from ._release import Release
from ._small import total
from ._walk import Course, StepEvents, Walk, kink_of

# How many neurons can be settled in one hop by the full complementarity problem.
_TURNS = 8


class Turning(eqx.Module):
    """The neurons that change their pattern at the end of this hop, and how."""

    simple: Bool[Array, " neurons"]  # one unit crosses or comes to rest
    mode: Int[Array, " neurons"]  # of that unit
    full: Bool[Array, " neurons"]  # by the complementarity problem
    waits: Bool[Array, " neurons"]  # for the next hop: too many at once
    chosen: Int[Array, " turns"]  # the neurons that are settled
    boundary: Boundary  # of each
    sign: PerNeuron
    residual: Float[Array, "neurons samples"]


def decide(course: Course, walk: Walk, met: Met, released: Release, release, event) -> Turning:
    problem, samples = course.problem, walk.preactivation.shape[1]
    rows = jnp.arange(walk.time.shape[0])
    basis = lagrange(met.end)
    residual = course.residual_at(met.end)
    frame = walk.frame(course)
    slope = frame.along(basis, met.move.end.overlap)
    outputless = met.vanishes | (met.move.end.output == 0.0)
    sign = jnp.sign(jnp.where(outputless, slope, met.move.end.output))
    # The unit alone: its velocity as it is, and on the other side.
    k = met.sample
    old = walk.pattern.mode[rows, k]
    diagonal = jnp.diag(problem.gram)[k]
    # Of the same polynomial as the force: where nothing else pulls, the two cancel exactly.
    pull = total(basis * course.residual[:, k], 0) * diagonal / samples
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
    side, speed = walk.side(), sign[:, None] * frame.velocity(basis)
    near = side * met.preactivation <= walk.slack(problem)
    ties = near & (~walk.armed | (side * speed < 0.0)) & ~slides
    ties = ties & (walk.pattern.mode != _modes.RESTING) & (jnp.arange(samples) != k[:, None])
    alone = met.meets & ~jnp.any(slides | ties, axis=1) & ~walk.pending
    simple = event & alone & (passes | rests)
    full = event & ~simple
    (chosen,) = jnp.nonzero(full, size=min(_TURNS, rows.shape[0]), fill_value=rows.shape[0])
    served = jnp.zeros_like(full).at[chosen].set(True, mode="drop")
    here = (met.meets[:, None] & (jnp.arange(samples) == k[:, None])) | ties
    arrives = jnp.where(walk.pending[:, None], walk.preactivation == 0.0, here) & ~slides
    off = release & ~released.high
    unit = walk.pattern.slots[rows, released.slot] if walk.pattern.slots.shape[1] else k
    this = release[:, None] & (jnp.arange(samples) == unit[:, None].astype(k.dtype))
    held = jnp.where(this, jnp.where(off, _modes.INACTIVE, _modes.ACTIVE)[:, None], _modes.SLIDING)
    held = jnp.where(met.vanishes[:, None], _modes.INACTIVE, held)
    came = jnp.where(walk.pattern.mode == _modes.ACTIVE, _modes.ACTIVE, _modes.INACTIVE)
    status = jnp.where(slides, held, came)
    gather = jnp.minimum(chosen, rows.shape[0] - 1)
    width = walk.pattern.slots.shape[1]
    capacity = places(samples, width)
    boundary = jax.vmap(lambda on, m, s: Boundary.gather(on, m, s, capacity))(
        (slides | arrives)[gather], walk.pattern.mode[gather].astype(jnp.int32), status[gather]
    )
    return Turning(simple, mode, full & served, full & ~served, chosen, boundary, sign, residual)


def turn(course: Course, walk: Walk, met: Met, turning: Turning) -> Walk:
    walk = run_if(
        jnp.any(turning.simple), lambda walk: _turn_simple(course, walk, met, turning), walk
    )
    return run_if(jnp.any(turning.full), lambda walk: _turn_full(course, walk, met, turning), walk)


def _turn_simple(course: Course, walk: Walk, met: Met, turning: Turning) -> Walk:
    """One unit of each neuron is switched: an update of rank one of what the residual is to it."""
    problem, k = course.problem, met.sample
    samples = problem.labels.shape[0]
    rows = jnp.arange(k.shape[0])
    old = walk.pattern.mode[rows, k]
    here = turning.simple[:, None] & (jnp.arange(samples) == k[:, None])
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
    events = walk.events.add(turning.simple, walk.time, walk.index, k, old, turning.mode, kink)
    return eqx.tree_at(
        lambda w: (
            w.pattern.mode, w.preactivation, w.armed, w.nodes, w.reduced.overlap, w.events,
        ),
        walk,
        (
            mode,
            jnp.where(here, 0.0, walk.preactivation),
            walk.armed & ~here,
            nodes,
            overlap,
            events,
        ),
        is_leaf=lambda leaf: leaf is None,
    )  # fmt: skip


def _turn_full(course: Course, walk: Walk, met: Met, turning: Turning) -> Walk:
    """The chosen neurons take the pattern that their complementarity problem tells."""
    problem, chosen = course.problem, turning.chosen
    neurons = walk.preactivation.shape[0]
    width = walk.pattern.slots.shape[1]
    present = chosen < neurons
    at = jnp.minimum(chosen, neurons - 1)

    def one(j, boundary):
        return settle(
            problem.gram, turning.residual[j], turning.sign[j],
            walk.pattern.mode[j].astype(jnp.int32), boundary, width,
        )  # fmt: skip

    settled = jax.vmap(one)(at, turning.boundary)
    places, shape = turning.boundary.samples, turning.boundary.samples.shape
    events = _recorded(course, walk, turning, settled.modes, at, present)
    zeroed = walk.preactivation[at].at[jnp.arange(shape[0])[:, None], places].set(0.0, mode="drop")
    armed = walk.armed[at].at[jnp.arange(shape[0])[:, None], places].set(False, mode="drop")
    pattern = Pattern(
        settled.mode.astype(jnp.int8), settled.slots.astype(jnp.int32), settled.response
    )
    overlap, nodes = overlaps(course, pattern, zeroed), None
    if walk.nodes is not None:
        new = node_frame(course, pattern)
        nodes = NodeFrame(
            walk.nodes.force.at[..., chosen, :].set(new.force, mode="drop"),
            walk.nodes.inner.at[..., chosen].set(new.inner, mode="drop"),
        )
    lost = jnp.where(
        met.vanishes[at] & present, jnp.sum(walk.pattern.mode[at] == _modes.SLIDING, axis=1), 0
    )
    ambiguous = jnp.sum(jnp.where(present, jnp.maximum(settled.ambiguous, lost), 0))

    def put(array, rows):
        return array.at[chosen].set(rows, mode="drop")

    return eqx.tree_at(
        lambda w: (
            w.pattern, w.preactivation, w.armed, w.pending, w.nodes, w.reduced.overlap,
            w.events, w.ambiguous, w.result,
        ),
        walk,
        (
            jax.tree.map(put, walk.pattern, pattern),
            put(walk.preactivation, zeroed),
            put(walk.armed, armed),
            put(walk.pending, False),
            nodes,
            walk.reduced.overlap.at[..., chosen].set(overlap, mode="drop"),
            events,
            walk.ambiguous + ambiguous,
            _result(settled, present, walk.result),
        ),
        is_leaf=lambda leaf: leaf is None,
    )  # fmt: skip


def _recorded(course: Course, walk: Walk, turning: Turning, modes, at, present) -> StepEvents:
    """The events so far, and the changes of mode of the settled neurons `at`."""
    places, before = turning.boundary.samples, turning.boundary.before
    samples = walk.preactivation.shape[1]
    changed = (places < samples) & (before != modes) & present[:, None]
    residual = turning.residual[at[:, None], jnp.minimum(places, samples - 1)]
    kink = kink_of(course, walk, at[:, None], places, residual)
    time, neuron = (jnp.broadcast_to(v[at][:, None], places.shape) for v in (walk.time, walk.index))
    new = (changed, time, neuron, places, before, modes, kink)
    return walk.events.add(*(array.ravel() for array in new))


def _result(settled: Settled, present, before: RESULTS) -> RESULTS:
    """Why the settled neurons cannot go on, if they cannot."""
    found = jnp.all(settled.found | ~present)
    result = RESULTS.where(found, before, RESULTS.chattering)
    result = RESULTS.where(jnp.all(settled.fits | ~present), result, RESULTS.sliding_buffer_full)
    return RESULTS.where(jnp.all(settled.distinct | ~present), result, RESULTS.parallel_inputs)
