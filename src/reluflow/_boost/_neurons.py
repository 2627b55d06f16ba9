"""The neurons at the beginning of a step: from a network, and from where a walk has taken them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from .._field import Neurons, Pattern, Problem, predictions, residual_rounding
from .._flow_state import FlowState
from .._shapes import Hidden, PerNeuron, PerSample, Scalar, UnitFlags, Units
from .._state import balanced_output, tied
from ._walk import Walk

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
    """The neurons; those on a boundary are settled by the first hop."""
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


def arrived(problem: Problem, start: Start, hidden: Hidden, walk: Walk) -> tuple[Start, Hidden]:
    """The neurons where a walk has taken them, each of size about 1 again."""
    hidden = walk.kept[:, None] * hidden + walk.combination @ problem.normals
    slack = walk.slack(problem.length)
    preactivation = tied(problem, hidden, walk.preactivation, slack, walk.armed, walk.pattern.mode)
    balance = walk.reduced.balance
    output = balanced_output(walk.reduced.output, hidden, balance)
    start = Start(
        start.log_scale + walk.total_growth(),
        output,
        preactivation,
        balance,
        walk.pattern,
        walk.armed,
        walk.pending,
    )
    return _rescaled(start, hidden)


def _rescaled(start: Start, hidden: Hidden) -> tuple[Start, Hidden]:
    """Every neuron brought to a size between 1/2 and 1 by a power of two: no bit changes."""
    size = jnp.sqrt(start.output**2 + jnp.sum(hidden**2, axis=1))
    _, exponent = jnp.frexp(jax.lax.stop_gradient(size))
    factor = jnp.ldexp(jnp.ones_like(size), -exponent)
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


def residual_of(problem: Problem, start: Start) -> PerSample:
    return problem.labels - predictions(problem.arrangement, *_at(start))


def rounding_of(problem: Problem, start: Start) -> Scalar:
    """Of the residual."""
    return residual_rounding(problem, *_at(start))


def _at(start: Start):
    nothing = jnp.zeros_like(start.preactivation)
    neurons = Neurons(start.output, nothing, start.preactivation)
    return neurons, start.pattern, jnp.exp(2.0 * start.log_scale)
