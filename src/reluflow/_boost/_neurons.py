"""The neurons at the beginning of a step: from a network, or from the end of a step."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from .._events import ON_BOUNDARY
from .._field import Neurons, Pattern, Problem, Rounding, predictions
from .._field import rounding_of as rounding_at
from .._flow_state import FlowState
from .._powers_of_two import exponent_of, power_of_two
from .._shapes import Hidden, PerNeuron, PerSample, UnitFlags, Units
from .._state import balanced_output, tied
from ._moving_neurons import StepEnd
from ._propagator import size_of, total_growth

_LN2 = float(np.log(2.0))


class Start(eqx.Module):
    """The neurons at the beginning of a step."""

    log_scale: PerNeuron
    output: PerNeuron
    preactivation: Units
    balance: PerNeuron
    pattern: Pattern
    armed: UnitFlags
    pending: Bool[Array, " neurons"]


def begin(state: FlowState) -> tuple[Start, Hidden]:
    """The neurons; the modes of those on a boundary are decided first in the step."""
    start = Start(
        state.net.log_scale,
        state.net.output,
        state.preactivation,
        state.balance,
        state.pattern,
        state.armed,
        state.pending,
    )
    return _rescaled(start, state.net.hidden)


def arrived(problem: Problem, start: Start, hidden: Hidden, end: StepEnd) -> tuple[Start, Hidden]:
    """The neurons where the step has taken them, each of size about 1 again."""
    hidden = end.kept[:, None] * hidden + end.combination @ problem.normals
    slack = ON_BOUNDARY * size_of(end.output, end.balance)[:, None] * problem.length
    start = Start(
        start.log_scale + total_growth(end.growth, end.exponent),
        balanced_output(end.output, hidden, end.balance),
        tied(problem, hidden, end.preactivation, slack, end.armed, end.pattern.mode),
        end.balance,
        end.pattern,
        end.armed,
        end.pending,
    )
    return _rescaled(start, hidden)


def _rescaled(start: Start, hidden: Hidden) -> tuple[Start, Hidden]:
    """Every neuron brought to a size between 1/2 and 1 by a power of two: no bit changes."""
    size = jnp.sqrt(start.output**2 + jnp.sum(hidden**2, axis=1))
    exponent = exponent_of(size)
    factor = power_of_two(-exponent)
    fields = (
        start.log_scale + exponent.astype(jnp.float64) * _LN2,
        start.output * factor,
        start.preactivation * factor[:, None],
        start.balance * factor**2,
    )
    start = eqx.tree_at(
        lambda s: (s.log_scale, s.output, s.preactivation, s.balance), start, fields
    )
    return start, hidden * factor[:, None]


def predictions_of(problem: Problem, start: Start) -> PerSample:
    return predictions(problem.arrangement, *_at(start))


def rounding_of(problem: Problem, start: Start) -> Rounding:
    return rounding_at(problem, *_at(start))


def _at(start: Start):
    nothing = jnp.zeros_like(start.preactivation)
    neurons = Neurons(start.output, nothing, start.preactivation)
    return neurons, start.pattern, jnp.exp(2.0 * start.log_scale)
