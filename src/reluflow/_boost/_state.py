"""The state of the boost integrator, and how it moves on."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from .._dynamics._field import Neurons, Problem, Rounding
from .._dynamics._rest import Rest, Standing, at_rest, bound_of, height_of, largest_curvature
from .._integration._flow_state import FlowState
from .._model._shapes import Hidden, PerSample, Scalar
from ._collocation import NUM_NODES
from ._collocation_problem import CollocationProblem, NodalValues
from ._generator import Uncertainty
from ._iterate import Iterate
from ._neurons import Start, begin, predictions_of, rounding_of
from ._predictor import DecayPredictor
from ._previous_step import PreviousStep
from ._quasi_newton import StepSolution
from ._step_size import RejectedStep


class BoostState(eqx.Module):
    time: Scalar
    start: Start  # the neurons here
    hidden: Hidden
    h: PerSample
    residual: PerSample
    target: Scalar  # of the step size controller
    rejected: RejectedStep
    previous: PreviousStep
    stalled: Int[Array, ""]
    iterate: Iterate  # of the step that is being attempted
    rest: Rest  # whether there is anywhere to go
    # the tolerances and the stop
    rtol: Scalar
    atol: Scalar
    stop_loss: Scalar
    # constants of the data
    bound: Scalar
    height: Scalar
    # of the loss and of rounding here
    curvature: Scalar
    rounding: Rounding


def initial(problem: Problem, start: FlowState, tolerances, stop_loss) -> BoostState:
    neurons, hidden = begin(start)
    h = predictions_of(problem, neurons)
    residual, rounding = problem.residual(h), rounding_of(problem, neurons)
    noise = rounding.of_residuals
    nodes = jnp.broadcast_to(residual, (NUM_NODES, residual.shape[0]))
    nothing = NodalValues.of_nodes(nodes, residual, jnp.zeros(()))
    kernel = jnp.zeros((problem.samples, problem.samples))
    decay = DecayPredictor.of(kernel, _curvatures(problem, h))
    rest = Rest.unknown(len(neurons.output))
    previous = PreviousStep(
        start.time, neurons, hidden, nothing, Uncertainty(noise, noise), rest, decay
    )
    return BoostState(
        time=start.time,
        start=neurons,
        hidden=hidden,
        h=h,
        residual=residual,
        target=start.step_size,
        rejected=RejectedStep.none(),
        previous=previous,
        stalled=jnp.array(0),
        iterate=Iterate.none(problem),
        rtol=tolerances[0],
        atol=tolerances[1],
        stop_loss=stop_loss,
        rest=rest,
        bound=bound_of(problem),
        height=height_of(problem, residual),
        curvature=largest_curvature(problem, h),
        rounding=rounding,
    )


def moved_to(
    problem: Problem,
    state: BoostState,
    collocation: CollocationProblem,
    solution: StepSolution,
    start: Start,
    hidden: Hidden,
    reaches,
    limit,
) -> BoostState:
    """At the end of the step; exactly at `limit` where it reaches that."""
    time = jnp.where(reaches, limit, state.time + solution.nodal_values.length)
    h = predictions_of(problem, start)
    decay = DecayPredictor.of(solution.iterate.newton_matrix.end_kernel, _curvatures(problem, h))
    under = solution.nodal_values
    uncertainty = collocation.uncertainty.under(under)
    rest = Rest.unknown(len(start.output))
    previous = PreviousStep(state.time, state.start, state.hidden, under, uncertainty, rest, decay)
    return eqx.tree_at(
        lambda s: (
            s.time,
            s.start,
            s.hidden,
            s.h,
            s.residual,
            s.curvature,
            s.rounding,
            s.previous,
            s.stalled,
        ),
        state,
        (
            time,
            start,
            hidden,
            h,
            problem.residual(h),
            largest_curvature(problem, h),
            rounding_of(problem, start),
            previous,
            jnp.zeros_like(state.stalled),
        ),
    )


def _curvatures(problem: Problem, h: PerSample) -> PerSample | None:
    return None if problem.plain else problem.curvature(h)


def stood(state: BoostState, limit: Scalar) -> BoostState:
    """At rest, at `limit`: the neurons are where they are, but for those that shrink."""
    scale = state.start.log_scale + state.rest.rates * (limit - state.time)
    previous = state.previous
    under = NodalValues.of_nodes(0.0 * previous.nodal_values.nodes, state.residual, jnp.zeros(()))
    known = (previous.uncertainty, state.rest, previous.decay)
    previous = PreviousStep(state.time, state.start, state.hidden, under, *known)
    return eqx.tree_at(
        lambda s: (s.time, s.start.log_scale, s.previous), state, (limit, scale, previous)
    )


def rested(problem: Problem, state: BoostState, moved) -> Rest:
    """What is known of the rest of the flow, after a step; before one, what was."""
    start, decay = state.start, state.previous.decay
    nothing = jnp.zeros_like(start.preactivation)
    here = Standing(
        Neurons(start.output, nothing, start.preactivation),
        start.log_scale,
        start.balance,
        start.pattern,
        start.pending,
        state.residual,
        state.previous.nodal_values.length,
    )
    rate = jnp.sum(decay.rates * decay.parts(state.residual) ** 2)
    rate = jnp.where(moved, rate, jnp.inf)
    limits = state.rtol, state.height, state.stop_loss
    rest = at_rest(problem, here, rate, lambda: decay, *limits)
    return jax.tree.map(lambda a, b: jnp.where(moved, a, b), rest, state.rest)
