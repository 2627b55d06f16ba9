"""One propagation of every neuron of the event pass: towards its next point, or its next event.

A neuron is propagated to its next point. If it would cross a boundary on the way, its next
propagations are the iterates of Newton's method for the time of the event; the last of them ends
there, and the neuron changes its mode. All neurons are propagated at once, whichever of these each
of them is at.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from .. import _modes
from .._branch import run_if
from ._collocation import POINTS
from ._event_detection import Trial, detect, passes_another
from ._event_location import search_step
from ._generator import Generator, Uncertainty
from ._line import integrated, on_line, propagated_on_line
from ._mode_transition import Transitions, apply_transitions, decide
from ._moving_neurons import LOCATING, TO_EVENT, TO_POINT, MovingNeurons
from ._propagator import propagate
from ._record import Record, Truncation
from ._slide_exit import SlideExit, slide_exit


def advance(
    generator: Generator,
    moving: MovingNeurons,
    record: Record,
    lane: Int[Array, " neurons"],
    uncertainty: Uncertainty,
    truncation: Truncation,
) -> tuple[MovingNeurons, Record, Bool[Array, " neurons"]]:
    """Also whether a neuron has just come to its next point.

    lane: to which flow of the record a neuron belongs.
    """
    going = record.going(moving, lane)
    stage = moving.search.stage
    to_point, at_event = going & (stage == TO_POINT), going & (stage == TO_EVENT)
    basis, exits = moving.basis(generator), slide_exit(generator, moving, uncertainty.alpha)
    end = jnp.where(stage == TO_POINT, exits.time, moving.search.estimate)
    end = jnp.where(moving.pending, moving.time, end)
    propagation = propagate(moving.reduced, basis, moving.time, end, generator.length)
    line = on_line(generator, moving)
    if line is not None:
        passed = integrated(end) - integrated(moving.time)
        propagation = propagated_on_line(
            propagation, line, moving.reduced, basis, passed, generator.length
        )
    trial = Trial.of(moving, basis, end, propagation)
    detection = detect(generator, moving, basis, trial, uncertainty)
    found, early = to_point & detection.finds, to_point & detection.early
    passed = at_event & passes_another(generator, moving, trial)
    leaves = to_point & exits.fires & ~found & ~early & ~moving.pending
    settles = (to_point & moving.pending) | leaves | _has_landed(moving, at_event & ~passed)
    transitions = _decided(generator, moving, trial, exits, leaves, settles)
    commit = (at_event & ~passed) | (to_point & ~found & ~early)
    arrives = commit & to_point & ~settles & (end >= jnp.asarray(POINTS)[moving.goal])
    search = search_step(generator, moving, basis, trial, going & (stage == LOCATING))
    search = eqx.tree_at(
        lambda s: s.stage, search, jnp.where(passed | commit, TO_POINT, search.stage)
    )
    begun = detection.begin(moving, trial)
    search = jax.tree.map(lambda new, old: jnp.where(found, new, old), begun, search)
    goal = moving.goal + arrives.astype(moving.goal.dtype)
    next_point = jnp.asarray(POINTS)[jnp.minimum(goal, len(POINTS) - 1)]
    target = jnp.where(early, detection.shorter, jnp.where(commit, next_point, moving.target))
    target = jnp.where(passed, jax.lax.stop_gradient(end), target)
    advances = jnp.where(arrives, 0, moving.advances + going.astype(moving.advances.dtype))
    moving = _moved(generator, moving, trial, commit, at_event)
    moving = eqx.tree_at(
        lambda w: (w.goal, w.target, w.search, w.advances), moving, (goal, target, search, advances)
    )
    moving, record = apply_transitions(
        generator, moving, record, lane, uncertainty.alpha, truncation, transitions
    )
    return moving, record, arrives


def _has_landed(moving: MovingNeurons, at_event):
    """At an event after which the mode is to be decided: where an output vanishes, only if units
    slide."""
    slides = jnp.any(moving.pattern.mode == _modes.SLIDING, axis=1)
    return at_event & (slides | ~moving.search.vanishing)


def _decided(
    generator: Generator, moving: MovingNeurons, trial: Trial, exits: SlideExit, leaves, settles
) -> Transitions:
    """The mode transitions at the events, if there is one."""

    def ask():
        return decide(generator, moving, trial, exits, leaves, settles)

    none = Transitions.none(moving, generator.pulls)
    return run_if(jnp.any(settles), lambda _: ask(), none)


def _moved(
    generator: Generator, moving: MovingNeurons, trial: Trial, commit, at_event
) -> MovingNeurons:
    """Every neuron that goes on, at the end of its propagation."""
    propagation = trial.propagation
    gained = moving.basis(generator).combination(generator, moving.pattern, propagation.gained)

    def put(new, old):
        return jnp.where(commit, new, old)

    def put_rows(new, old):
        return jnp.where(commit[:, None], new, old)

    clear = moving.side() * trial.preactivation > 4.0 * moving.slack(generator.norms)
    reduced = jax.tree.map(put, propagation.end, moving.reduced)
    # Exactly, or an output that is not yet 0 by rounding would vanish here again, for ever.
    vanishes = commit & at_event & moving.search.vanishing
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
        moving,
        (
            put(trial.end, moving.time),
            reduced,
            put_rows(trial.preactivation, moving.preactivation),
            put_rows(propagation.kept[:, None] * moving.combination + gained, moving.combination),
            put(propagation.kept * moving.kept, moving.kept),
            put(moving.growth + propagation.growth, moving.growth),
            put(moving.exponent + propagation.exponent, moving.exponent),
            put_rows(moving.armed | clear, moving.armed),
        ),
    )
