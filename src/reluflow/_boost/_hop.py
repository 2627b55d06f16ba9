"""A hop: every neuron looks one place further, and goes there if nothing is in between.

A neuron seeks its next point. If it would cross a boundary on the way, its next hops search for the
place, by Newton's method, until one of them lands there; then it turns. Each hop is one move of
all neurons, whatever each of them is at.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from .. import _modes
from .._branch import run_if
from ._collocation import POINTS
from ._course import Course, Uncertainty
from ._line import integrated, moved_on_line, on_line
from ._meeting import Tried, meet, passes_another
from ._path import propagate
from ._record import Record, Worth
from ._release import Release, release
from ._root import searched
from ._turning import Turning, decide, turn
from ._walk import LANDING, SEARCHING, SEEKING, Walk


def hop(
    course: Course,
    walk: Walk,
    record: Record,
    lane: Int[Array, " neurons"],
    uncertainty: Uncertainty,
    of_use: Worth,
) -> tuple[Walk, Record, Bool[Array, " neurons"]]:
    """Also whether a neuron has just got to its next point.

    lane: to which flow of the record a neuron belongs.
    """
    going = record.going(walk, lane)
    stage = walk.search.stage
    seeks, lands = going & (stage == SEEKING), going & (stage == LANDING)
    frame, released = walk.frame(course), release(course, walk, uncertainty.alpha)
    end = jnp.where(stage == SEEKING, released.time, walk.search.trial)
    end = jnp.where(walk.pending, walk.time, end)
    move = propagate(walk.reduced, frame, walk.time, end, course.length)
    line = on_line(course, walk)
    if line is not None:
        passed = integrated(end) - integrated(walk.time)
        move = moved_on_line(move, line, walk.reduced, frame, passed, course.length)
    tried = Tried.of(walk, frame, end, move)
    met = meet(course, walk, frame, tried, uncertainty)
    found, early = seeks & met.finds, seeks & met.early
    passed = lands & passes_another(course, walk, tried)
    leaves = seeks & released.fires & ~found & ~early & ~walk.pending
    settles = (seeks & walk.pending) | leaves | _has_landed(walk, lands & ~passed)
    turning = _decided(course, walk, tried, released, leaves, settles)
    commit = (lands & ~passed) | (seeks & ~found & ~early)
    arrives = commit & seeks & ~settles & (end >= jnp.asarray(POINTS)[walk.goal])
    search = searched(course, walk, frame, tried, going & (stage == SEARCHING))
    search = eqx.tree_at(
        lambda s: s.stage, search, jnp.where(passed | commit, SEEKING, search.stage)
    )
    begun = met.begin(walk, tried)
    search = jax.tree.map(lambda new, old: jnp.where(found, new, old), begun, search)
    goal = walk.goal + arrives.astype(walk.goal.dtype)
    next_point = jnp.asarray(POINTS)[jnp.minimum(goal, len(POINTS) - 1)]
    target = jnp.where(early, met.shorter, jnp.where(commit, next_point, walk.target))
    target = jnp.where(passed, jax.lax.stop_gradient(end), target)
    hops = jnp.where(arrives, 0, walk.hops + going.astype(walk.hops.dtype))
    walk = _moved(course, walk, tried, commit, lands)
    walk = eqx.tree_at(
        lambda w: (w.goal, w.target, w.search, w.hops), walk, (goal, target, search, hops)
    )
    walk, record = turn(course, walk, record, lane, uncertainty.alpha, of_use, turning)
    return walk, record, arrives


def _has_landed(walk: Walk, lands):
    """At an event that asks for a decision: an output that vanishes does where units slide."""
    slides = jnp.any(walk.pattern.mode == _modes.SLIDING, axis=1)
    return lands & (slides | ~walk.search.vanishing)


def _decided(
    course: Course, walk: Walk, tried: Tried, released: Release, leaves, settles
) -> Turning:
    """What happens at the events, if there is one."""

    def ask():
        return decide(course, walk, tried, released, leaves, settles)

    none = Turning.none(walk, course.pulls)
    return run_if(jnp.any(settles), lambda _: ask(), none)


def _moved(course: Course, walk: Walk, tried: Tried, commit, lands) -> Walk:
    """Every neuron that has got there, there."""
    move = tried.move
    gained = walk.frame(course).combination(course, walk.pattern, move.gained)

    def put(new, old):
        return jnp.where(commit, new, old)

    def put_rows(new, old):
        return jnp.where(commit[:, None], new, old)

    clear = walk.side() * tried.preactivation > 4.0 * walk.slack(course.norms)
    reduced = jax.tree.map(put, move.end, walk.reduced)
    # Exactly, or an output that is not yet 0 by rounding would vanish here again, for ever.
    vanishes = commit & lands & walk.search.vanishing
    reduced = eqx.tree_at(lambda r: r.output, reduced, jnp.where(vanishes, 0.0, reduced.output))
    return eqx.tree_at(
        lambda w: (
            w.time,
            w.reduced,
            w.preactivation,
            w.combination,
            w.kept,
            w.growth,
            w.exponent,
            w.armed,
        ),
        walk,
        (
            put(tried.end, walk.time),
            reduced,
            put_rows(tried.preactivation, walk.preactivation),
            put_rows(move.kept[:, None] * walk.combination + gained, walk.combination),
            put(move.kept * walk.kept, walk.kept),
            put(walk.growth + move.growth, walk.growth),
            put(walk.exponent + move.exponent, walk.exponent),
            put_rows(walk.armed | clear, walk.armed),
        ),
    )
