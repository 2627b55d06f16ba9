"""Mode transitions: the pattern of a neuron after its event, and the record of it.

The decisions are those of `_events`. Where one unit alone crosses or comes to rest, the transition
is an update of rank one, for all neurons at once; the others are decided a few at a time.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from .._dynamics._field import Pattern
from .._events import Fired, Standing, Transition, alone, places, ties, transition
from .._model import _modes
from .._model._arrangement import Pulls
from .._model._shapes import PerNeuron, UnitFlags, Units
from .._support._branch import run_if
from .._support._indexing import first_and_rest, of_lanes
from ._basis import mode_basis, overlaps
from ._generator import Generator
from ._moving_neurons import MovingNeurons
from ._propagator import legendre, series
from ._record import Record, Truncation, kink_of
from ._slide_exit import Guards, SlideExit

# How many neurons are settled at once, where room for their units is small; else one by one.
_TURNS, _ROOM = 8, 12
_BEND = 0.2


class Transitions(eqx.Module):
    """The neurons that change their pattern now, and what they have met."""

    simple: Bool[Array, " neurons"]  # one unit crosses or comes to rest
    mode: Int[Array, " neurons"]  # of that unit
    full: Bool[Array, " neurons"]  # the others
    fired: Fired  # of each neuron
    sign: PerNeuron
    velocity: Units  # of the preactivations
    pulls: Pulls  # (neurons, boundaries)
    slope: PerNeuron  # of the guard that fires, in units of the step

    @classmethod
    def none(cls, moving: MovingNeurons, pulls: Pulls) -> "Transitions":
        """None of these neurons; pulls: of which those here have the form."""
        number, unit = jnp.zeros_like(moving.time), jnp.zeros_like(moving.preactivation)
        index, no = jnp.zeros(number.shape, jnp.int32), jnp.zeros(number.shape, bool)
        fired = Fired(jnp.zeros_like(moving.event.sample), index, *([no] * 6))
        nothing = pulls.map(lambda _: unit)
        return cls(no, index, no, fired, number, unit, nothing, number)


def decide(
    generator: Generator, moving: MovingNeurons, trial, exits: SlideExit, leaves, settles
) -> Transitions:
    """leaves: those that settle since a guard of theirs fires."""
    rows = jnp.arange(moving.time.shape[0])
    polynomials = legendre(trial.end)
    basis, end = moving.basis(generator), trial.propagation.end
    vanishes = moving.event.vanishing & ~leaves & ~moving.pending
    meets = ~vanishes & ~leaves & ~moving.pending
    slope = basis.along(polynomials, end.overlap)
    sign = jnp.sign(jnp.where(vanishes | (end.output == 0.0), slope, end.output))
    k = moving.event.sample
    old = moving.pattern.mode[rows, k]
    # Of the same polynomial as the force: where nothing else pulls, the two cancel exactly.
    pull = generator.jump_of(polynomials, k) * jnp.diag(generator.gram)[k] / generator.samples
    two_sided = generator.arrangement.two_sided()[k]
    mode, sure = alone(old, sign * basis.velocity_at(polynomials, k), pull, sign, two_sided)
    slides = moving.pattern.mode == _modes.SLIDING
    itself = meets[:, None] & (jnp.arange(generator.boundaries) == k[:, None])
    speed = sign[:, None] * basis.velocity(polynomials)
    near = moving.slack(generator.norms)
    tied = ties(moving.pattern.mode, trial.preactivation, speed, near, moving.armed) & ~itself
    simple = settles & meets & ~jnp.any(slides | tied, axis=1) & sure
    return Transitions(
        simple=simple,
        mode=mode.astype(jnp.int32),
        full=settles & ~simple,
        fired=_fired(moving, exits, leaves, vanishes, meets),
        sign=sign,
        velocity=jnp.abs(end.output)[:, None] * speed,
        pulls=_judged_by(generator, trial.end, slides),
        slope=exits.slope,
    )


def _judged_by(generator: Generator, s: PerNeuron, slides: UnitFlags) -> Pulls:
    """The pulls that decide: where units slide, those by which they leave; else those that move
    the neurons, which would at once undo what the others decide."""

    def judging(fine, moves):
        moves, fine = series(s[:, None], moves), series(s[:, None], fine)
        return jnp.where(jnp.any(slides, axis=1)[:, None], fine, moves)

    return jax.tree.map(judging, generator.fine, generator.pulls)


def _fired(moving: MovingNeurons, exits: SlideExit, leaves, vanishes, meets) -> Fired:
    """What each of the neurons has met."""
    slots = moving.pattern.slots
    width, rows = slots.shape[1], jnp.arange(leaves.shape[0])
    slot, ray = exits.index % max(width, 1), exits.index - 2 * width
    unit = (slots[rows, slot] if width else slot).astype(moving.event.sample.dtype)
    appears = leaves & (ray >= 0)
    low = leaves & (exits.index < width)
    boundary = jnp.where(leaves, unit, moving.event.sample)
    return Fired(
        boundary=boundary,
        ray=jnp.maximum(ray, 0),
        arrives=meets,
        leaves_low=low,
        leaves_high=leaves & ~low & ~appears,
        vanishes=vanishes,
        starts=moving.pending & ~leaves,
        appears=appears,
    )


def apply_transitions(
    generator: Generator,
    moving: MovingNeurons,
    record: Record,
    lane,
    uncertainty: PerNeuron,
    truncation: Truncation,
    transitions,
):
    """The neurons on their next patterns, and the record of it."""
    moving, record = run_if(
        jnp.any(transitions.simple),
        lambda both: _apply_single(generator, *both, lane, truncation, transitions),
        (moving, record),
    )
    neurons, width = moving.pattern.slots.shape
    at_once = 1 if places(generator.boundaries, width) > _ROOM else min(_TURNS, neurons)

    def some(carry):
        full, moving, record = carry
        chosen, full = first_and_rest(full, at_once)
        return full, *_apply_general(
            generator, moving, record, lane, uncertainty, truncation, transitions, chosen
        )

    # A neuron that is not finite has no next pattern. (That this reads `combination`, which follows
    # from the old patterns, lets XLA write the new ones in their place: it copies them otherwise.)
    finite = jnp.all(jnp.isfinite(moving.combination), axis=1)
    carry = (transitions.full & finite, moving, record)
    return jax.lax.while_loop(lambda carry: jnp.any(carry[0]), some, carry)[1:]


def _apply_single(
    generator: Generator,
    moving: MovingNeurons,
    record: Record,
    lane,
    truncation: Truncation,
    transitions: Transitions,
):
    """One unit of each neuron is switched: an update of rank one of what the residual is to it."""
    k = moving.event.sample
    rows = jnp.arange(k.shape[0])
    old = moving.pattern.mode[rows, k]
    here = transitions.simple[:, None] & (jnp.arange(generator.boundaries) == k[:, None])
    change = jnp.where(transitions.mode == _modes.ACTIVE, 1.0, 0.0)
    change = change - jnp.where(old == _modes.ACTIVE, 1.0, 0.0)
    modes, overlap = moving.modes, moving.reduced.overlap
    if modes is None:
        overlap = jnp.where(here.T, 0.0, overlap)
    else:
        modes = modes.switched(generator, jnp.where(transitions.simple, change, 0.0), k)
        rests = here & (transitions.mode == _modes.RESTING)[:, None]
        modes = eqx.tree_at(lambda m: m.force, modes, jnp.where(rests, 0.0, modes.force))
    mode = jnp.where(
        here, transitions.mode[:, None].astype(moving.pattern.mode.dtype), moving.pattern.mode
    )
    kink = kink_of(generator, moving, rows, k, transitions.pulls.jump[rows, k])
    record = record.add(
        truncation,
        lane,
        transitions.simple,
        moving.time,
        moving.index,
        k,
        old,
        transitions.mode,
        kink,
        kink,
    )
    moving = eqx.tree_at(
        lambda w: (w.pattern.mode, w.preactivation, w.armed, w.modes, w.reduced.overlap),
        moving,
        (mode, jnp.where(here, 0.0, moving.preactivation), moving.armed & ~here, modes, overlap),
        is_leaf=lambda leaf: leaf is None,
    )
    return moving, record


def _apply_general(
    generator: Generator,
    moving: MovingNeurons,
    record: Record,
    lane,
    uncertainty: PerNeuron,
    truncation: Truncation,
    transitions: Transitions,
    chosen,
):
    """The chosen neurons take the pattern that comes next."""
    neurons, width = moving.pattern.slots.shape
    present, at = chosen < neurons, jnp.minimum(chosen, neurons - 1)
    few, given = moving.rows(at), jax.tree.map(lambda leaf: leaf[at], transitions)
    standing = Standing(
        mode=few.pattern.mode.astype(jnp.int32),
        preactivation=few.preactivation,
        velocity=given.velocity,
        near=few.slack(generator.norms),
        armed=few.armed,
        watched=few.pattern.watched,
        sign=given.sign,
    )

    def one(pulls, uncertainty, standing, fired):
        return transition(generator.arrangement, pulls, uncertainty, standing, fired, width)

    each = (given.pulls, uncertainty[at], standing, given.fired)
    if len(at) > 1:
        found = jax.vmap(one)(*each)
    else:  # loops of one, which `jax.vmap` would make copy their tables at every turn
        one_each = jax.tree.map(lambda leaf: leaf[0], each)
        found = jax.tree.map(lambda leaf: leaf[None], one(*one_each))
    record = _recorded(generator, moving, record, lane, truncation, given, found, at, present)
    pattern = Pattern(
        found.mode.astype(jnp.int8), found.slots.astype(jnp.int32), found.response, found.watched
    )
    zeroed = jnp.where(found.stands, 0.0, few.preactivation)
    here = generator.rows(at)

    def changed(w: MovingNeurons):
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
        Guards.of(generator.arrangement, pattern, here.fine),
        None if moving.modes is None else mode_basis(here, pattern),
    )
    few = eqx.tree_at(changed, few, new, is_leaf=lambda leaf: leaf is None)
    return moving.with_rows(chosen, few, changed), record


def _recorded(
    generator: Generator,
    moving: MovingNeurons,
    record: Record,
    lane,
    truncation: Truncation,
    given: Transitions,
    found: Transition,
    at,
    present,
) -> Record:
    """The record so far, and what became of the neurons `at`."""
    before = moving.pattern.mode[at].astype(jnp.int32)
    changed = (before != found.mode) & present[:, None]
    boundary = jnp.broadcast_to(jnp.arange(generator.boundaries), before.shape)
    kink = kink_of(generator, moving, at[:, None], boundary, given.pulls.jump)
    # Where alpha r, or (1 - alpha) r, passes through zero, r'' jumps by what its slope makes of
    # the kink: over a step, a polynomial misses a fifth as much of it as of a kink in r'.
    leaves = (given.fired.leaves_low | given.fired.leaves_high)[:, None]
    leaves = leaves & (boundary == given.fired.boundary[:, None])
    bend = kink_of(generator, moving, at[:, None], boundary, _BEND * given.slope[:, None])

    def of_each(values):
        return jnp.broadcast_to(values[at][:, None], before.shape)

    new = (of_each(lane), changed, of_each(moving.time), of_each(moving.index))
    new = (*new, boundary, before, found.mode, kink, jnp.where(leaves, bend, kink))
    record = record.add(truncation, *(array.ravel() for array in new))
    record = record.add_ambiguous(
        lane[at], present, moving.time[at], moving.index[at], found.ambiguity
    )

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
