"""A hop: all neurons towards their next point, each stopping at the first boundary it meets."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .. import _modes
from .._field import Pattern
from .._shapes import PerNeuron
from .._solution import RESULTS
from .._switching import Boundary, settle
from ._path import lagrange, lagrange_of_points, propagate
from ._walk import (
    Course,
    Hop,
    Walk,
    after,
    coefficients,
    crossed,
    forces,
    kink_of,
    locate,
)

# Along a boost of this rapidity a neuron has turned to its D up to rounding. A longer one, in
# which something crosses, is cut: where the path is all exponentials, an order of events drowns.
_LONGEST = 30.0
# How many neurons can be settled in one hop by the full complementarity problem.
_TURNS = 8


def advance(course: Course, walk: Walk, goal, noise, max_hops: int) -> Walk:
    """Takes every neuron to the time `goal` of the step."""

    def running(walk):
        unfinished = jnp.any(walk.time < goal) | jnp.any(walk.pending)
        good = walk.result == RESULTS.successful
        return unfinished & good & (walk.hops < max_hops)

    walk = eqx.tree_at(
        lambda w: (w.target, w.hops), walk, (jnp.full_like(walk.target, goal), jnp.array(0))
    )
    walk = jax.lax.while_loop(running, lambda w: hop(course, w, goal, noise), walk)
    late = (walk.hops >= max_hops) & (walk.result == RESULTS.successful)
    result = RESULTS.where(late, RESULTS.chattering, walk.result)
    return eqx.tree_at(lambda w: w.result, walk, result)


def hop(course: Course, walk: Walk, goal, noise) -> Walk:
    released = _release(course, walk, noise)
    end = jnp.where(walk.pending, walk.time, released.time)
    met = _meet(course, walk, end)
    release = released.fires & ~met.meets & ~met.vanishes & ~walk.pending
    going = (walk.time < goal) | walk.pending
    slides = jnp.any(walk.pattern.mode == _modes.SLIDING, axis=1)
    event = met.meets | release | (met.vanishes & slides) | walk.pending
    turning = _turning(course, walk, met, released, release, going & event & ~met.early)
    commit = going & ~met.early & ~turning.waits
    walk = _move(course, walk, met, commit, goal)
    return _turn(course, walk, met, turning, commit)


# Which slot is released: its alpha reaches 0 or 1


class _Release(eqx.Module):
    time: PerNeuron  # where the hop ends, at the latest
    fires: Bool[Array, " neurons"]
    slot: Int[Array, " neurons"]
    high: Bool[Array, " neurons"]


def _release(course: Course, walk: Walk, noise) -> _Release:
    """The first slot of each neuron whose alpha leaves (0, 1) before the target."""
    neurons, width = walk.pattern.slots.shape
    if width == 0:
        nothing = jnp.zeros((neurons,), bool)
        return _Release(walk.target, nothing, jnp.zeros((neurons,), jnp.int32), nothing)
    first = _slot_guards(course, walk, walk.time)
    last = _slot_guards(course, walk, walk.target)
    fired = last < -noise
    fires = jnp.any(fired, axis=1)
    fraction = jnp.maximum(first, 0.0) / jnp.where(fired, jnp.maximum(first, 0.0) - last, 1.0)
    index = jnp.argmin(jnp.where(fired, fraction, jnp.inf), axis=1)
    slot, high = index % width, index >= width
    rows = jnp.arange(neurons)
    samples = course.problem.labels.shape[0]
    response = walk.pattern.response[rows, slot]
    unit = walk.pattern.slots[rows, slot]
    held = -jnp.einsum("jk,ik->ij", response, course.fine)
    whole = course.fine[:, jnp.minimum(unit, samples - 1)]
    toward = -_sign(walk)
    points = toward * jnp.where(high, whole - held, held)
    time = _polynomial_root(points, walk.time, walk.target, fires)
    return _Release(jnp.where(fires, time, walk.target), fires, slot, high)


def _slot_guards(course: Course, walk: Walk, s) -> Float[Array, "neurons guards"]:
    """alpha |r| and (1 - alpha) |r| of the slots at a time of each neuron; 1 where empty."""
    residual = course.residual_at(s)
    slots = walk.pattern.slots
    toward = -_sign(walk)[:, None]
    low = toward * -jnp.einsum("jsk,jk->js", walk.pattern.response, residual)
    rows = jnp.arange(slots.shape[0])[:, None]
    whole = toward * residual.at[rows, slots].get(mode="fill", fill_value=0.0)
    guards = jnp.concatenate([low, whole - low], axis=1)
    empty = slots >= residual.shape[1]
    return jnp.where(jnp.concatenate([empty, empty], axis=1), 1.0, guards)


def _sign(walk: Walk) -> PerNeuron:
    """Of the output; where that is zero, of where it goes."""
    output = walk.reduced.output
    slope = jnp.sum(lagrange(walk.time) * walk.reduced.overlap, axis=0)
    return jnp.sign(jnp.where(output == 0.0, slope, output))


def _polynomial_root(points, low, high, wanted) -> PerNeuron:
    """Where the polynomial through these values falls through zero in [low, high]."""

    def step(carry):
        low, high, count = carry
        middle = (low + high) / 2.0
        above = jnp.sum(lagrange_of_points(middle) * points, axis=0) > 0.0
        return jnp.where(above, middle, low), jnp.where(above, high, middle), count + 1

    def running(carry):
        low, high, count = carry
        return jnp.any(wanted & (high - low > 1e-15)) & (count < 60)

    low, high, _ = jax.lax.while_loop(running, step, (low, high, 0))
    # For the derivative, a Newton step: of a root, it has the right one.
    root = jax.lax.stop_gradient((low + high) / 2.0)
    basis, slope = jax.jvp(lagrange_of_points, (root,), (jnp.ones_like(root),))
    slope = jax.lax.stop_gradient(jnp.sum(slope * points, axis=0))
    step_back = jnp.sum(basis * points, axis=0) / jnp.where(slope < 0.0, slope, -jnp.inf)
    polished = root - step_back
    return jnp.where(jnp.abs(step_back) < 1e-9, polished, root)


# How far a neuron gets


def _meet(course: Course, walk: Walk, end) -> Hop:
    """Moves to the end, or to the first boundary before it."""
    problem = course.problem
    move = propagate(walk.reduced, walk.inner, walk.time, end, course.length)
    reached = after(walk, move)
    slack = walk.slack(problem)
    crossing = crossed(walk, problem, reached, slack) & ~walk.pending[:, None]
    crosses = jnp.any(crossing, axis=1)
    cut, middle = _hidden(course, walk, end, move, reached, crossing, slack)
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

    def search():
        time = locate(course, walk, end, move, sample, fraction, wanted, vanishes)
        moved = propagate(walk.reduced, walk.inner, walk.time, time, course.length)
        arrived = after(walk, moved)
        # Beyond rounding: two boundaries met at one instant are settled together.
        free = walk.pattern.mode != _modes.SLIDING
        passed = free & (walk.side() * arrived < -slack)
        passed = passed & ((jnp.arange(passed.shape[1]) != sample[:, None]) | vanishes[:, None])
        return time, moved, arrived, jnp.any(passed, axis=1) & wanted

    def stay():
        return end, move, reached, jnp.zeros_like(wanted)

    time, moved, arrived, passed = jax.lax.cond(jnp.any(wanted), search, stay)
    # Not this time: a shorter hop is tried, to where a neuron seems to have been earlier.
    shorter = jnp.where(
        cut, middle, walk.time + (end - walk.time) * jnp.where(long, _LONGEST / move.growth, 1.0)
    )
    early = passed | long | cut
    time = jnp.where(cut | long, jax.lax.stop_gradient(shorter), time)
    return Hop(time, moved, arrived, sample, meets, vanishes, early)


def _hidden(course: Course, walk: Walk, end, move, reached, crossing, slack):
    """Whether a unit may have crossed and come back, or left and returned, inside the hop.

    A preactivation moves by a(s) <x_k, D(s)>, so it can only turn where one of them changes its
    sign. Where the tangents at both ends meet beyond zero, the hop is cut where it turns.
    """
    first, last = lagrange(walk.time), lagrange(end)
    scale, side = course.length * (end - walk.time), walk.side()
    slope0 = (
        side
        * (scale * move.kept * walk.reduced.output)[:, None]
        * jnp.einsum("ij,ijk->jk", first, walk.force)
    )
    slope1 = side * (scale * move.end.output)[:, None] * jnp.einsum("ij,ijk->jk", last, walk.force)
    height0, height1 = side * move.kept[:, None] * walk.preactivation, side * reached
    free = walk.pattern.mode != _modes.SLIDING
    dips = free & (slope0 < 0.0) & (slope1 > 0.0) & (height0 > 0.0) & ~crossing
    change = jnp.where(slope1 != slope0, slope1 - slope0, 1.0)
    meeting = (slope1 - height1 + height0) / change
    lowest = height0 + slope0 * meeting
    dips = dips & (lowest < -slack)
    returns = crossing & ~walk.armed & (height0 <= slack) & (slope0 > 0.0) & (slope1 < 0.0)
    turns = -slope0 / change
    where = jnp.where(dips | returns, jnp.clip(turns, 0.05, 0.95), jnp.inf)
    earliest = jnp.min(where, axis=1)
    # In a hop this short, nothing beyond rounding can hide.
    cut = jnp.isfinite(earliest) & (end - walk.time > 1e-9)
    return cut, walk.time + (end - walk.time) * jnp.where(cut, earliest, 1.0)


# What happens there


class _Turning(eqx.Module):
    """The neurons that change their pattern at the end of this hop, and how."""

    simple: Bool[Array, " neurons"]  # one unit crosses or comes to rest
    mode: Int[Array, " neurons"]  # of that unit
    full: Bool[Array, " neurons"]  # by the complementarity problem
    waits: Bool[Array, " neurons"]  # for the next hop: too many at once
    chosen: Int[Array, " turns"]  # the neurons that are settled
    boundary: Boundary  # of each
    sign: PerNeuron
    residual: Float[Array, "neurons samples"]


def _turning(course: Course, walk: Walk, met: Hop, released: _Release, release, event) -> _Turning:
    problem, samples = course.problem, walk.preactivation.shape[1]
    rows = jnp.arange(walk.time.shape[0])
    basis = lagrange(met.end)
    residual = course.residual_at(met.end)
    slope = jnp.sum(basis * met.move.end.overlap, axis=0)
    outputless = met.vanishes | (met.move.end.output == 0.0)
    sign = jnp.sign(jnp.where(outputless, slope, met.move.end.output))
    # The unit alone: its velocity as it is, and on the other side.
    k = met.sample
    old = walk.pattern.mode[rows, k]
    diagonal = jnp.diag(problem.gram)[k]
    # Of the same polynomial as the force: where nothing else pulls, the two cancel exactly.
    pull = jnp.sum(basis * course.residual[:, k], axis=0) * diagonal / samples
    now = sign * jnp.sum(basis * walk.force[:, rows, k], axis=0)
    other = now + sign * jnp.where(old == _modes.ACTIVE, -pull, pull)
    noise = 1e-12 * jnp.abs(pull)
    direction = jnp.where(old == _modes.ACTIVE, -1.0, 1.0)
    passes = direction * other > noise
    rests = (old == _modes.ACTIVE) & (jnp.abs(other) <= noise)
    mode = jnp.where(old == _modes.ACTIVE, _modes.INACTIVE, _modes.ACTIVE)
    mode = jnp.where(rests, _modes.RESTING, mode)
    # Others at the same instant.
    slides = walk.pattern.mode == _modes.SLIDING
    side, speed = walk.side(), sign[:, None] * jnp.einsum("ij,ijk->jk", basis, walk.force)
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
    capacity = min(samples, max(32, width + 4))
    boundary = jax.vmap(lambda on, m, s: Boundary.gather(on, m, s, capacity))(
        (slides | arrives)[gather], walk.pattern.mode[gather].astype(jnp.int32), status[gather]
    )
    return _Turning(simple, mode, full & served, full & ~served, chosen, boundary, sign, residual)


def _move(course: Course, walk: Walk, met: Hop, commit, goal) -> Walk:
    """Every neuron that has got there, there."""
    move, pattern = met.move, walk.pattern
    passed = jnp.einsum("ij,ik->jk", move.gained, course.residual) / course.residual.shape[1]
    gained = coefficients(passed, pattern.mode, pattern.slots, pattern.response)

    def put(new, old):
        shape = (-1,) + (1,) * (new.ndim - 1)
        return jnp.where(commit.reshape(shape), new, old)

    def put_last(new, old):
        return jnp.where(commit, new, old)

    clear = walk.side() * met.preactivation > 4.0 * walk.slack(course.problem)
    reduced = jax.tree.map(put_last, move.end, walk.reduced)
    return eqx.tree_at(
        lambda w: (
            w.time, w.target, w.reduced, w.preactivation, w.combination, w.kept, w.growth,
            w.exponent, w.armed, w.hops,
        ),
        walk,
        (
            put(met.end, walk.time),
            jnp.where(met.early, met.end, jnp.where(commit, goal, walk.target)),
            reduced,
            put(met.preactivation, walk.preactivation),
            put(move.kept[:, None] * walk.combination + gained, walk.combination),
            put(move.kept * walk.kept, walk.kept),
            put(walk.growth + move.growth, walk.growth),
            put(walk.exponent + move.exponent, walk.exponent),
            put(walk.armed | clear, walk.armed),
            walk.hops + 1,
        ),
    )  # fmt: skip


def _turn(course: Course, walk: Walk, met: Hop, turning: _Turning, commit) -> Walk:
    walk = jax.lax.cond(
        jnp.any(turning.simple), lambda: _turn_simple(course, walk, met, turning), lambda: walk
    )
    return jax.lax.cond(
        jnp.any(turning.full), lambda: _turn_full(course, walk, met, turning), lambda: walk
    )


def _turn_simple(course: Course, walk: Walk, met: Hop, turning: _Turning) -> Walk:
    """One unit of each neuron is switched: an update of rank one of what the residual is to it."""
    problem, k = course.problem, met.sample
    samples = problem.labels.shape[0]
    rows = jnp.arange(k.shape[0])
    old = walk.pattern.mode[rows, k]
    here = turning.simple[:, None] & (jnp.arange(samples) == k[:, None])
    change = jnp.where(turning.mode == _modes.ACTIVE, 1.0, 0.0)
    change = change - jnp.where(old == _modes.ACTIVE, 1.0, 0.0)
    beta = jnp.where(turning.simple, change, 0.0) * course.residual[:, k] / samples
    seen = walk.force[:, rows, k]
    cross = beta[:, None] * seen[None]
    square = beta[:, None] * beta[None] * jnp.diag(problem.gram)[k]
    inner = walk.inner + cross + jnp.swapaxes(cross, 0, 1) + square
    force = walk.force + beta[:, :, None] * problem.gram[k][None]
    rests = here & (turning.mode == _modes.RESTING)[:, None]
    force = jnp.where(rests, 0.0, force)
    mode = jnp.where(here, turning.mode[:, None].astype(walk.pattern.mode.dtype), walk.pattern.mode)
    kink = kink_of(course, walk, rows, k, turning.residual[rows, k])
    events = walk.events.add(turning.simple, walk.time, rows, k, old, turning.mode, kink)
    return eqx.tree_at(
        lambda w: (w.pattern.mode, w.preactivation, w.armed, w.force, w.inner, w.events),
        walk,
        (
            mode,
            jnp.where(here, 0.0, walk.preactivation),
            walk.armed & ~here,
            force,
            inner,
            events,
        ),
    )


def _turn_full(course: Course, walk: Walk, met: Hop, turning: _Turning) -> Walk:
    """The chosen neurons take the pattern that their complementarity problem tells."""
    problem, chosen = course.problem, turning.chosen
    neurons, samples = walk.preactivation.shape
    width = walk.pattern.slots.shape[1]
    present = chosen < neurons
    at = jnp.minimum(chosen, neurons - 1)

    def one(j, boundary):
        return settle(
            problem.gram, turning.residual[j], turning.sign[j],
            walk.pattern.mode[j].astype(jnp.int32), boundary, width,
        )  # fmt: skip

    settled = jax.vmap(one)(at, turning.boundary)
    places = turning.boundary.samples
    changed = (places < samples) & (turning.boundary.before != settled.modes) & present[:, None]
    shape = changed.shape
    residual = turning.residual[at[:, None], jnp.minimum(places, samples - 1)]
    kink = kink_of(course, walk, at[:, None], places, residual)
    # A unit that ends to slide does so at alpha = 0 or 1: r' is continuous.
    kink = jnp.where(turning.boundary.before == _modes.SLIDING, 0.0, kink)
    events = walk.events.add(
        changed.ravel(),
        jnp.broadcast_to(walk.time[at][:, None], shape).ravel(),
        jnp.broadcast_to(chosen[:, None], shape).ravel(),
        places.ravel(),
        turning.boundary.before.ravel(),
        settled.modes.ravel(),
        kink.ravel(),
    )
    zeroed = walk.preactivation[at].at[jnp.arange(shape[0])[:, None], places].set(0.0, mode="drop")
    armed = walk.armed[at].at[jnp.arange(shape[0])[:, None], places].set(False, mode="drop")
    mode, slots = settled.mode.astype(jnp.int8), settled.slots.astype(jnp.int32)
    force, inner, overlap = forces(course, mode, slots, settled.response, zeroed)
    found = jnp.all(settled.found | ~present)
    result = RESULTS.where(found, walk.result, RESULTS.chattering)
    result = RESULTS.where(jnp.all(settled.fits | ~present), result, RESULTS.sliding_buffer_full)
    result = RESULTS.where(jnp.all(settled.distinct | ~present), result, RESULTS.parallel_inputs)
    lost = jnp.where(
        met.vanishes[at] & present, jnp.sum(walk.pattern.mode[at] == _modes.SLIDING, axis=1), 0
    )
    ambiguous = jnp.sum(jnp.where(present, jnp.maximum(settled.ambiguous, lost), 0))

    def put(array, rows):
        return array.at[chosen].set(rows, mode="drop")

    def put_middle(array, rows):
        return array.at[..., chosen, :].set(rows, mode="drop")

    return eqx.tree_at(
        lambda w: (
            w.pattern, w.preactivation, w.armed, w.pending, w.force, w.inner, w.reduced.overlap,
            w.events, w.ambiguous, w.result,
        ),
        walk,
        (
            Pattern(
                put(walk.pattern.mode, mode),
                put(walk.pattern.slots, slots),
                put(walk.pattern.response, settled.response),
            ),
            put(walk.preactivation, zeroed),
            put(walk.armed, armed),
            put(walk.pending, False),
            put_middle(walk.force, force),
            walk.inner.at[..., chosen].set(inner, mode="drop"),
            walk.reduced.overlap.at[..., chosen].set(overlap, mode="drop"),
            events,
            walk.ambiguous + ambiguous,
            result,
        ),
    )  # fmt: skip
