"""One attempted Runge-Kutta step: where it ends, whether to keep it, and what its guards say."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._dynamics._field import (
    Gain,
    Neurons,
    Problem,
    Rounding,
    kernel_trace,
    predictions,
    rounding_of,
    velocity,
)
from .._dynamics._rest import largest_curvature, scale_of
from .._integration._state import LOOK_AHEAD, RungeKuttaState, no_gain, starting_point
from .._model._shapes import PerNeuron, Scalar
from ._guards import Guards
from ._location import NODES, first_roots
from ._taylor import Expansion, expand, first_zero

# A guard within this much of the flow's own time is reached by a Taylor step of order 4: its
# error, (1e-3)^5 / 120, is below rounding.
_TAYLOR = 1e-3
# A residual is taken to be known to this part of the tolerance of predictions: within it, alpha
# means nothing. A larger part would show in the times of exits from slides.
_UNCERTAIN = 0.1
# How far below a loss to stop at, of it, a step aims; and what else, in roundings of the residual.
_BELOW, _ROUNDINGS = 5e-7, 32.0 * float(jnp.finfo(jnp.float64).eps)
# A guard within this much of it is worth aiming the next step at.
_AIM = 1e-1


class Trial(eqx.Module):
    """A step of this length from the state, judged but not taken."""

    length: Scalar
    full: Bool[Array, ""]  # not shortened for an event or a limit
    aimed: Bool[Array, ""]  # it ends at the first of the upcoming events
    # where it ends, and the Taylor expansion there
    end: Neurons
    expansion: Expansion
    solver: Any
    # the controller's verdict
    keep: Bool[Array, ""]
    finite: Bool[Array, ""]
    next_size: Scalar
    controller: Any
    # events inside the step: whether there is one, and times from its start
    crossing: Bool[Array, ""]
    roots: Float[Array, " upcoming"]
    # the guard that is at its zero at the end, if any, and when exactly, counted from the end
    arrived: Bool[Array, ""]
    guard: Int[Array, ""]
    offset: Scalar
    expected: Scalar  # when the next guard will be, likewise
    rate: Scalar  # 1 / the flow's own time
    guards: Guards
    dissipation: Scalar  # r K r


def attempt(
    solver: diffrax.AbstractSolver,
    controller: diffrax.PIDController,
    problem: Problem,
    state: RungeKuttaState,
    limit: Scalar,
    error_order: float | int,
) -> Trial:
    """Steps to the nearest of: the controller's step size, the next expected event, the limit."""
    rest = limit - state.time
    length = jnp.minimum(jnp.minimum(state.step_size, state.upcoming[0]), rest)
    length = jnp.where(jnp.any(state.pending), 0.0, length)
    weight = state.weight()
    start = starting_point(state)
    args = (start, state.pattern, weight, problem)
    gain, gain_error, dense, solver_state, result = solver.step(
        field_term(),
        jnp.zeros(()),
        length,
        no_gain(state),
        args,
        state.solver,
        state.made_jump,
    )
    end = gain.on(start, state.pattern, problem)
    assert gain_error is not None  # which adaptive solvers have
    error = Neurons(
        gain_error.output, gain_error.combination, gain_error.combination @ problem.gram
    )
    rounding = rounding_of(problem, start, state.pattern, weight)
    guards = _guards(state, problem, weight, rounding)
    at_end = _at_end(guards, end, state, problem, length, rest)
    scaled = _scaled_error(error, end, rounding, state, problem)
    failed = result != diffrax.RESULTS.successful  # of the root finder of an implicit solver
    finite = (jnp.isfinite(scaled) & at_end.finite) | failed
    scaled = jnp.where(finite & ~failed, scaled, jnp.inf)
    keep, _, next_end, _, controller_state, _ = controller.adapt_step_size(
        jnp.zeros(()),
        length,
        jnp.ones(()),
        jnp.ones(()),
        None,
        scaled,
        error_order,
        state.controller,
    )
    interpolant = solver.interpolation_cls(t0=0.0, t1=1.0, **dense)
    inside = _inside(guards, interpolant, start, end, problem, length, at_end)
    return Trial(
        length=length,
        full=length == state.step_size,
        aimed=length == state.upcoming[0],
        end=end,
        expansion=at_end.expansion,
        solver=solver_state,
        keep=jnp.asarray(keep),
        finite=finite,
        next_size=jnp.asarray(next_end) - jnp.where(keep, length, 0.0),
        controller=controller_state,
        crossing=inside[0],
        roots=inside[1],
        arrived=jnp.any(at_end.near),
        guard=jnp.argmin(jnp.where(at_end.near, at_end.offset, jnp.inf)),
        offset=jnp.min(jnp.where(at_end.near, at_end.offset, jnp.inf)),
        expected=at_end.expected,
        rate=at_end.rate,
        guards=guards,
        dissipation=at_end.expansion.dissipation(),
    )


