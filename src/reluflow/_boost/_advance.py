"""One propagation of every neuron of the event pass: towards its next point, or to its next event.

A neuron is propagated to its next point. If it would cross a boundary on the way, the time of that
event is located; its next propagation ends there, and the neuron changes its mode. All neurons are
propagated at once, whichever of the two each of them is at.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from .._model import _modes
from .._support._branch import run_if
from ._collocation import POINTS
from ._event_detection import Trial, detect, passes_another
from ._event_location import locate
from ._generator import Generator, Uncertainty
from ._line import propagated
from ._mode_transition import Transitions, apply_transitions, decide
from ._moving_neurons import MovingNeurons
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
    event = moving.event
    to_point, at_event = going & ~event.present, going & event.present
    basis, exits = moving.basis(generator), slide_exit(generator, moving, uncertainty.alpha)
    end = jnp.where(event.present, event.time, exits.time)
    end = jnp.where(moving.pending, moving.time, end)
    trial = Trial.of(moving, basis, end, propagated(generator, moving, basis, end))
    detection = detect(generator, moving, basis, trial, uncertainty)
    found, early = to_point & detection.finds, to_point & detection.early
    passed = at_event & passes_another(generator, moving, trial)
    leaves = to_point & exits.fires & ~found & ~early & ~moving.pending
    settles = (to_point & moving.pending) | leaves | _has_landed(moving, at_event & ~passed)
    transitions = _decided(generator, moving, trial, exits, leaves, settles)
    commit = (at_event & ~passed) | (to_point & ~found & ~early)
    arrives = commit & to_point & ~settles & (end >= jnp.asarray(POINTS)[moving.goal])
    event = locate(generator, moving, basis, detection, trial, found)
    goal = moving.goal + arrives.astype(moving.goal.dtype)
    next_point = jnp.asarray(POINTS)[jnp.minimum(goal, len(POINTS) - 1)]
    target = jnp.where(early, detection.shorter, jnp.where(commit, next_point, moving.target))
    target = jnp.where(passed, jax.lax.stop_gradient(end), target)
    advances = jnp.where(arrives, 0, moving.advances + going.astype(moving.advances.dtype))
    moving = _moved(generator, moving, trial, commit, at_event)
    moving = eqx.tree_at(lambda w: (w.goal, w.target, w.advances), moving, (goal, target, advances))
    moving, record = apply_transitions(
        generator, moving, record, lane, uncertainty.alpha, truncation, transitions
    )
    moving = eqx.tree_at(lambda w: w.event, moving, event)
    return moving, record, arrives


def _has_landed(moving: MovingNeurons, at_event):
    """At an event after which the mode is to be decided: where an output vanishes, only if units
    slide."""
    slides = jnp.any(moving.pattern.mode == _modes.SLIDING, axis=1)
    return at_event & (slides | ~moving.event.vanishing)


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
    vanishes = commit & at_event & moving.event.vanishing
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
