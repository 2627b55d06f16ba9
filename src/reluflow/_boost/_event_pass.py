"""The event pass: the neurons that meet boundaries, each through its own events.

Only few neurons of a flow meet a boundary in a step. Under `jax.vmap` over flows ("lanes"), each
lane would do for its few what any other lane still needs. Here the neurons of all lanes that meet a
boundary are compacted: a few of them at a time are gathered, propagated to the end of the
step, and scattered back.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._dynamics._tangent_kernel import Here
from .._model._arrangement import Arrangement
from .._model._shapes import PerNeuron
from .._support._indexing import first_and_rest, of_lanes, taken
from ._advance import advance
from ._basis import ModeBasis
from ._collocation import POINTS
from ._generator import Generator, Uncertainty
from ._moving_neurons import MovingNeurons, Undisturbed
from ._packing import Packed
from ._propagator import weight_of
from ._record import Record, Truncation

_AT_ONCE, _LANES_AT_ONCE = 32, 4


class PointValues(eqx.Module):
    """The neurons at every point after the first: p_jb, and behind them a_j and the weight; and the
    modes of their units."""

    numbers: Float[Array, "*#points #neurons columns"]
    mode: Int[Array, "*#points #neurons boundaries"]

    @classmethod
    def of(cls, here: Here, mode) -> "PointValues":
        """mode: of all points, or for each."""
        columns = (here.preactivation, here.output[..., None], here.weight[..., None])
        return cls(jnp.concatenate(columns, axis=-1), jnp.broadcast_to(mode, columns[0].shape))

    def here(self) -> Here:
        return Here(self.numbers[..., -1], self.numbers[..., -2], self.numbers[..., :-2])

    def of_neurons(self, at) -> "PointValues":
        return jax.tree.map(lambda leaf: taken(leaf, at, 1), self)

    def with_neurons(self, at, few: "PointValues") -> "PointValues":
        """Those `at` a place beyond the last are left."""
        return jax.tree.map(lambda a, b: a.at[:, at].set(b, mode="drop"), self, few)

    def with_points(self, here, now: "PointValues") -> "PointValues":
        """With what the neurons are now, of shape (neurons, ...), at these points of each."""
        return jax.tree.map(lambda a, b: jnp.where(here[..., None], b, a), self, now)


class Lane(eqx.Module):
    """One flow on one step: its neurons, undisturbed so far, and where undisturbed they would be.

    undisturbed: up to where a neuron meets no boundary.
    """

    undisturbed: Undisturbed
    log_scale: PerNeuron  # at the beginning of the step
    generator: Generator
    point_values: PointValues
    uncertainty: Uncertainty
    truncation: Truncation


def event_pass(lane: Lane, places: int, compacted: bool):
    """(the neurons at the end, the record of it, and where they were at the points)."""
    lanes = jax.tree.map(lambda leaf: leaf[None], _without_inputs(lane))
    arrangement = lane.generator.arrangement
    work = _together if compacted else _of_all_lanes
    return jax.tree.map(lambda leaf: leaf[0], work(arrangement, lanes, places))


def _without_inputs(lane: Lane) -> Lane:
    return eqx.tree_at(lambda x: x.generator.arrangement, lane, None)


def _together(arrangement: Arrangement, lanes: Lane, places: int):
    # As leaves: JAX's rule for derivatives of `custom_vmap` takes no tree that has a None.
    leaves, structure = jax.tree.flatten((arrangement, lanes))
    return _compacted(places, structure)(*leaves)


@functools.cache
def _compacted(places: int, structure):
    """`_of_all_lanes`, which `jax.vmap` gives more lanes rather than more of everything."""

    def work(*leaves):
        return _of_all_lanes(*jax.tree.unflatten(structure, leaves), places)

    compacted = jax.custom_batching.custom_vmap(work)

    @compacted.def_vmap
    def over_lanes(size, batched, *leaves):
        if not any(batched):  # a derivative has lanes and its point none
            out = work(*leaves)
            return out, jax.tree.map(lambda _: False, out)
        each_arrangement, each = jax.tree.unflatten(structure, batched)
        if any(jax.tree.leaves(each_arrangement)):  # inputs of their own: nothing is shared
            out = jax.vmap(work, in_axes=[0 if b else None for b in batched])(*leaves)
        else:
            arrangement, lanes = jax.tree.unflatten(structure, leaves)

            def folded(leaf, batched):
                leaf = leaf if batched else jnp.broadcast_to(leaf, (size, *leaf.shape))
                return leaf.reshape(size * leaf.shape[1], *leaf.shape[2:])

            out = _together(arrangement, jax.tree.map(folded, lanes, each), places)
            out = jax.tree.map(lambda leaf: _parted(leaf, 0, size), out)
        return out, jax.tree.map(lambda _: True, out)

    return compacted


# Traced once for each shape: `jax.vmap` of a loop traces its body several times.
@functools.partial(jax.jit, static_argnums=2, inline=True)
def _of_all_lanes(arrangement: Arrangement, lanes: Lane, places: int):
    """All leaves of `lanes` have an axis of lanes first."""
    count, neurons = lanes.undisturbed.safe.shape
    few = _at_once(count, neurons)
    generator = _of_neurons(arrangement, lanes)
    undisturbed, safe = jax.tree.map(
        _first_merged, (lanes.undisturbed.ended, lanes.undisturbed.safe)
    )
    point_values = jax.tree.map(lambda leaf: _merged(leaf, 1), lanes.point_values)

    def some(carry):
        meets, ended, record, point_values = carry
        chosen, meets = first_and_rest(meets, few)
        present, at = chosen < count * neurons, jnp.minimum(chosen, count * neurons - 1)
        lane = jax.lax.div(at, jnp.int32(neurons))  # `//` asks for signs
        of_these = generator.rows(at)
        goal = jnp.where(present, taken(safe, at).astype(jnp.int32) + 1, len(POINTS))
        now = ended.rows(at).unpacked(undisturbed)
        now = eqx.tree_at(lambda e: e.pending, now, now.pending & present)
        these = MovingNeurons.resumed(
            at - lane * neurons, goal, now, *_taken(lanes.undisturbed, at)
        )
        done, record, there = _through_step(
            of_these,
            these.with_guards(of_these),
            record,
            lane,
            lanes.uncertainty.of(lane),
            lanes.truncation,
            point_values.of_neurons(at),
        )
        ended = ended.with_rows(chosen, Packed.of(done.ended()))
        return meets, ended, record, point_values.with_neurons(chosen, there)

    def running(carry):
        meets, _, record, *_ = carry
        return jnp.any(meets.reshape(count, neurons) & ~record.failed()[:, None])

    record = Record.empty(count, places, arrangement.boundaries)
    meets = lanes.undisturbed.meets().ravel()
    begin = (meets, Packed.of(undisturbed), record, point_values)
    _, ended, record, point_values = jax.lax.while_loop(running, some, begin)
    ended = jax.tree.map(lambda leaf: _parted(leaf, 0, count), ended.unpacked(undisturbed))
    return ended, record, jax.tree.map(lambda leaf: _parted(leaf, 1, count), point_values)


def _at_once(lanes: int, neurons: int) -> int:
    return min(lanes * neurons, max(_AT_ONCE, neurons // 4, _LANES_AT_ONCE * lanes))


def _taken(undisturbed: Undisturbed, at):
    """The overlaps of some of the neurons of all lanes, and their basis."""
    arrays, axes = undisturbed.arrays()
    overlap, *modes = (
        taken(_merged(a, axis), at, axis) for a, axis in zip(arrays, axes, strict=True)
    )
    return overlap, ModeBasis(*modes) if modes else None


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


def _of_neurons(arrangement: Arrangement, lanes: Lane) -> Generator:
    """What each of the neurons moves under: one thing, if there is one lane."""
    generator, (count, neurons) = lanes.generator, lanes.undisturbed.safe.shape
    fields = (generator.pulls, generator.fine, generator.length)  # (lanes, ..., one, ...)
    if count == 1:
        return Generator(
            arrangement, lanes.log_scale[0], *jax.tree.map(lambda leaf: leaf[0], fields)
        )

    def of_each(leaf, axis):
        return jnp.repeat(_merged(leaf, axis), neurons, axis=axis)

    pulls, fine = (each.map(lambda leaf: of_each(leaf, 1)) for each in fields[:2])
    return Generator(
        arrangement, lanes.log_scale.ravel(), pulls, fine, of_each(generator.length, 0)
    )


def _through_step(
    generator: Generator,
    moving: MovingNeurons,
    record: Record,
    lane,
    uncertainty,
    truncation: Truncation,
    point_values: PointValues,
):
    """These neurons at the end of the step, the record, and where they were at all points."""
    neurons, boundaries = moving.preactivation.shape
    limit = 16 * boundaries + 4 * neurons + 64  # far more than a neuron has boundaries
    later = jnp.arange(len(POINTS) - 1, dtype=jnp.int32)[:, None]

    def running(carry):
        moving, record, *_ = carry
        return jnp.any(record.going(moving, lane))

    def once(carry):
        moving, record, point_values = carry
        moving, record, arrives = advance(generator, moving, record, lane, uncertainty, truncation)
        here = arrives & (later == moving.goal - 2)  # the first point is not among them
        weight = weight_of(generator.log_scale + moving.total_growth())

        now = Here(weight, moving.reduced.output, moving.preactivation)
        point_values = point_values.with_points(here, PointValues.of(now, moving.pattern.mode))
        late = (moving.advances > limit) & (moving.goal < len(POINTS))
        chatters = of_lanes(lane, len(record.chatters), late, "max", record.chatters)
        return moving, eqx.tree_at(lambda r: r.chatters, record, chatters), point_values

    return jax.lax.while_loop(running, once, (moving, record, point_values))
