"""The state that the Runge-Kutta integrator carries, and how it moves on."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._dynamics._field import Gain, Neurons, Pattern, Problem
from .._dynamics._rest import Rest
from .._events import ON_BOUNDARY
from .._model import _modes
from .._model._shapes import Hidden, PerNeuron, Scalar, UnitFlags, Units
from .._support._powers_of_two import exponent_of, power_of_two

LOOK_AHEAD = 8  # how many expected events a step hands on to the steps after it
_EXPONENT_RANGE = 8  # a neuron is rescaled when its size leaves 2^-8 .. 2^8
_SAME_INSTANT = 1e-13  # of the flow's own time
_SAME_EVENT = 1e-6  # likewise: an event expected so soon is the one that has just been passed


class RungeKuttaState(eqx.Module):
    # where the flow is; a neuron's weights are 2^exponent e^{log_scale} times these
    time: Scalar
    log_scale: PerNeuron
    exponent: Int[Array, " neurons"]
    output: PerNeuron
    hidden: Hidden
    preactivation: Units
    balance: PerNeuron  # a_j^2 - |w_j|^2, which the flow conserves
    # on which pattern; armed: clear of the boundary; pending: to be classified at the start
    pattern: Pattern
    armed: UnitFlags
    pending: Bool[Array, " neurons"]
    # how the next step is taken; upcoming: expected times to the next events, increasing
    step_size: Scalar
    upcoming: Float[Array, " events"]
    controller: Any
    solver: Any
    made_jump: Bool[Array, ""]
    # whether there is anywhere to go
    rest: Rest
    # watchdogs
    stalled: Int[Array, ""]
    switched: Int[Array, " neurons"]
    # what was asked for
    rtol: Scalar
    atol: Scalar
    stop_loss: Scalar
    height: Scalar  # what predictions are measured by

    def weight(self) -> PerNeuron:
        return jnp.exp(2.0 * self.total_log_scale())

    def total_log_scale(self) -> PerNeuron:
        return self.log_scale + self.exponent.astype(jnp.float64) * np.log(2.0)

    def size(self) -> PerNeuron:
        return jnp.sqrt(self.output**2 + jnp.sum(self.hidden**2, axis=1))

    def slack(self, problem: Problem) -> Units:
        """How far from its boundary a unit has to be before its sign is more than rounding."""
        return ON_BOUNDARY * self.size()[:, None] * problem.length


def starting_point(state) -> Neurons:
    """Where a step starts: nothing gained yet."""
    return Neurons(state.output, jnp.zeros_like(state.preactivation), state.preactivation)


def no_gain(state) -> Gain:
    return Gain(state.output, jnp.zeros_like(state.preactivation))


def moved(
    problem: Problem,
    state: RungeKuttaState,
    end: Neurons,
    elapsed: Scalar,
    rate: Scalar,
) -> RungeKuttaState:
    """The state at `end`, `elapsed` later, with every neuron of size about 1 again."""
    mode = state.pattern.mode
    side = jnp.where(mode == _modes.ACTIVE, 1.0, -1.0)
    clear = side * end.preactivation > 4.0 * state.slack(problem)
    later = state.upcoming - elapsed
    progressed = elapsed * rate > _SAME_INSTANT
    hidden = state.hidden + end.combination @ problem.normals
    preactivation = tied(
        problem, hidden, end.preactivation, state.slack(problem), state.armed, mode
    )
    state = eqx.tree_at(
        lambda s: (
            s.time,
            s.output,
            s.hidden,
            s.preactivation,
            s.armed,
            s.upcoming,
            s.made_jump,
            s.stalled,
            s.switched,
        ),
        state,
        (
            state.time + elapsed,
            balanced_output(end.output, hidden, state.balance),
            hidden,
            preactivation,
            state.armed | clear,
            jnp.sort(jnp.where(later * rate > _SAME_EVENT, later, jnp.inf)),
            jnp.array(False),
            jnp.where(elapsed > 0.0, 0, state.stalled + 1),
            jnp.where(progressed, 0, state.switched),
        ),
    )
    return rescaled(state)


def initial_balance(output: PerNeuron, hidden: Hidden) -> PerNeuron:
    """a_j^2 - |w_j|^2, and exactly zero where only rounding keeps a neuron from being balanced."""
    inner = jnp.sum(hidden**2, axis=1)
    balance = output**2 - inner
    noise = 4.0 * hidden.shape[1] * np.finfo(np.float64).eps * (output**2 + inner)
    # Only the value is cleared: a derivative along which the balance changes is not noise.
    small = jnp.abs(balance) <= noise
    return balance - jnp.where(small, jax.lax.stop_gradient(balance), 0.0)


def balanced_output(output: PerNeuron, hidden: Hidden, balance: PerNeuron) -> PerNeuron:
    """a_j = +-(|w_j|^2 + balance)^{1/2}: back on the invariant of the flow (2022, Lemma 1).

    A neuron that shrinks by q along a boundary is on a stable manifold of the flow: its errors
    grow by 1/q^2 relative to it, unless they are projected away. Only where |a_j| is not small
    beside |w_j|, for the root is ill-conditioned there, and such a neuron cannot shrink far.
    """
    square = jnp.sum(hidden**2, axis=1) + balance
    good = (4.0 * output**2 >= jnp.sum(hidden**2, axis=1)) & (square > 0.0)
    root = jnp.sqrt(jnp.where(good, square, 1.0))
    return jnp.where(good, jnp.sign(output) * root, output)


def tied(
    problem: Problem, hidden: Hidden, preactivation: Units, slack: Units, armed, mode
) -> Units:
    """The carried preactivations, set back to <w_j, x_k> where they have drifted off it.

    Rounding leaves a difference of the size that the neuron had when it was made: nothing beside
    a neuron that grows, but too much for one that has shrunk by 1e-3 since. Never across zero,
    and not for a unit on its boundary: a mode is decided by events alone.
    """
    exact = hidden @ problem.normals.T
    drifted = jnp.abs(exact - preactivation) > 4.0 * slack
    moving = armed & (mode != _modes.SLIDING)
    same_side = exact * preactivation > 0.0
    return jnp.where(drifted & moving & same_side, exact, preactivation)


def rescaled(state: RungeKuttaState) -> RungeKuttaState:
    """Every neuron brought back to a size between 1/2 and 1 when it is far from it.

    By a power of two, so that no bit changes: not even the sign of a preactivation that is 1e-300
    of its neuron. (It may underflow to zero; its mode holds it inactive all the same.)
    """
    exponent = exponent_of(state.size())
    shift = jnp.where(jnp.abs(exponent) > _EXPONENT_RANGE, exponent, 0)
    factor = power_of_two(-shift)
    rows = factor[:, None]
    return eqx.tree_at(
        lambda s: (s.exponent, s.output, s.hidden, s.preactivation, s.balance, s.made_jump),
        state,
        (
            state.exponent + shift,
            state.output * factor,
            state.hidden * rows,
            state.preactivation * rows,
            state.balance * factor**2,
            state.made_jump | jnp.any(shift != 0),
        ),
    )
