"""Neurons through their events, those of several flows together.

Only few neurons of a flow meet anything in a step. Under `jax.vmap` over flows ("lanes"), what each
of them does for its few would be done for all of them as long as one needs it. Here the
neurons of all lanes that meet something form one pool, which is worked off a few at a time.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._arrangement import Arrangement
from .._indexing import first_and_rest, of_lanes, taken
from .._shapes import PerNeuron
from .._tangent_kernel import Here
from ._collocation import POINTS
from ._course import Course, Uncertainty
from ._frame import ModeFrame
from ._hop import hop
from ._packing import Packed
from ._path import weight_of
from ._record import Record, Worth
from ._walk import Landed, Walk

_AT_ONCE, _LANES_AT_ONCE = 32, 4


class Track(eqx.Module):
    """The neurons at every point after the first: p_jb, and behind them a_j and the weight; and the
    modes of their units."""

    numbers: Float[Array, "*#points #neurons columns"]
    mode: Int[Array, "*#points #neurons boundaries"]

    @classmethod
    def of(cls, here: Here, mode) -> "Track":
        """mode: of all points, or for each."""
        columns = (here.preactivation, here.output[..., None], here.weight[..., None])
        return cls(jnp.concatenate(columns, axis=-1), jnp.broadcast_to(mode, columns[0].shape))

    def here(self) -> Here:
        return Here(self.numbers[..., -1], self.numbers[..., -2], self.numbers[..., :-2])

    def of_neurons(self, at) -> "Track":
        return jax.tree.map(lambda leaf: taken(leaf, at, 1), self)

    def with_neurons(self, at, few: "Track") -> "Track":
        """Those `at` a place beyond the last are left."""
        return jax.tree.map(lambda a, b: a.at[:, at].set(b, mode="drop"), self, few)

    def with_points(self, here, now: "Track") -> "Track":
        """With what the neurons are now, of shape (neurons, ...), at these points of each."""
        return jax.tree.map(lambda a, b: jnp.where(here[..., None], b, a), self, now)


class Lane(eqx.Module):
    """One flow on one step: its neurons, undisturbed so far, and where undisturbed they would be.

    landed: up to where a neuron meets nothing.
    """

    landed: Landed
    log_scale: PerNeuron  # at the beginning of the step
    course: Course
    track: Track
    uncertainty: Uncertainty
    of_use: Worth


def through_events(lane: Lane, places: int, pooled: bool):
    """(the neurons at the end, the record of it, and where they were at the points)."""
    lanes = jax.tree.map(lambda leaf: leaf[None], _without_inputs(lane))
    arrangement = lane.course.arrangement
    if pooled:
        done = _pooled(places)(arrangement, lanes)
    else:
        done = _worked_off(arrangement, lanes, places)
    return jax.tree.map(lambda leaf: leaf[0], done)


def _without_inputs(lane: Lane) -> Lane:
    return eqx.tree_at(lambda x: x.course.arrangement, lane, None)


@functools.cache
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


# Traced once for each shape: `jax.vmap` of a loop asks several times what comes of its body.
@functools.partial(jax.jit, static_argnums=2, inline=True)
def _worked_off(arrangement: Arrangement, lanes: Lane, places: int):
    """All leaves of `lanes` have an axis of lanes first."""
    count, neurons = lanes.landed.safe.shape
    few = _at_once(count, neurons)
    course = _of_neurons(arrangement, lanes)
    calm, safe = jax.tree.map(_first_merged, (lanes.landed.ended, lanes.landed.safe))
    track = jax.tree.map(lambda leaf: _merged(leaf, 1), lanes.track)

    def some(carry):
        meets, ended, record, track = carry
        chosen, meets = first_and_rest(meets, few)
        present, at = chosen < count * neurons, jnp.minimum(chosen, count * neurons - 1)
        lane = jax.lax.div(at, jnp.int32(neurons))  # `//` asks for signs
        of_these = course.rows(at)
        goal = jnp.where(present, taken(safe, at).astype(jnp.int32) + 1, len(POINTS))
        now = ended.rows(at).unpacked(calm)
        now = eqx.tree_at(lambda e: e.pending, now, now.pending & present)
        these = Walk.onward(at - lane * neurons, goal, now, *_taken(lanes.landed, at))
        done, record, there = _through_step(
            of_these,
            these.on_hops(of_these),
            record,
            lane,
            lanes.uncertainty.of(lane),
            lanes.of_use,
            track.of_neurons(at),
        )
        ended = ended.with_rows(chosen, Packed.of(done.ended()))
        return meets, ended, record, track.with_neurons(chosen, there)

    def running(carry):
        meets, _, record, *_ = carry
        return jnp.any(meets.reshape(count, neurons) & ~record.failed()[:, None])

    record = Record.empty(count, places, arrangement.boundaries)
    meets = lanes.landed.meets().ravel()
    begin = (meets, Packed.of(calm), record, track)
    _, ended, record, track = jax.lax.while_loop(running, some, begin)
    ended = jax.tree.map(lambda leaf: _parted(leaf, 0, count), ended.unpacked(calm))
    return ended, record, jax.tree.map(lambda leaf: _parted(leaf, 1, count), track)


def _at_once(lanes: int, neurons: int) -> int:
    return min(lanes * neurons, max(_AT_ONCE, neurons // 4, _LANES_AT_ONCE * lanes))


def _taken(landed: Landed, at):
    """The overlaps of some of the neurons of all lanes, and their frame."""
    arrays, axes = landed.arrays()
    overlap, *modes = (
        taken(_merged(a, axis), at, axis) for a, axis in zip(arrays, axes, strict=True)
    )
    return overlap, ModeFrame(*modes) if modes else None


def _first_merged(leaf):
    return _merged(leaf, 0)


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
    course, (count, neurons) = lanes.course, lanes.landed.safe.shape
    fields = (course.pulls, course.fine, course.length)  # (lanes, ..., one, ...)
    if count == 1:
        return Course(arrangement, lanes.log_scale[0], *jax.tree.map(lambda leaf: leaf[0], fields))

    def of_each(leaf, axis):
        return jnp.repeat(_merged(leaf, axis), neurons, axis=axis)

    pulls, fine = (each.map(lambda leaf: of_each(leaf, 1)) for each in fields[:2])
    return Course(arrangement, lanes.log_scale.ravel(), pulls, fine, of_each(course.length, 0))


def _through_step(
    course: Course, walk: Walk, record: Record, lane, uncertainty, of_use: Worth, track: Track
):
    """These neurons hop to the end; and where they were, at all points."""
    neurons, boundaries = walk.preactivation.shape
    limit = 16 * boundaries + 4 * neurons + 64  # far more than a neuron has boundaries
    later = jnp.arange(len(POINTS) - 1, dtype=jnp.int32)[:, None]

    def running(carry):
        walk, record, *_ = carry
        return jnp.any(record.going(walk, lane))

    def once(carry):
        walk, record, track = carry
        walk, record, arrives = hop(course, walk, record, lane, uncertainty, of_use)
        here = arrives & (later == walk.goal - 2)  # the first point is not among them
        weight = weight_of(course.log_scale + walk.total_growth())

        now = Here(weight, walk.reduced.output, walk.preactivation)
        track = track.with_points(here, Track.of(now, walk.pattern.mode))
        late = (walk.hops > limit) & (walk.goal < len(POINTS))
        chatters = of_lanes(lane, len(record.chatters), late, "max", record.chatters)
        return walk, eqx.tree_at(lambda r: r.chatters, record, chatters), track

    return jax.lax.while_loop(running, once, (walk, record, track))
