"""The boost integrator inside `rf.flow`: a step, and how long it is."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from .._dynamics._field import Problem
from .._dynamics._rest import scale_of
from .._events._recording import AmbiguousNeurons, Switches
from .._integration._flow_state import FlowState
from .._integration._integrator import AbstractDenseIntegrator, Report
from .._integration._results import RESULTS
from .._integration._sliding import room_for_sliding
from .._model._activation import AbstractActivation, relu
from .._model._dataset import Dataset
from .._model._network import Network
from .._model._shapes import Scalar
from .._support._branch import run_if
from ._collocation_problem import (
    CollocationProblem,
    NodalValues,
    placed,
    size_of_residual,
)
from ._generator import Uncertainty
from ._neurons import arrived
from ._previous_step import PreviousStep, network_inside
from ._propagator import size_of
from ._quasi_newton import StepSolution, resumed_step, solve_step
from ._record import MOST_AMBIGUOUS, StepEvents
from ._state import BoostState, initial, moved_to, rested, stood
from ._step_size import Stop, next_size, until_arrival

_NEAR = 1e-8  # of a neuron's own time
_MAX_STALLED = 48  # rejections in a row
_MOST_TIMES = 1e12  # of the flow's own time, in one step; what is squared of it is finite


class BoostIntegrator(AbstractDenseIntegrator[BoostState]):
    """`rf.Boost` in the loop of `rf.flow`."""

    max_sliding: int | None = eqx.field(static=True)

    def prepare(
        self, data: Dataset, room: int | None = None, activation: AbstractActivation = relu
    ) -> "BoostIntegrator":
        return BoostIntegrator(room_for_sliding(data, self.max_sliding, room, activation))

    def init(self, problem: Problem, start: FlowState, tolerances, stop_loss) -> BoostState:
        return initial(problem, start, tolerances, stop_loss)

    def step(self, problem: Problem, state: BoostState, limit) -> tuple[BoostState, Report]:
        collocation, stands = self._collocation_problem(problem, state, limit), state.rest.known
        moved, report, _ = self._step(problem, state, collocation.unless(stands), limit, stands)
        return moved, report

    def step_or_look_back(
        self, problem: Problem, state: BoostState, limit, looks: Bool[Array, ""], time
    ) -> tuple[BoostState, Report, Network]:
        """To look back is to take the last step again, which is one sweep; none at its end."""
        reached = time >= state.time
        until = state.previous.until(jnp.where(reached, state.previous.begin, time))
        known = CollocationProblem(
            problem,
            state.previous.start,
            state.residual,
            until,
            state.rtol,
            state.bound,
            state.height,
            state.curvature,
            state.rounding.of_residuals,
            state.previous.uncertainty,
            jnp.array(True),
        )
        asked = self._collocation_problem(problem, state, limit)
        stands = state.rest.known & ~looks
        collocation = jax.tree.map(lambda a, b: jnp.where(looks, a, b), known, asked.unless(stands))
        previous = state.previous
        state, report, net = self._step(problem, state, collocation, limit, stands)
        net = jax.tree.map(
            lambda a, b: jnp.where(previous.rest.known, a, b), previous.standing(time), net
        )
        net = jax.tree.map(lambda a, b: jnp.where(reached, a, b), self.network(state), net)
        result = RESULTS.where(looks & reached, RESULTS.successful, report.result)
        return state, eqx.tree_at(lambda r: r.result, report, result), net

    def _collocation_problem(
        self, problem: Problem, state: BoostState, limit
    ) -> CollocationProblem:
        """The next step, at most to `limit`."""
        tolerance = self._tolerance(state)
        noise = state.rounding.of_residuals
        longest = until_arrival(problem, state.start, state.residual, noise, tolerance, state.bound)
        target = state.target
        if problem.loss.quadratic:  # else no residual decays as an exponential
            decayed = state.previous.decay.longest(state.residual, tolerance, state.bound)
            target = jnp.where(state.stalled == 0, jnp.maximum(target, decayed), target)
        # Where steps end is a choice: the flow does not depend on it.
        chosen = jax.lax.stop_gradient(jnp.minimum(target, longest))
        length = jnp.minimum(chosen, limit - state.time)
        # Where nothing moves, that will be known after any step; but the end may be far, or none.
        size = size_of_residual(problem, state.height, state.curvature, state.residual)
        own = 1.0 / (state.bound * size)
        length = jnp.where(jnp.isfinite(length), jnp.minimum(length, _MOST_TIMES * own), own)
        return _of_length(problem, state, length, tolerance)

    def _step(
        self, problem: Problem, state: BoostState, collocation: CollocationProblem, limit, stands
    ) -> tuple[BoostState, Report, Network]:
        """The state after the step, and the neurons at its end, also where it was rejected.

        stands: whether it is known that nothing moves any more.
        """
        places = placed(state.start)
        solution = resumed_step(collocation, state.iterate, places)
        ends = solution.finished & ~collocation.known
        end, events, event_result = (
            solution.swept.end,
            solution.swept.record.events,
            solution.swept.result,
        )
        hidden = jnp.where(collocation.known, state.previous.hidden, state.hidden)
        start, hidden = arrived(problem, collocation.start, hidden, end)
        finite = jnp.isfinite(solution.iterate.effect) & jnp.isfinite(solution.error)
        room = events.count <= places
        asked, tolerance = collocation.guess.length, collocation.tolerance
        keep = solution.converged & (solution.error <= tolerance) & finite & room & ends
        target = next_size(solution, asked, tolerance, keep, state.rejected)
        stop = Stop.of(solution, problem, state.h, state.stop_loss, state.height)
        target = jnp.where(keep & stop.beyond, stop.length, target)
        keep = keep & ~stop.beyond
        reaches = (asked == limit - state.time) & (solution.nodal_values.length == asked)
        stalled = state.stalled + jnp.where(ends, 1, 0)
        outcomes = [
            lambda: eqx.tree_at(lambda s: s.stalled, state, stalled),
            lambda: moved_to(problem, state, collocation, solution, start, hidden, reaches, limit),
            lambda: stood(state, limit),
        ]
        moved = jax.lax.switch(jnp.where(stands, 2, keep.astype(jnp.int32)), outcomes)
        moved = eqx.tree_at(lambda s: s.rest, moved, rested(problem, moved, keep))
        control = (target, state.rejected.after(solution, asked, keep))
        control = jax.tree.map(
            lambda a, b: jnp.where(ends, a, b), control, (state.target, state.rejected)
        )
        iterate = solution.iterate.ended(solution.finished)
        moved = eqx.tree_at(lambda s: (s.target, s.rejected, s.iterate), moved, (*control, iterate))
        switches = _switches(events, state.time, solution.nodal_values.length, keep)
        result = RESULTS.where(keep & stop.reached, RESULTS.loss_reached, RESULTS.successful)
        # A neuron that cannot go on, with the flow as good as there.
        near = asked * state.bound * jnp.linalg.norm(state.residual) < _NEAR
        lost = event_result != RESULTS.successful
        stuck = ends & ((lost & near & ~keep) | (moved.stalled > _MAX_STALLED))
        failed = jnp.where(collocation.known, lost, stuck)  # known: they have gone that way before
        result = RESULTS.where(failed, _why(finite, event_result, room), result)
        ambiguous = _ambiguous(solution, state.time, keep)
        sweeps = jnp.where(collocation.known, 0, solution.iterate.sweeps - state.iterate.sweeps)
        report = Report(
            moved.time,
            solution.finished,
            keep | stands,
            result,
            switches,
            ambiguous,
            jnp.array(-1),
            sweeps,
            moved.rest.near,
        )
        return moved, report, Network(start.log_scale, start.output, hidden)

    def full_step(self, problem: Problem, state: BoostState, length):
        """A step of exactly this length, and its error, for a controller."""
        collocation = _of_length(problem, state, length, state.rtol)
        solution = solve_step(collocation, placed(state.start), ends_at_kinks=False)
        good = solution.converged & (solution.swept.result == RESULTS.successful)
        error = jnp.where(good & jnp.isfinite(solution.error), solution.error, jnp.inf)
        start, hidden = arrived(problem, state.start, state.hidden, solution.swept.end)
        return moved_to(
            problem, state, collocation, solution, start, hidden, jnp.array(False), state.time
        ), error

    def _tolerance(self, state: BoostState) -> Scalar:
        """Relative to the largest neuron: r is one for all of them."""
        size = size_of(state.start.output, state.start.balance)
        largest = jnp.max(state.start.log_scale + jnp.log(jnp.maximum(size, 1e-300)))
        return jnp.minimum(state.rtol + jnp.exp(jnp.log(state.atol) - largest), 0.1)

    def report(self, problem: Problem, state: BoostState) -> Report:
        zero = jnp.array(0)
        return Report(
            state.time,
            jnp.array(True),
            jnp.array(False),
            RESULTS.successful,
            Switches.none(placed(state.start)),
            AmbiguousNeurons.none(MOST_AMBIGUOUS, problem.arrangement.boundaries),
            jnp.array(-1),
            zero,
            jnp.array(False),
        )

    def network(self, state: BoostState) -> Network:
        return Network(state.start.log_scale, state.start.output, state.hidden)

    def flow_state(self, state: BoostState) -> FlowState:
        start = state.start
        return FlowState(
            state.time,
            self.network(state),
            start.preactivation,
            start.balance,
            start.pattern,
            start.armed,
            start.pending,
            state.target,
        )

    def passage(self, before: BoostState, after: BoostState) -> PreviousStep:
        return after.previous

    def network_within(self, problem: Problem, passage: PreviousStep, time: Scalar) -> Network:
        return network_inside(problem, passage, time)


def _of_length(
    problem: Problem, state: BoostState, length: Scalar, tolerance
) -> CollocationProblem:
    nodes = state.previous.guess(length, state.residual)
    guess = NodalValues.of_nodes(nodes, state.residual, length)
    # A step whose residual is off by more than the tolerance is not accepted.
    noise, height = state.rounding.of_residuals, state.height
    known_to = noise + tolerance * scale_of(problem, height, state.curvature)
    # Where rounding of h is more than the tolerance, the tolerance is that.
    height = jnp.maximum(height, state.rounding.of_predictions / tolerance)
    return CollocationProblem(
        problem,
        state.start,
        state.residual,
        guess,
        tolerance,
        state.bound,
        height,
        state.curvature,
        noise,
        Uncertainty(known_to, known_to),
        jnp.array(False),
    )


def _why(finite, event_result: RESULTS, room) -> RESULTS:
    """What keeps a step from being taken."""
    why = RESULTS.where(finite, RESULTS.step_collapsed, RESULTS.not_finite)
    why = RESULTS.where(event_result == RESULTS.successful, why, event_result)
    return RESULTS.where(room, why, RESULTS.event_buffer_full)


def _ambiguous(solution: StepSolution, begin: Scalar, keep) -> AmbiguousNeurons:
    """Those of the step, none where it was rejected."""
    found, length = solution.swept.record.ambiguous, solution.nodal_values.length
    return eqx.tree_at(
        lambda a: (a.time, a.count),
        found,
        (begin + length * found.time, jnp.where(keep, found.count, 0)),
    )


def _switches(events: StepEvents, begin: Scalar, length: Scalar, keep) -> Switches:
    """The events of the step in the order of time, none where it was rejected."""

    def ordered(_):
        order = jnp.argsort(events.time)
        time, units = begin + length * events.time[order], events.units[order]
        return Switches(time, units, events.present())

    none = Switches.none(events.time.shape[0])
    return run_if(keep & (events.count > 0), ordered, none)
