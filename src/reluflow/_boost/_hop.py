"""A hop: all neurons towards their next point, each stopping at the first boundary it meets."""

import equinox as eqx
import jax
import jax.numpy as jnp

from .. import _modes
from .._branch import run_if
from .._solution import RESULTS
from ._meeting import Met, meet
from ._release import Release, release
from ._turning import Turning, decide, turn
from ._walk import Course, Walk


def advance(course: Course, walk: Walk, goal, noise, max_hops: int) -> Walk:
    """Takes every neuron to the time `goal` of the step."""

    def running(walk):
        unfinished = jnp.any(walk.time < goal) | jnp.any(walk.pending)
        good = walk.result == RESULTS.successful
        return unfinished & good & (walk.hops < max_hops)

    target = jnp.maximum(walk.time, goal)  # some may be there already, and beyond
    walk = eqx.tree_at(lambda w: (w.target, w.hops), walk, (target, jnp.array(0)))
    walk = jax.lax.while_loop(running, lambda w: hop(course, w, goal, noise), walk)
    late = (walk.hops >= max_hops) & (walk.result == RESULTS.successful)
    result = RESULTS.where(late, RESULTS.chattering, walk.result)
    return eqx.tree_at(lambda w: w.result, walk, result)


def hop(course: Course, walk: Walk, goal, noise) -> Walk:
    released = release(course, walk, noise)
    end = jnp.where(walk.pending, walk.time, released.time)
    met = meet(course, walk, end)
    leaves = released.fires & ~met.meets & ~met.vanishes & ~walk.pending
    going = (walk.time < goal) | walk.pending
    slides = jnp.any(walk.pattern.mode == _modes.SLIDING, axis=1)
    event = met.meets | leaves | (met.vanishes & slides) | walk.pending
    turning = _decided(course, walk, met, released, leaves, going & event & ~met.early)
    commit = going & ~met.early & ~turning.waits
    walk = _move(course, walk, met, commit, goal)
    return turn(course, walk, met, turning)


def _decided(course: Course, walk: Walk, met: Met, released: Release, leaves, event) -> Turning:
    """What happens at the events, if there is one."""

    def ask():
        return decide(course, walk, met, released, leaves, event)

    none = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), eqx.filter_eval_shape(ask))
    return run_if(jnp.any(event), lambda _: ask(), none)


def _move(course: Course, walk: Walk, met: Met, commit, goal) -> Walk:
    """Every neuron that has got there, there."""
    move = met.move
    gained = walk.frame(course).combination(course, walk.pattern, move.gained)

    def put(new, old):
        return jnp.where(commit, new, old)

    def put_rows(new, old):
        return jnp.where(commit[:, None], new, old)

    clear = walk.side() * met.preactivation > 4.0 * walk.slack(course.problem)
    reduced = jax.tree.map(put, move.end, walk.reduced)
    # Exactly, or an output that is not yet 0 by rounding would vanish here again, for ever.
    output = jnp.where(commit & met.vanishes, 0.0, reduced.output)
    reduced = eqx.tree_at(lambda r: r.output, reduced, output)
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
            put_rows(met.preactivation, walk.preactivation),
            put_rows(move.kept[:, None] * walk.combination + gained, walk.combination),
            put(move.kept * walk.kept, walk.kept),
            put(walk.growth + move.growth, walk.growth),
            put(walk.exponent + move.exponent, walk.exponent),
            put_rows(walk.armed | clear, walk.armed),
            walk.hops + 1,
        ),
    )  # fmt: skip
