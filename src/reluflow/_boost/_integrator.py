"""The boost integrator inside `rf.flow`: its state, and how long its steps are."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .. import _modes
from .._checks import is_concrete
from .._dataset import Dataset
from .._field import Neurons, Pattern, Problem, predictions, square_loss
from .._integrator import AbstractIntegrator, Report
from .._network import Network
from .._shapes import Hidden, PerSample, Scalar
from .._solution import RESULTS, Switches
from .._state import balanced_output, initial_balance, tied
from ._closure import Attempt, Question, attempt
from ._collocation import NODES, NUM_NODES, POINTS
from ._hop import advance
from ._path import lagrange, lagrange_of_points
from ._prediction import until_arrival
from ._sweep import Start, depart, max_hops
from ._walk import Course, StepEvents, size_of

_MAX_SLIDING = 24  # by default; the 2022 paper's high-dimensional run reaches 17
_LOSS_FOUND = 1e-10  # the loss is at `stop_loss` within this much of it, at best
_NEAR = 1e-8  # of a neuron's own time
_MAX_STALLED = 48  # rejections in a row
_ORDER = 8  # of the error in the step size, at least
_LN2 = float(np.log(2.0))
_EPS = float(np.finfo(np.float64).eps)


class Passed(eqx.Module):
    """The last accepted step: the neurons at its beginning, and what they moved under."""

    begin: Scalar
    length: Scalar
    start: Start
    hidden: Hidden
    nodes: Float[Array, "nodes samples"]
    fine: Float[Array, "points samples"]


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


class BoostIntegrator(AbstractIntegrator[BoostState]):
    """`rf.Boost` in the loop of `rf.flow`."""

    max_sliding: int | None = eqx.field(static=True)
    dense = True

    def prepare(self, data: Dataset) -> "BoostIntegrator":
        if self.max_sliding is not None:
            return self
        orthogonal = is_concrete(data.x) and data.is_orthogonal()
        return BoostIntegrator(0 if orthogonal else min(data.samples, data.dim, _MAX_SLIDING))

    def init(self, problem: Problem, net: Network, t0, tolerances, stop_loss) -> BoostState:
        start, hidden = begin(problem, net, self.max_sliding)
        residual = residual_of(problem, start)
        # |D_j| <= bound |r|: the root of the largest eigenvalue of the Gram matrix, over n.
        rows = jnp.max(jnp.sum(jnp.abs(problem.gram), axis=1))
        bound = jnp.sqrt(rows) / problem.labels.shape[0]
        noise = 128.0 * _EPS * jnp.max(jnp.abs(problem.labels) + jnp.abs(residual))
        nodes = jnp.broadcast_to(residual, (NUM_NODES, residual.shape[0]))
        fine = jnp.broadcast_to(residual, (len(POINTS), residual.shape[0]))
        passed = Passed(t0, jnp.zeros(()), start, hidden, nodes, fine)
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
        chosen = jax.lax.stop_gradient(jnp.minimum(state.wish, arrival))
        asked = jnp.minimum(chosen, rest)
        guess = _guess(state, asked)
        places = _places(state)
        question = Question(problem, state.start, guess, asked, tolerance, state.bound, state.noise)
        trial = attempt(question, places)
        finite = jnp.isfinite(trial.defect) & jnp.isfinite(trial.error)
        events = trial.swept.end.events
        room = events.count <= places
        keep = trial.converged & (trial.error <= tolerance) & finite & room
        wish = _next_size(trial, asked, tolerance, keep)
        found = _found_within(problem, state.stop_loss, tolerance)
        beyond, shorter = _until_loss(trial, state.stop_loss, found)
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
            problem, state.start, _guess(state, length), length, state.rtol, state.bound,
            state.noise,
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

    def networks_at(self, problem: Problem, state: BoostState, times) -> Network:
        """The networks at these times, increasing, inside the last accepted step.

        The neurons go that way again, under the residual of the step: as exact as its end.
        """
        passed = state.passed
        course = Course(problem, passed.start.log_scale, passed.nodes, passed.fine, passed.length)
        hops = max_hops(problem, passed.start)
        length = jnp.where(passed.length > 0.0, passed.length, 1.0)

        def save(walk, time):
            goal = jnp.clip((time - passed.begin) / length, 0.0, 1.0)
            walk = advance(course, walk, jnp.maximum(goal, jnp.max(walk.time)), state.noise, hops)
            start, hidden = arrived(problem, passed.start, passed.hidden, walk)
            return walk, Network(start.log_scale, start.output, hidden)

        walk = depart(course, passed.start, _places(state))
        return jax.lax.scan(save, walk, times)[1]


def begin(problem: Problem, net: Network, max_sliding: int) -> tuple[Start, Hidden]:
    """The neurons of a network; those on a boundary are settled by the first hop."""
    samples = problem.labels.shape[0]
    preactivation = net.hidden @ problem.inputs.T
    mode = jnp.where(preactivation > 0.0, _modes.ACTIVE, _modes.INACTIVE).astype(jnp.int8)
    pattern = Pattern(
        mode,
        jnp.full((net.neurons, max_sliding), samples, jnp.int32),
        jnp.zeros((net.neurons, max_sliding, samples)),
    )
    zero = preactivation == 0.0
    balance = initial_balance(net.output, net.hidden)
    start = Start(
        net.log_scale, net.output, preactivation, balance, pattern, ~zero, jnp.any(zero, axis=1)
    )
    return _rescaled(start, net.hidden)


def arrived(problem: Problem, start: Start, hidden: Hidden, walk) -> tuple[Start, Hidden]:
    """The neurons where a walk has taken them, each of size about 1 again."""
    hidden = walk.kept[:, None] * hidden + walk.combination @ problem.inputs
    slack = walk.slack(problem)
    preactivation = tied(problem, hidden, walk.preactivation, slack, walk.armed, walk.pattern.mode)
    balance = start.balance * walk.kept**2
    output = balanced_output(walk.reduced.output, hidden, balance)
    start = Start(
        start.log_scale + walk.total_growth(), output, preactivation, balance, walk.pattern,
        walk.armed, walk.pending,
    )  # fmt: skip
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
    nothing = jnp.zeros_like(start.preactivation)
    neurons = Neurons(start.output, nothing, start.preactivation)
    return problem.labels - predictions(neurons, start.pattern, jnp.exp(2.0 * start.log_scale))


def _places(state: BoostState) -> int:
    """Of events in one step: every unit twice."""
    return 2 * state.start.preactivation.size + 64


def _guess(state: BoostState, asked: Scalar):
    """The residual of the last step, continued; constant where that would be too far."""
    last = state.passed.length
    ratio = asked / jnp.where(last > 0.0, last, 1.0)
    near = (last > 0.0) & (ratio <= 2.0)
    basis = lagrange(1.0 + jnp.where(near, ratio, 0.0) * jnp.asarray(NODES))
    continued = jnp.tensordot(basis, state.passed.nodes, axes=[[0], [0]])
    guess = jnp.where(near, continued, state.residual)
    return guess.at[0].set(state.residual)


def _next_size(trial: Attempt, asked, tolerance, keep) -> Scalar:
    """What the next step may have, by its error; the prediction of arrivals bounds it further."""
    ratio = tolerance / jnp.maximum(trial.error, 1e-16 * tolerance)
    factor = 0.9 * ratio ** (1.0 / _ORDER)
    growth = jnp.where(trial.sweeps <= 2, 10.0, jnp.where(trial.sweeps <= 5, 5.0, 1.0))
    grown = trial.unknowns.length * jnp.clip(factor, 0.3, growth)
    # Cut short by a kink, a step says nothing of how long the next may be.
    cut = trial.unknowns.length < asked
    grown = jnp.where(cut, jnp.maximum(0.9 * asked, grown), grown)
    unconverged = jnp.clip(trial.trusted, 0.1, 0.5)
    shrunk = trial.unknowns.length * jnp.where(
        trial.converged, jnp.clip(factor, 0.2, 0.9), unconverged
    )
    return jnp.where(
        keep, grown, jnp.where(jnp.isfinite(trial.error), shrunk, 0.2 * trial.unknowns.length)
    )


def _found_within(problem: Problem, stop_loss, tolerance) -> Scalar:
    """How near to `stop_loss`, relative to it, the loss is as good as there."""
    samples = problem.labels.shape[0]
    residual = jnp.sqrt(2.0 * samples * jnp.maximum(stop_loss, 1e-300))
    known = 4.0 * tolerance * jnp.linalg.norm(problem.labels) / residual
    return jnp.clip(known, _LOSS_FOUND, 0.1)


def _until_loss(trial: Attempt, stop_loss, found) -> tuple[Bool[Array, ""], Scalar]:
    """Whether the loss falls below `stop_loss` within the step, and when."""
    ends = square_loss(trial.swept.residual[-1])
    beyond = ends < stop_loss * (1.0 - found)

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2.0
        residual = jnp.tensordot(lagrange_of_points(middle), trial.unknowns.fine, axes=[[0], [0]])
        above = square_loss(residual) > stop_loss
        return jnp.where(above, middle, low), jnp.where(above, high, middle)

    low, high = jax.lax.fori_loop(0, 52, halve, (jnp.zeros(()), jnp.ones(())))
    return beyond, trial.unknowns.length * (low + high) / 2.0


def _moved(problem: Problem, state: BoostState, trial: Attempt, exact_end) -> BoostState:
    start, hidden = arrived(problem, state.start, state.hidden, trial.swept.end)
    time = jnp.minimum(state.time + trial.unknowns.length, exact_end)
    time = jnp.where(jnp.isfinite(exact_end), exact_end, time)
    passed = Passed(
        state.time,
        trial.unknowns.length,
        state.start,
        state.hidden,
        trial.unknowns.nodes,
        trial.unknowns.fine,
    )
    return eqx.tree_at(
        lambda s: (s.time, s.start, s.hidden, s.residual, s.passed, s.stalled),
        state,
        (time, start, hidden, residual_of(problem, start), passed, jnp.zeros_like(state.stalled)),
    )


def _switches(events: StepEvents, begin: Scalar, length: Scalar, keep) -> Switches:
    """The events of the step in the order of time, none where it was rejected."""

    def ordered():
        order = jnp.argsort(events.time)
        present = jnp.arange(events.time.shape[0], dtype=jnp.int32) < events.count
        return Switches(
            begin + length * events.time[order], events.neuron[order], events.sample[order],
            events.before[order], events.after[order], present,
        )  # fmt: skip

    return jax.lax.cond(keep, ordered, lambda: Switches.none(events.time.shape[0]))
