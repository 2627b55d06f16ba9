"""A neuron on a boundary: what it stands on, how it goes on, and the record of it."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from . import _modes
from ._field import Pattern, Problem, predictions
from ._guards import Fired
from ._solution import RESULTS, Switches
from ._state import RungeKuttaState, starting_point
from ._switching import Boundary, settle
from ._trial import Trial

# Boundaries a neuron can stand on in one instant. Through w_j = 0, where only an unbalanced neuron
# gets, it passes all of them at once.
_PLACES = 32


def places(samples: int, max_sliding: int) -> int:
    """For how many boundaries of one neuron there is room in one instant."""
    return min(samples, max(_PLACES, max_sliding + 4))


class Turn(eqx.Module):
    """A new pattern for one neuron (for none, where `neuron` is past the end), and its record."""

    neuron: Int[Array, ""]
    mode: Int[Array, " samples"]
    slots: Int[Array, " max_sliding"]
    response: Float[Array, "max_sliding samples"]
    switches: Switches
    ambiguous: Int[Array, ""]
    result: RESULTS

    @classmethod
    def none(cls, state: RungeKuttaState, capacity: int) -> "Turn":
        row = jax.tree.map(lambda leaf: leaf[0], state.pattern)
        return cls(
            _nobody(),
            row.mode,
            row.slots,
            row.response,
            Switches.none(capacity),
            jnp.array(0),
            RESULTS.successful,
        )


def _nobody() -> Int[Array, ""]:
    return jnp.array(jnp.iinfo(jnp.int32).max, jnp.int32)


def turn(problem: Problem, state: RungeKuttaState, trial: Trial, max_sliding: int) -> Turn:
    """The next pattern of the neuron that stands on a boundary, the state being there already."""
    fired, pending = Fired.at(trial.guard, state.pattern), jnp.any(state.pending)
    stops = fired.loss_reached & ~pending
    neuron = jnp.where(pending, jnp.argmax(state.pending), fired.neuron).astype(jnp.int32)
    mode = state.pattern.mode[neuron].astype(jnp.int32)
    vanishes = fired.outer_vanishes & ~pending
    boundary = _boundary(problem, state, trial, fired, neuron, max_sliding)
    slope, output = trial.expansion.output[1, neuron], state.output[neuron]
    sign = jnp.sign(jnp.where(vanishes | (output == 0.0), slope, output))
    h = predictions(starting_point(state), state.pattern, state.weight())
    settled = settle(problem.gram, problem.labels - h, sign, mode, boundary, max_sliding)
    chatters = ~settled.found | (state.switched[neuron] > 2 * mode.shape[0] + 16)
    result = RESULTS.where(chatters, RESULTS.chattering, RESULTS.successful)
    result = RESULTS.where(settled.fits, result, RESULTS.sliding_buffer_full)
    result = RESULTS.where(settled.distinct, result, RESULTS.parallel_inputs)
    result = RESULTS.where(stops, RESULTS.loss_reached, result)
    present = boundary.samples < mode.shape[0]
    switches = Switches(
        time=jnp.broadcast_to(state.time, boundary.samples.shape),
        neuron=jnp.broadcast_to(neuron, boundary.samples.shape),
        sample=boundary.samples.astype(jnp.int32),
        before=boundary.before.astype(jnp.int8),
        after=settled.modes.astype(jnp.int8),
        changed=present & (boundary.before != settled.modes) & ~stops,
    )
    lost = jnp.sum(vanishes & (mode == _modes.SLIDING))
    return Turn(
        jnp.where(stops, _nobody(), neuron),
        settled.mode.astype(jnp.int8),
        settled.slots.astype(jnp.int32),
        settled.response,
        switches,
        jnp.where(stops, 0, jnp.maximum(settled.ambiguous, lost)),
        result,
    )


def _boundary(
    problem: Problem, state: RungeKuttaState, trial: Trial, fired: Fired, neuron, max_sliding: int
) -> Boundary:
    """The units of the neuron on their boundaries, with the status each has on arrival."""
    pending = jnp.any(state.pending)
    mode = state.pattern.mode[neuron].astype(jnp.int32)
    p, speed = state.preactivation[neuron], trial.expansion.preactivation[1, neuron]
    sample = jnp.arange(mode.shape[0])
    slides = mode == _modes.SLIDING
    side = jnp.where(mode == _modes.ACTIVE, 1.0, -1.0)
    # Other boundaries that the neuron stands on in the same instant: that it has not left yet, or
    # arrives at too. (A small p alone says nothing: beside a neuron that has grown, a dead unit's
    # is. Where a unit rests, nothing pulls; should something begin to, its guard will tell.)
    near = side * p <= state.slack(problem)[neuron]
    ties = near & (~state.armed[neuron] | (side * speed < 0.0))
    here = (fired.arrives & (sample == fired.sample)) | (ties & (mode != _modes.RESTING))
    arrives = jnp.where(pending, p == 0.0, here & ~fired.loss_reached)
    this = (sample == fired.sample) & ~pending
    off = (this & fired.leaves_low) | (fired.outer_vanishes & ~pending)
    held = jnp.where(off, _modes.INACTIVE, _modes.SLIDING)
    held = jnp.where(this & fired.leaves_high, _modes.ACTIVE, held)
    came = jnp.where(mode == _modes.ACTIVE, _modes.ACTIVE, _modes.INACTIVE)
    status = jnp.where(slides, held, came)
    return Boundary.gather(slides | arrives, mode, status, places(mode.shape[0], max_sliding))


def turned(state: RungeKuttaState, turn: Turn) -> RungeKuttaState:
    """The state with one neuron's pattern changed, and its boundary units exactly at zero."""
    neuron, samples = turn.neuron, turn.switches.sample

    def put(array, value):
        return array.at[neuron].set(value, mode="drop")

    pattern = Pattern(
        put(state.pattern.mode, turn.mode),
        put(state.pattern.slots, turn.slots),
        put(state.pattern.response, turn.response),
    )
    fields = (
        pattern,
        state.preactivation.at[neuron, samples].set(0.0, mode="drop"),
        state.armed.at[neuron, samples].set(False, mode="drop"),
        put(state.pending, False),
        state.made_jump | (neuron < state.output.shape[0]),
        state.switched.at[neuron].add(1, mode="drop"),
    )
    return eqx.tree_at(
        lambda s: (s.pattern, s.preactivation, s.armed, s.pending, s.made_jump, s.switched),
        state,
        fields,
    )
