"""The boost integrator inside `rf.flow`: its state, and how long its steps are."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from .._branch import run_if
from .._dataset import Dataset
from .._field import Problem, square_loss
from .._integrator import AbstractDenseIntegrator, Report
from .._network import Network
from .._shapes import Hidden, PerSample, Scalar
from .._sliding import room_for_sliding
from .._solution import RESULTS, Switches
from ._closure import Attempt, attempt
from ._collocation import NODES, NUM_NODES, POINTS
from ._hop import advance
from ._neurons import Start, arrived, begin, residual_of
from ._path import lagrange
from ._question import Question, Unknowns
from ._step_size import found_within, next_size, until_arrival, until_loss, until_shrunk
from ._sweep import depart, max_hops
from ._walk import Course, StepEvents, size_of

_NEAR = 1e-8  # of a neuron's own time
_MAX_STALLED = 48  # rejections in a row
_EPS = float(np.finfo(np.float64).eps)


class Passed(eqx.Module):
    """The last accepted step: the neurons at its beginning, and what they moved under."""

    begin: Scalar
    start: Start
    hidden: Hidden
    unknowns: Unknowns
    noise: Scalar


class BoostState(eqx.Module):
    time: Scalar
    start: Start  # the neurons here
    hidden: Hidden
    residual: PerSample
    wish: Scalar  # of the step size controller
    passed: Passed
    stalled: Int[Array, ""]
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
        start, hidden = begin(problem, net, self.max_sliding)
        residual = residual_of(problem, start)
        # |D_j| <= bound |r|: the root of the largest eigenvalue of the Gram matrix, over n.
        rows = jnp.max(jnp.sum(jnp.abs(problem.gram), axis=1))
        bound = jnp.sqrt(rows) / problem.labels.shape[0]
        noise = 128.0 * _EPS * jnp.max(jnp.abs(problem.labels) + jnp.abs(residual))
        nodes = jnp.broadcast_to(residual, (NUM_NODES, residual.shape[0]))
        fine = jnp.broadcast_to(residual, (len(POINTS), residual.shape[0]))
        passed = Passed(t0, start, hidden, Unknowns(nodes, fine, jnp.zeros(())), noise)
        return BoostState(
            time=t0, start=start, hidden=hidden, residual=residual, wish=jnp.array(jnp.inf),
            passed=passed, stalled=jnp.array(0), rtol=tolerances[0], atol=tolerances[1],
            stop_loss=stop_loss, bound=bound, noise=noise,
        )  # fmt: skip

    def step(self, problem: Problem, state: BoostState, limit) -> tuple[BoostState, Report]:
        tolerance = self._tolerance(state)
        arrival = until_arrival(problem, state.start, state.residual, tolerance, state.bound)
        rest = limit - state.time
        # Where steps end is a choice: the flow does not depend on it.
        longest = jnp.minimum(arrival, until_shrunk(problem, state.start, state.residual))
        chosen = jax.lax.stop_gradient(jnp.minimum(state.wish, longest))
        asked = jnp.minimum(chosen, rest)
        guess = _guess(state, asked)
        places = _places(state)
        question = Question(
            problem, state.start, state.residual, guess, asked, tolerance, state.bound, state.noise
        )
        trial = attempt(question, places)
        finite = jnp.isfinite(trial.defect) & jnp.isfinite(trial.error)
        events = trial.swept.end.events
        room = events.count <= places
        keep = trial.converged & (trial.error <= tolerance) & finite & room
        wish = next_size(trial, asked, tolerance, keep)
        found = found_within(problem, state.stop_loss, tolerance)
        beyond, shorter = until_loss(trial, state.stop_loss, found)
        keep, wish = keep & ~beyond, jnp.where(keep & beyond, shorter, wish)
        reaches = (asked == rest) & (trial.unknowns.length == asked)
        moved = jax.lax.cond(
            keep, lambda: _moved(problem, state, trial, jnp.where(reaches, limit, jnp.inf)),
            lambda: eqx.tree_at(lambda s: s.stalled, state, state.stalled + 1),
        )  # fmt: skip
        moved = eqx.tree_at(lambda s: s.wish, moved, wish)
        switches = _switches(events, state.time, trial.unknowns.length, keep)
        reached = state.stop_loss * (1.0 + found)
        stopped = keep & (square_loss(moved.residual) <= reached) & (state.stop_loss >= 0.0)
        result = RESULTS.where(stopped, RESULTS.loss_reached, RESULTS.successful)
        why = RESULTS.where(finite, RESULTS.step_collapsed, RESULTS.not_finite)
        walked = trial.swept.end.result
        why = RESULTS.where(walked == RESULTS.successful, why, walked)
        why = RESULTS.where(room, why, RESULTS.event_buffer_full)
        # A neuron that cannot go on, with the flow as good as there.
        near = asked * state.bound * jnp.linalg.norm(state.residual) < _NEAR
        stuck = (walked != RESULTS.successful) & near & ~keep
        result = RESULTS.where(stuck | (moved.stalled > _MAX_STALLED), why, result)
        ambiguous = jnp.where(keep, trial.swept.end.ambiguous, 0)
        return moved, Report(
            moved.time, keep, result, switches, ambiguous, jnp.array(-1), trial.sweeps
        )

    def full_step(self, problem: Problem, state: BoostState, length):
        """A step of exactly this length, and the error that a controller may judge it by."""
        question = Question(
            problem, state.start, state.residual, _guess(state, length), length, state.rtol,
            state.bound, state.noise,
        )  # fmt: skip
        trial = attempt(question, _places(state), ends_at_kinks=False)
        good = trial.converged & (trial.swept.end.result == RESULTS.successful)
        error = jnp.where(good & jnp.isfinite(trial.error), trial.error, jnp.inf)
        return _moved(problem, state, trial, jnp.array(jnp.inf)), error

    def _tolerance(self, state: BoostState) -> Scalar:
        """Relative to the largest neuron: r is one for all of them."""
        size = size_of(state.start.output, state.start.balance)
        largest = jnp.max(state.start.log_scale + jnp.log(jnp.maximum(size, 1e-300)))
        return jnp.minimum(state.rtol + jnp.exp(jnp.log(state.atol) - largest), 0.1)

    def report(self, problem: Problem, state: BoostState) -> Report:
        zero = jnp.array(0)
        return Report(
            state.time, jnp.array(False), RESULTS.successful,
            Switches.none(_places(state)), zero, jnp.array(-1), zero,
        )  # fmt: skip

    def network(self, state: BoostState) -> Network:
        return Network(state.start.log_scale, state.start.output, state.hidden)

    def passage(self, before: BoostState, after: BoostState) -> Passed:
        return after.passed

    def network_within(self, problem: Problem, passage: Passed, time: Scalar) -> Network:
        nets = networks_inside(problem, passage, time[None])
        return jax.tree.map(lambda leaf: leaf[0], nets)

    def networks_at(self, problem: Problem, state: BoostState, times) -> Network:
        """The networks at these times, increasing, inside the last accepted step.

        The neurons go that way again, under the residual of the step: as exact as its end.
        """
        return networks_inside(problem, state.passed, times)


def networks_inside(problem: Problem, passed: Passed, times) -> Network:
    """See `BoostIntegrator.networks_at`, of whose settings it is independent."""
    under = passed.unknowns
    course = Course(problem, passed.start.log_scale, under.nodes, under.fine, under.length)
    hops, noise = max_hops(problem, passed.start), passed.noise + under.noise()
    length = jnp.where(under.length > 0.0, under.length, 1.0)

    # From point to point, as in a sweep: a hop over several is less exact than the step.
    stops = jnp.asarray(np.append(POINTS[1:], np.inf))

    def save(walk, time):
        goal = jnp.clip((time - passed.begin) / length, 0.0, 1.0)

        def hop_on(walk, stop):
            end = jnp.maximum(jnp.minimum(stop, goal), jnp.max(walk.time))
            return advance(course, walk, end, noise, hops), None

        walk, _ = jax.lax.scan(hop_on, walk, stops)
        start, hidden = arrived(problem, passed.start, passed.hidden, walk)
        return walk, Network(start.log_scale, start.output, hidden)

    walk = depart(course, passed.start, _places(passed))
    return jax.lax.scan(save, walk, times)[1]


def _places(state: BoostState | Passed) -> int:
    """Of events in one step: every unit twice."""
    return 2 * state.start.preactivation.size + 64


def _guess(state: BoostState, asked: Scalar):
    """The residual of the last step, continued; constant where that would be too far."""
    last = state.passed.unknowns.length
    ratio = asked / jnp.where(last > 0.0, last, 1.0)
    near = (last > 0.0) & (ratio <= 2.0)
    basis = lagrange(1.0 + jnp.where(near, ratio, 0.0) * jnp.asarray(NODES))
    continued = jnp.tensordot(basis, state.passed.unknowns.nodes, axes=[[0], [0]])
    return jnp.where(near, continued, state.residual)


def _moved(problem: Problem, state: BoostState, trial: Attempt, exact_end) -> BoostState:
    start, hidden = arrived(problem, state.start, state.hidden, trial.swept.end)
    end = state.time + trial.unknowns.length
    time = jnp.where(jnp.isfinite(exact_end), exact_end, end)
    passed = Passed(state.time, state.start, state.hidden, trial.unknowns, state.noise)
    return eqx.tree_at(
        lambda s: (s.time, s.start, s.hidden, s.residual, s.passed, s.stalled),
        state,
        (time, start, hidden, residual_of(problem, start), passed, jnp.zeros_like(state.stalled)),
    )


def _switches(events: StepEvents, begin: Scalar, length: Scalar, keep) -> Switches:
    """The events of the step in the order of time, none where it was rejected."""

    def ordered(_):
        order = jnp.argsort(events.time)
        present = jnp.arange(events.time.shape[0], dtype=jnp.int32) < events.count
        return Switches(
            begin + length * events.time[order], events.neuron[order], events.sample[order],
            events.before[order], events.after[order], present,
        )  # fmt: skip

    none = Switches.none(events.time.shape[0])
    return run_if(keep & (events.count > 0), ordered, none)
