"""A neuron of the Runge-Kutta integrator on a boundary: what fired, its next pattern, the record
of it."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._dynamics._field import Pattern, Problem, predictions
from .._events import Ambiguity, Standing, transition
from .._events._recording import AmbiguousNeurons, Switches, coded
from .._integration._results import RESULTS
from .._integration._state import RungeKuttaState, starting_point
from .._model._shapes import Scalar
from ._guards import Guards, Which
from ._trial import Trial


class Turn(eqx.Module):
    """A new pattern for one neuron (for none, where `neuron` is past the end), and its record."""

    neuron: Int[Array, ""]
    mode: Int[Array, " boundaries"]
    slots: Int[Array, " max_sliding"]
    response: Float[Array, "max_sliding boundaries"]
    watched: Bool[Array, " rays"]
    stands: Bool[Array, " boundaries"]
    switches: Switches
    ambiguous: AmbiguousNeurons
    result: RESULTS

    @classmethod
    def none(cls, state: RungeKuttaState) -> "Turn":
        row = jax.tree.map(lambda leaf: leaf[0], state.pattern)
        no = jnp.zeros(row.mode.shape, bool)
        return cls(
            _nobody(),
            *(row.mode, row.slots, row.response, row.watched),
            no,
            Switches.none(len(row.mode)),
            AmbiguousNeurons.of(Ambiguity.none(len(row.mode)), state.time, _nobody()),
            RESULTS.successful,
        )


def _nobody() -> Int[Array, ""]:
    return jnp.array(jnp.iinfo(jnp.int32).max, jnp.int32)


def turn(
    problem: Problem, state: RungeKuttaState, trial: Trial, guards: Guards, max_sliding: int
) -> Turn:
    """The next pattern of the neuron that stands on a boundary, the state being there already."""
    starts = jnp.any(state.pending)
    which = Which.at(trial.guard, guards, starts)
    neuron = jnp.where(starts, jnp.argmax(state.pending), which.neuron).astype(jnp.int32)
    mode = state.pattern.mode[neuron].astype(jnp.int32)
    velocity, output = trial.expansion.velocity(), state.output[neuron]
    sign = jnp.sign(
        jnp.where(which.fired.vanishes | (output == 0.0), velocity.output[neuron], output)
    )
    standing = Standing(
        mode=mode,
        preactivation=state.preactivation[neuron],
        velocity=velocity.preactivation[neuron],
        # A unit fires that much beyond its boundary, and others with it.
        near=2.0 * state.slack(problem)[neuron],
        armed=state.armed[neuron],
        watched=state.pattern.watched[neuron],
        sign=sign,
    )
    h = predictions(problem.arrangement, starting_point(state), state.pattern, state.weight())
    pulls, uncertainty = problem.pulls(problem.residual(h)), guards.residual_noise
    found = transition(problem.arrangement, pulls, uncertainty, standing, which.fired, max_sliding)
    stops = which.loss_reached
    chatters = ~found.found | (state.switched[neuron] > 2 * mode.shape[0] + 16)
    result = RESULTS.where(chatters, RESULTS.chattering, RESULTS.successful)
    result = RESULTS.where(found.fits, result, RESULTS.sliding_buffer_full)
    result = RESULTS.where(stops, RESULTS.loss_reached, result)
    neuron = jnp.where(stops, _nobody(), neuron)
    return Turn(
        neuron,
        found.mode.astype(jnp.int8),
        found.slots.astype(jnp.int32),
        found.response,
        found.watched,
        found.stands,
        _switches(state.time, neuron, mode, found.mode, stops),
        AmbiguousNeurons.of(found.ambiguity.unless(stops), state.time, neuron),
        result,
    )


def _switches(time: Scalar, neuron, before, after, stops) -> Switches:
    boundaries = jnp.arange(before.shape[0], dtype=jnp.int32)

    def of_each(value):
        return jnp.broadcast_to(value, boundaries.shape)

    neuron = of_each(neuron).astype(jnp.int32)
    units = jnp.stack([neuron, coded(boundaries, before, after)], axis=1)
    return Switches(of_each(time), units, (before != after) & ~stops)


def turned(state: RungeKuttaState, turn: Turn) -> RungeKuttaState:
    """The state with one neuron's pattern changed, and its units on their boundaries at zero."""
    neuron, stands = turn.neuron, turn.stands

    def put(array, value):
        return array.at[neuron].set(value, mode="drop")

    def zeroed(array, value):
        row = jnp.where(stands, value, array[jnp.minimum(neuron, array.shape[0] - 1)])
        return put(array, row)

    pattern = Pattern(
        put(state.pattern.mode, turn.mode),
        put(state.pattern.slots, turn.slots),
        put(state.pattern.response, turn.response),
        put(state.pattern.watched, turn.watched),
    )
    fields = (
        pattern,
        zeroed(state.preactivation, 0.0),
        zeroed(state.armed, False),
        put(state.pending, False),
        state.made_jump | (neuron < state.output.shape[0]),
        jnp.where(neuron < state.output.shape[0], 0, state.stalled),
        state.switched.at[neuron].add(1, mode="drop"),
    )
    return eqx.tree_at(
        lambda s: (
            s.pattern,
            s.preactivation,
            s.armed,
            s.pending,
            s.made_jump,
            s.stalled,
            s.switched,
        ),
        state,
        fields,
    )
