"""Neurons through their events, those of several flows together.

Only few neurons of a flow meet anything in a step. Under `jax.vmap` over flows ("lanes"), what each
of them does for its few would be done for all of them as long as one needs it. Here the
neurons of all lanes that meet something form one pool, which is worked off a few at a time.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from .._arrangement import Arrangement
from .._branch import run_if
from .._shapes import PerNeuron
from .._tangent_kernel import Here, kernels_of_lanes, predictions_of_lanes
from ._collocation import NUM_NODES, POINTS
from ._hop import hop
from ._path import weight_of
from ._record import Record, Worth
from ._walk import Course, Uncertainty, Walk

_AT_ONCE, _LANES_AT_ONCE = 32, 4


class Lane(eqx.Module):
    """One flow on one step: its neurons, undisturbed so far, and where undisturbed they would be.

    meets: the neurons that would meet something.
    """

    walk: Walk
    log_scale: PerNeuron  # at the beginning of the step
    course: Course
    here: Here
    meets: Bool[Array, " neurons"]
    uncertainty: Uncertainty
    of_use: Worth
    wants_kernels: Bool[Array, ""]


def through_events(lane: Lane, places: int, pooled: bool):
    """(the neurons at the end, the record of it, what those that met something give to h at the
    points after the first, and to the kernels at the nodes)."""
    lanes = jax.tree.map(lambda leaf: leaf[None], _without_inputs(lane))
    arrangement = lane.course.arrangement
    if pooled:
        done = _pooled(places)(arrangement, lanes)
    else:
        done = _worked_off(arrangement, lanes, places)
    return jax.tree.map(lambda leaf: leaf[0], done)


def _without_inputs(lane: Lane) -> Lane:
    return eqx.tree_at(lambda x: x.course.arrangement, lane, None)


def _pooled(places: int):
    """`_worked_off`, which `jax.vmap` gives more lanes rather than more of everything."""

    def work(arrangement, lanes: Lane):
        return _worked_off(arrangement, lanes, places)

    pooled = jax.custom_batching.custom_vmap(work)

    @pooled.def_vmap
    def over_lanes(size, batched, arrangement, lanes):
        each_arrangement, each = batched
        if any(jax.tree.leaves(each_arrangement)):  # inputs of their own: nothing is shared
            axes = jax.tree.map(lambda b: 0 if b else None, (each_arrangement, each))
            out = jax.vmap(work, in_axes=axes)(arrangement, lanes)
        else:

            def folded(leaf, batched):
                leaf = leaf if batched else jnp.broadcast_to(leaf, (size, *leaf.shape))
                return leaf.reshape(size * leaf.shape[1], *leaf.shape[2:])

            out = _pooled(places)(arrangement, jax.tree.map(folded, lanes, each))
            out = jax.tree.map(lambda leaf: _parted(leaf, 0, size), out)
        return out, jax.tree.map(lambda _: True, out)

    return pooled


def _worked_off(arrangement: Arrangement, lanes: Lane, places: int):
    """All leaves of `lanes` have an axis of lanes first."""
    count, neurons = lanes.meets.shape
    few = _at_once(count, neurons)
    course, samples = _of_neurons(arrangement, lanes), arrangement.samples
    walk = lanes.walk.over_neurons(_merged)
    here = jax.tree.map(lambda leaf: _merged(leaf, 1), lanes.here)
    added = jnp.zeros((count, len(POINTS) - 1, samples))
    theirs = jnp.zeros((count, NUM_NODES, samples, samples))

    def some(carry):
        meets, walk, record, added, theirs = carry
        (chosen,) = jnp.nonzero(meets, size=few, fill_value=count * neurons)
        present, at = chosen < count * neurons, jnp.minimum(chosen, count * neurons - 1)
        lane = at // neurons
        of_these = course.rows(at)
        these = _idle(walk.rows(at), ~present).on_hops(of_these)
        done, record, mode, there = _through_step(
            of_these,
            these,
            record,
            lane,
            lanes.uncertainty.of(lane),
            lanes.of_use,
            jax.tree.map(lambda leaf: leaf[:, at], here),
        )
        there = eqx.tree_at(lambda h: h.weight, there, jnp.where(present, there.weight, 0.0))
        added = added + predictions_of_lanes(arrangement, mode, there, lane, count)

        def with_kernels(theirs):
            at_nodes = jax.tree.map(lambda leaf: leaf[::2], there)
            of_these = (done.pattern, mode[::2], at_nodes, lane, count)
            return theirs + kernels_of_lanes(arrangement, *of_these)

        useful = jnp.any(lanes.wants_kernels & jnp.isinf(record.useless_from))
        theirs = run_if(useful, with_kernels, theirs)
        meets = meets.at[chosen].set(False, mode="drop")
        return meets, walk.with_rows(chosen, done.off_hops()), record, added, theirs

    def running(carry):
        meets, _, record, *_ = carry
        return jnp.any(meets.reshape(count, neurons) & ~record.failed()[:, None])

    record = Record.empty(count, places, arrangement.boundaries)
    begin = (lanes.meets.ravel(), walk, record, added, theirs)
    _, walk, record, added, theirs = jax.lax.while_loop(running, some, begin)
    walk = walk.over_neurons(lambda leaf, axis: _parted(leaf, axis, count))
    return walk, record, added, theirs


def _at_once(lanes: int, neurons: int) -> int:
    return min(lanes * neurons, max(_AT_ONCE, neurons // 4, _LANES_AT_ONCE * lanes))


def _merged(leaf, axis: int):
    """The axis of lanes, which is first, and that of neurons as one."""
    leaf = jnp.moveaxis(leaf, 0, axis)
    both = leaf.shape[axis] * leaf.shape[axis + 1]
    return leaf.reshape(*leaf.shape[:axis], both, *leaf.shape[axis + 2 :])


def _parted(leaf, axis: int, lanes: int):
    each = leaf.shape[axis] // lanes
    leaf = leaf.reshape(*leaf.shape[:axis], lanes, each, *leaf.shape[axis + 1 :])
    return jnp.moveaxis(leaf, axis, 0)


def _of_neurons(arrangement: Arrangement, lanes: Lane) -> Course:
    """What each of the neurons moves under: one thing, if there is one lane."""
    course, (count, neurons) = lanes.course, lanes.meets.shape
    fields = (course.pulls, course.fine, course.length)  # (lanes, ..., one, ...)
    if count == 1:
        return Course(arrangement, lanes.log_scale[0], *jax.tree.map(lambda leaf: leaf[0], fields))

    def of_each(leaf, axis):
        return jnp.repeat(_merged(leaf, axis), neurons, axis=axis)

    pulls, fine = (each.map(lambda leaf: of_each(leaf, 1)) for each in fields[:2])
    return Course(arrangement, lanes.log_scale.ravel(), pulls, fine, of_each(course.length, 0))


def _idle(walk: Walk, which) -> Walk:
    """With some that are there already."""
    done = jnp.where(which, len(POINTS), walk.goal)
    return eqx.tree_at(lambda w: (w.goal, w.pending), walk, (done, walk.pending & ~which))


def _through_step(
    course: Course, walk: Walk, record: Record, lane, uncertainty, of_use: Worth, here: Here
):
    """These neurons hop to the end; and their modes, and where they were, at all points."""
    neurons, boundaries = walk.preactivation.shape
    limit = 16 * boundaries + 4 * neurons + 64  # far more than a neuron has boundaries
    rows = jnp.arange(neurons)
    mode = jnp.broadcast_to(walk.pattern.mode, here.preactivation.shape)

    def running(carry):
        walk, record, *_ = carry
        return jnp.any(record.going(walk, lane))

    def once(carry):
        walk, record, mode, here = carry
        walk, record, arrives = hop(course, walk, record, lane, uncertainty, of_use)
        at = jnp.where(arrives, walk.goal - 2, len(POINTS))  # the first point is not among them
        weight = weight_of(course.log_scale + walk.total_growth())

        def put(leaf, new):
            return leaf.at[at, rows].set(new, mode="drop")

        now = Here(weight, walk.reduced.output, walk.preactivation)
        here, mode = jax.tree.map(put, here, now), put(mode, walk.pattern.mode)
        late = (walk.hops > limit) & (walk.goal < len(POINTS))
        chatters = record.chatters.at[lane].max(late)
        return walk, eqx.tree_at(lambda r: r.chatters, record, chatters), mode, here

    return jax.lax.while_loop(running, once, (walk, record, mode, here))