def field_term() -> diffrax.ODETerm:
    """The ODE of the solver, for what the neurons gain in a step."""

    def vector_field(t, gain, args):
        start, pattern, weight, problem = args
        slope = velocity(gain.on(start, pattern, problem), pattern, weight, problem)
        return Gain(slope.output, slope.combination)

    return diffrax.ODETerm(vector_field)


def _scaled_error(
    error: Neurons, end: Neurons, rounding: Rounding, state: RungeKuttaState, problem: Problem
) -> Scalar:
    """The largest error of a neuron over its tolerance, rtol |theta_j| + atol; and of a
    prediction, over rtol max|y|.

    It is measured per neuron, so that one of size 1e-20 is as exact as one of size 1; along the
    inputs, p / |x| is the error of w, and c |x| bounds it where inputs are nearly dependent.
    """
    along = jnp.abs(error.preactivation) / problem.length
    bound = jnp.abs(error.combination) * problem.length
    largest = jnp.maximum(jnp.abs(error.output), jnp.max(jnp.maximum(along, bound), axis=1))
    # As a logarithm: 0 e^1000 would not be 0.
    scaled_atol = jnp.exp(jnp.log(state.atol) - state.total_log_scale())
    scale = state.rtol * state.size() + scaled_atol
    of_neurons = jnp.max(largest / jnp.maximum(scale, jnp.finfo(jnp.float64).tiny))
    arrangement, weight = problem.arrangement, state.weight()
    first = Neurons(error.output, end.combination, end.preactivation)
    second = Neurons(end.output, end.combination, error.preactivation)
    of_predictions = jnp.abs(
        predictions(arrangement, first, state.pattern, weight)
        + predictions(arrangement, second, state.pattern, weight)
    )
    # Where rounding of h is more than that, it cannot be asked for.
    tolerance = state.rtol * state.height
    allowed = jnp.maximum(tolerance, rounding.of_predictions + _UNCERTAIN * tolerance)
    return jnp.maximum(of_neurons, jnp.max(of_predictions) / allowed)


def _guards(
    state: RungeKuttaState, problem: Problem, weight: PerNeuron, rounding: Rounding
) -> Guards:
    h = predictions(problem.arrangement, starting_point(state), state.pattern, weight)
    scale = scale_of(problem, state.height, largest_curvature(problem, h))
    noise = rounding.of_residuals + _UNCERTAIN * state.rtol * scale
    sign, slack = jnp.sign(state.output), state.slack(problem)
    # Aimed a little below: the loss is never above.
    stop = state.stop_loss
    size = jnp.sqrt(2.0 * problem.samples * jnp.maximum(stop, 1e-300))
    if not problem.plain:  # |dL| = mean|r| |dh|
        pull = jnp.mean(jnp.abs(problem.residual(h)))
        size = jnp.maximum(stop, 1e-300) / jnp.where(pull > 0.0, pull, 1.0)
    below = jnp.clip(_ROUNDINGS * state.height / size, _BELOW, 0.5)
    stop = stop * (1.0 - below)
    return Guards(problem, state.pattern, weight, sign, slack, noise, stop)


