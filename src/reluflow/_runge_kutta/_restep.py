"""An accepted Runge-Kutta step, taken again to a time inside it.

No event lies strictly inside an accepted step, so that its pattern holds all along. The same
solver on a shorter step is more exact than it was on the whole one; its own interpolant is not.
"""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp

from .._dynamics._field import Pattern, Problem
from .._dynamics._rest import Rest
from .._integration._state import RungeKuttaState, balanced_output, no_gain, starting_point
from .._model._network import Network
from .._model._shapes import Hidden, PerNeuron, Scalar, Units
from ._trial import field_term


class Passage(eqx.Module):
    """The state at the beginning of a step, as far as the field sees it."""

    time: Scalar
    log_scale: PerNeuron
    output: PerNeuron
    hidden: Hidden
    preactivation: Units
    balance: PerNeuron
    pattern: Pattern
    rtol: Scalar
    rest: Rest

    @classmethod
    def of(cls, state: RungeKuttaState) -> "Passage":
        return cls(
            state.time,
            state.total_log_scale(),
            state.output,
            state.hidden,
            state.preactivation,
            state.balance,
            state.pattern,
            state.rtol,
            state.rest,
        )


def restep(
    solver: diffrax.AbstractSolver, problem: Problem, passage: Passage, time: Scalar
) -> Network:
    """The network at `time`, by one step of the solver from the beginning of the stored one."""
    start, gain = starting_point(passage), no_gain(passage)
    args = (start, passage.pattern, jnp.exp(2.0 * passage.log_scale), problem)
    zero, length = jnp.zeros(()), jnp.where(time >= passage.time, time - passage.time, 0.0)
    # What a solver carries from step to step belongs to another step; it starts afresh.
    memory = solver.init(field_term(), zero, length, gain, args)
    gain, _, _, _, result = solver.step(
        field_term(), zero, length, gain, args, memory, jnp.array(True)
    )
    end = gain.on(start, passage.pattern, problem)
    hidden = passage.hidden + end.combination @ problem.normals
    output = balanced_output(end.output, hidden, passage.balance)
    net = Network(passage.log_scale, output, hidden)
    scale = passage.log_scale + passage.rest.rates * length
    standing = Network(scale, passage.output, passage.hidden)
    net = jax.tree.map(lambda a, b: jnp.where(passage.rest.known, a, b), standing, net)
    # Only the root finder of an implicit solver can fail.
    failed = (result != diffrax.RESULTS.successful) & ~passage.rest.known
    return result.error_if(net, failed)
