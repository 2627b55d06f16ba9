"""The boost integrator inside `rf.flow`: its state, and how long its steps are."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from .._branch import run_if
from .._dataset import Dataset
from .._field import Problem, square_loss
from .._integrator import AbstractDenseIntegrator, Report
from .._network import Network
from .._shapes import Hidden, PerSample, Scalar
from .._sliding import decided, room_for_sliding
from .._solution import RESULTS, Switches
from ._closure import Attempt, attempt, go_on
from ._collocation import NUM_NODES
from ._decay import Decay
from ._neurons import Start, arrived, begin, residual_of
from ._passed import Passed, network_inside
from ._path import size_of
from ._progress import Progress
from ._question import Question, Unknowns, placed
from ._record import StepEvents
from ._step_size import Missed, found_within, next_size, until_arrival, until_loss, until_shrunk

_NEAR = 1e-8  # of a neuron's own time
_MAX_STALLED = 48  # rejections in a row
_EPS = float(np.finfo(np.float64).eps)


class BoostState(eqx.Module):
    time: Scalar
    start: Start  # the neurons here
    hidden: Hidden
    residual: PerSample
    wish: Scalar  # of the step size controller
    missed: Missed
    passed: Passed
    stalled: Int[Array, ""]
    progress: Progress  # of the step that is being attempted
    # what was asked for
    rtol: Scalar
    atol: Scalar
    stop_loss: Scalar
    # constants of the data
    bound: Scalar
    noise: Scalar


class BoostIntegrator(AbstractDenseIntegrator[BoostState]):
    """`rf.Boost` in the loop of `rf.flow`."""

    max_sliding: int | None = eqx.field(static=True)

    def prepare(self, data: Dataset) -> "BoostIntegrator":
        return BoostIntegrator(room_for_sliding(data, self.max_sliding))

    def init(self, problem: Problem, net: Network, t0, tolerances, stop_loss) -> BoostState:
        start, hidden = begin(problem, net, decided(self.max_sliding))
        residual = residual_of(problem, start)
        # |D_j| <= bound |r|: the root of the largest eigenvalue of the Gram matrix, over n.
        rows = jnp.max(jnp.sum(jnp.abs(problem.gram), axis=1))
        bound = jnp.sqrt(rows) / problem.labels.shape[0]
        noise = 128.0 * _EPS * jnp.max(jnp.abs(problem.labels) + jnp.abs(residual))
        nodes = jnp.broadcast_to(residual, (NUM_NODES, residual.shape[0]))
        nothing = Unknowns.of_nodes(nodes, residual, jnp.zeros(()))
        decay = Decay.by(jnp.zeros_like(problem.gram))
        passed = Passed(t0, start, hidden, nothing, noise, decay)
        return BoostState(
            time=t0,
            start=start,
            hidden=hidden,
            residual=residual,
            wish=jnp.array(jnp.inf),
            missed=Missed.none(),
            passed=passed,
            stalled=jnp.array(0),
            progress=Progress.none(len(residual)),
            rtol=tolerances[0],
            atol=tolerances[1],
            stop_loss=stop_loss,
            bound=bound,
            noise=noise,
        )

    def step(self, problem: Problem, state: BoostState, limit) -> tuple[BoostState, Report]:
        moved, report, _ = self._step(problem, state, self._question(problem, state, limit), limit)
        return moved, report

    def step_or_look_back(
        self, problem: Problem, state: BoostState, limit, looks: Bool[Array, ""], time
    ) -> tuple[BoostState, Report, Network]:
        """To look back is to take the last step again, and that is a sweep as any other; none where
        what is asked for is its end."""
        reached = time >= state.time
        until = state.passed.until(jnp.where(reached, state.passed.begin, time))
        known = Question(
            problem,
            state.passed.start,
            state.residual,
            until,
            state.rtol,
            state.bound,
            state.passed.uncertainty(),
            jnp.array(True),
        )
        asked = self._question(problem, state, limit)
        question = jax.tree.map(lambda a, b: jnp.where(looks, a, b), known, asked)
        state, report, net = self._step(problem, state, question, limit)
        net = jax.tree.map(lambda a, b: jnp.where(reached, a, b), self.network(state), net)
        result = RESULTS.where(looks & reached, RESULTS.successful, report.result)
        return state, eqx.tree_at(lambda r: r.result, report, result), net

    def _question(self, problem: Problem, state: BoostState, limit) -> Question:
        """The next step, at most to `limit`."""
        tolerance = self._tolerance(state)
        arrival = until_arrival(problem, state.start, state.residual, tolerance, state.bound)
        # Where steps end is a choice: the flow does not depend on it.
        longest = jnp.minimum(arrival, until_shrunk(problem, state.start, state.residual))
        decayed = state.passed.decay.longest(state.residual, tolerance, state.bound)
        wish = jnp.where(state.stalled == 0, jnp.maximum(state.wish, decayed), state.wish)
        chosen = jax.lax.stop_gradient(jnp.minimum(wish, longest))
        length = jnp.minimum(chosen, limit - state.time)
        return _of_length(problem, state, length, tolerance)

    def _step(
        self, problem: Problem, state: BoostState, question: Question, limit
    ) -> tuple[BoostState, Report, Network]:
        """The state after the attempt, and the neurons at its end, of whatever use that is."""
        places = placed(state.start)
        trial = go_on(question, state.progress, places)
        ends = trial.finished & ~question.known
        walk, events, walked = trial.swept.end, trial.swept.record.events, trial.swept.result
        hidden = jnp.where(question.known, state.passed.hidden, state.hidden)
        start, hidden = arrived(problem, question.start, hidden, walk)
        finite = jnp.isfinite(trial.progress.effect) & jnp.isfinite(trial.error)
        room = events.count <= places
        asked, tolerance = question.guess.length, question.tolerance
        keep = trial.converged & (trial.error <= tolerance) & finite & room & ends
        wish = next_size(trial, asked, tolerance, keep, state.missed)
        found = found_within(problem, state.stop_loss, tolerance)
        beyond, shorter = until_loss(trial, state.stop_loss, found)
        keep, wish = keep & ~beyond, jnp.where(keep & beyond, shorter, wish)
        reaches = (asked == limit - state.time) & (trial.unknowns.length == asked)
        stalled = state.stalled + jnp.where(ends, 1, 0)
        moved = jax.lax.cond(
            keep,
            lambda: _moved(problem, state, trial, start, hidden, reaches, limit),
            lambda: eqx.tree_at(lambda s: s.stalled, state, stalled),
        )
        control = (wish, state.missed.after(trial, asked, keep))
        control = jax.tree.map(
            lambda a, b: jnp.where(ends, a, b), control, (state.wish, state.missed)
        )
        progress = trial.progress.ended(trial.finished)
        moved = eqx.tree_at(lambda s: (s.wish, s.missed, s.progress), moved, (*control, progress))
        switches = _switches(events, state.time, trial.unknowns.length, keep)
        reached = state.stop_loss * (1.0 + found)
        stopped = keep & (square_loss(moved.residual) <= reached) & (state.stop_loss >= 0.0)
        result = RESULTS.where(stopped, RESULTS.loss_reached, RESULTS.successful)
        # A neuron that cannot go on, with the flow as good as there.
        near = asked * state.bound * jnp.linalg.norm(state.residual) < _NEAR
        lost = walked != RESULTS.successful
        stuck = ends & ((lost & near & ~keep) | (moved.stalled > _MAX_STALLED))
        failed = jnp.where(question.known, lost, stuck)  # known: they have gone that way before
        result = RESULTS.where(failed, _why(finite, walked, room), result)
        ambiguous = jnp.where(keep, trial.swept.record.ambiguous, 0)
        sweeps = jnp.where(question.known, 0, trial.progress.sweeps - state.progress.sweeps)
        report = Report(
            moved.time, trial.finished, keep, result, switches, ambiguous, jnp.array(-1), sweeps
        )
        return moved, report, Network(start.log_scale, start.output, hidden)

    def full_step(self, problem: Problem, state: BoostState, length):
        """A step of exactly this length, and the error that a controller may judge it by."""
        question = _of_length(problem, state, length, state.rtol)
        trial = attempt(question, placed(state.start), ends_at_kinks=False)
        good = trial.converged & (trial.swept.result == RESULTS.successful)
        error = jnp.where(good & jnp.isfinite(trial.error), trial.error, jnp.inf)
        start, hidden = arrived(problem, state.start, state.hidden, trial.swept.end)
        return _moved(problem, state, trial, start, hidden, jnp.array(False), state.time), error

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
            zero,
            jnp.array(-1),
            zero,
        )

    def network(self, state: BoostState) -> Network:
        return Network(state.start.log_scale, state.start.output, state.hidden)

    def passage(self, before: BoostState, after: BoostState) -> Passed:
        return after.passed

    def network_within(self, problem: Problem, passage: Passed, time: Scalar) -> Network:
        return network_inside(problem, passage, time)


def _of_length(problem: Problem, state: BoostState, length: Scalar, tolerance) -> Question:
    nodes = state.passed.guess(length, state.residual)
    guess = Unknowns.of_nodes(nodes, state.residual, length)
    return Question(
        problem,
        state.start,
        state.residual,
        guess,
        tolerance,
        state.bound,
        state.noise,
        jnp.array(False),
    )


def _moved(
    problem: Problem,
    state: BoostState,
    trial: Attempt,
    start: Start,
    hidden: Hidden,
    reaches,
    limit,
) -> BoostState:
    """At the end of the step; exactly at `limit` where it reaches that."""
    time = jnp.where(reaches, limit, state.time + trial.unknowns.length)
    decay = Decay.by(trial.progress.factors.end_kernel)
    passed = Passed(state.time, state.start, state.hidden, trial.unknowns, state.noise, decay)
    return eqx.tree_at(
        lambda s: (s.time, s.start, s.hidden, s.residual, s.passed, s.stalled),
        state,
        (time, start, hidden, residual_of(problem, start), passed, jnp.zeros_like(state.stalled)),
    )


def _why(finite, walked: RESULTS, room) -> RESULTS:
    """What keeps a step from being taken."""
    why = RESULTS.where(finite, RESULTS.step_collapsed, RESULTS.not_finite)
    why = RESULTS.where(walked == RESULTS.successful, why, walked)
    return RESULTS.where(room, why, RESULTS.event_buffer_full)


def _switches(events: StepEvents, begin: Scalar, length: Scalar, keep) -> Switches:
    """The events of the step in the order of time, none where it was rejected."""

    def ordered(_):
        order = jnp.argsort(events.time)
        return Switches(
            begin + length * events.time[order],
            events.neuron[order],
            events.sample[order],
            events.before[order],
            events.after[order],
            events.present(),
        )

    none = Switches.none(events.time.shape[0])
    return run_if(keep & (events.count > 0), ordered, none)