class _AtEnd(eqx.Module):
    expansion: Expansion
    near: Bool[Array, " guards"]
    offset: Float[Array, " guards"]
    expected: Scalar
    rate: Scalar
    finite: Bool[Array, ""]


def _at_end(
    guards: Guards,
    end: Neurons,
    state: RungeKuttaState,
    problem: Problem,
    length: Scalar,
    rest: Scalar,
) -> _AtEnd:
    """The guards around the end of the step, by their Taylor expansions there.

    The rate bounds how fast anything can change: the speed of a neuron relative to itself, and
    the trace of the tangent kernel, which bounds the decay of the residual even where it stands
    still now. Without the latter a flow that has converged would seem to allow any step.
    """
    expansion = expand(end, guards.pattern, guards.weight, problem, state.step_size)
    velocity = expansion.velocity()
    pace = jnp.max(jnp.abs(velocity.preactivation) / problem.length, axis=1)
    pace = jnp.maximum(pace, jnp.abs(velocity.output))
    decay = kernel_trace(end, guards.pattern, guards.weight, problem)
    if not problem.plain:
        decay = decay * jnp.max(problem.curvature(expansion.h[0]))
    size = jnp.maximum(state.size(), jnp.finfo(jnp.float64).tiny)
    rate = jnp.maximum(jnp.max(pace / size), decay)
    terms = guards.expansion(expansion)
    offset = expansion.unit * first_zero(terms)
    # Beyond its zero already: it fires here. Where the step was asked to end at once, whatever its
    # slope: near rest a slope is rounding, and time must go on.
    ahead = jnp.isfinite(offset) & (offset > 0.0)
    past = (terms[0] <= 0.0) & ((terms[1] < 0.0) | (length == 0.0)) & ~ahead
    offset = jnp.where(past & (jnp.abs(offset) * rate > _TAYLOR), 0.0, offset)
    near = (jnp.abs(offset) * rate <= _TAYLOR) & (offset <= rest - length)
    soon = (offset > 0.0) & ~near & (offset * rate <= _AIM)
    expected = jnp.min(jnp.where(soon, offset, jnp.inf))
    finite = jnp.all(jnp.isfinite(expansion.neurons.preactivation)) & jnp.isfinite(rate)
    return _AtEnd(expansion, near, offset, expected, rate, finite)


def _inside(guards, interpolant, start, end, problem, length, at_end: _AtEnd):
    """(whether a guard crosses before the end, the times of the first crossings)."""

    def at_node(node):
        return interpolant.evaluate(node).on(start, guards.pattern, problem)

    middle = jax.vmap(at_node)(jnp.asarray(NODES[1:-1]))
    nodes = jax.tree.map(
        lambda first, rest, last: jnp.concatenate([first[None], rest, last[None]]),
        start,
        middle,
        end,
    )

    def values_at(neurons):
        h = predictions(problem.arrangement, neurons, guards.pattern, guards.weight)
        return guards.values(neurons, h)

    values = jax.vmap(values_at)(nodes)
    roots, which, others = first_roots(values, LOOK_AHEAD)
    times = jnp.where(jnp.isfinite(roots), roots * length, jnp.inf)
    bound = jnp.where(others < 1.0, others * length, jnp.inf)
    # A guard that is at its zero at the end has its root there, give or take: no crossing.
    before = length - _TAYLOR / jnp.maximum(at_end.rate, jnp.finfo(jnp.float64).tiny)
    early = jnp.isfinite(times) & ((times < before) | ~at_end.near[which])
    crossing = jnp.any(early) | (bound < before)
    return crossing, jnp.sort(jnp.concatenate([times, bound[None]]))
