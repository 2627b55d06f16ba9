"""Integrator A: any adaptive Runge-Kutta solver of diffrax, with located events.

A step has one of four outcomes:

    reject    the error is above the tolerance: try again, shorter
    locate    a guard crosses zero inside the step: try again, ending there
    switch    a guard is at its zero at the end of the step: move onto it, change the pattern
    accept    none of these: the end of the step is the new state

so no accepted step contains an event, and every event is at the end of a Runge-Kutta step rather
than on a dense interpolant, which is of lower order. The last correction, of at most 1e-3 of the
flow's own time, is a Taylor step of order 4, exact to rounding.

The loop is flat: one iteration is one attempted step of every lane of a vmap, whatever outcome
each has, so that no lane waits for the events of another.
"""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix

from .._dynamics._field import Pattern, Problem, predictions, velocity
from .._dynamics._rest import Rest, Standing, at_rest, height_of, spectrum_of
from .._events._recording import AmbiguousNeurons, Switches
from .._integration._flow_state import FlowState
from .._integration._integrator import AbstractIntegrator, Report
from .._integration._results import RESULTS
from .._integration._sliding import checked_max_sliding, decided, room_for_sliding
from .._integration._state import (
    LOOK_AHEAD,
    RungeKuttaState,
    moved,
    no_gain,
    rescaled,
    starting_point,
)
from .._model._activation import AbstractActivation, relu
from .._model._dataset import Dataset
from .._model._network import Network
from .._model._shapes import Scalar
from ._restep import Passage, restep
from ._root_finder import chord
from ._taylor import ORDER
from ._trial import Trial, attempt, field_term
from ._turning import Turn, turn, turned

_REJECT, _LOCATE, _ACCEPT, _STAND = range(4)
_TINY = float(np.finfo(np.float64).tiny)
_MAX_STALLED = 64  # attempts in a row without an accepted step or a switch


class RungeKutta(AbstractIntegrator[RungeKuttaState]):
    """Integrator A: a Runge-Kutta solver of diffrax, stopped and restarted at every event.

    Arguments:
        solver: any adaptive solver of diffrax with an error estimate: `diffrax.Dopri8()` (the
            default, best at tight tolerances), `diffrax.Tsit5()`, `diffrax.Kvaerno5()`, ...
        max_sliding: how many units of one neuron may slide at once. By default 0 for orthogonal
            data (where units come to rest instead), and min(samples, dim, 40) otherwise. More
            end with the result `sliding_buffer_full`.

    Its cost grows with the number of events: about one attempted step each.
    """

    solver: diffrax.AbstractSolver
    max_sliding: int | None = eqx.field(static=True)
    controller: diffrax.PIDController

    def __init__(
        self,
        solver: diffrax.AbstractSolver | None = None,
        *,
        max_sliding: int | np.integer | None = None,
    ):
        self.solver = diffrax.Dopri8() if solver is None else solver
        _check_solver(self.solver)
        self.max_sliding = checked_max_sliding(max_sliding)
        # The error arrives divided by its tolerance, neuron by neuron: see `_trial`.
        self.controller = diffrax.PIDController(rtol=1.0, atol=0.0)

    def prepare(
        self, data: Dataset, room: int | None = None, activation: AbstractActivation = relu
    ) -> "RungeKutta":
        """With `max_sliding` decided."""
        sliding = room_for_sliding(data, self.max_sliding, room, activation)
        return RungeKutta(self.solver, max_sliding=sliding)

    def init(self, problem, start: FlowState, tolerances, stop_loss) -> RungeKuttaState:
        neurons = start.net.neurons
        state = RungeKuttaState(
            time=start.time,
            log_scale=start.net.log_scale,
            exponent=jnp.zeros((neurons,), jnp.int32),
            output=start.net.output,
            hidden=start.net.hidden,
            preactivation=start.preactivation,
            balance=start.balance,
            pattern=start.pattern,
            armed=start.armed,
            pending=start.pending,
            step_size=start.step_size,
            upcoming=jnp.full((LOOK_AHEAD + 1,), jnp.inf),
            controller=None,
            solver=None,
            made_jump=jnp.array(False),
            rest=Rest.unknown(neurons),
            stalled=jnp.array(0),
            switched=jnp.zeros((neurons,), jnp.int32),
            rtol=tolerances[0],
            atol=tolerances[1],
            stop_loss=stop_loss,
            height=jnp.ones(()),
        )
        state = rescaled(state)
        return self._start(problem, state)

    def _start(self, problem: Problem, state: RungeKuttaState) -> RungeKuttaState:
        """With solver states, and, where none is given, a first step size of a hundredth of the
        flow's own time."""
        start = starting_point(state)
        args = (start, state.pattern, state.weight(), problem)
        slope = velocity(*args)
        h = predictions(problem.arrangement, start, state.pattern, state.weight())
        height = height_of(problem, problem.residual(h))
        pace = jnp.max(jnp.abs(slope.preactivation) / problem.length, axis=1)
        pace = jnp.maximum(pace, jnp.abs(slope.output)) / jnp.maximum(state.size(), _TINY)
        own = 0.01 / jnp.maximum(jnp.max(pace), _TINY)
        step_size = jnp.where(jnp.isfinite(state.step_size), state.step_size, own)
        zero = jnp.zeros(())
        _, controller = self.controller.init(
            field_term(),
            zero,
            zero,
            no_gain(state),
            step_size,
            args,
            self.solver.func,
            self._error_order(),
        )
        solver = self._solver(state.rtol).init(field_term(), zero, step_size, no_gain(state), args)
        return eqx.tree_at(
            lambda s: (s.step_size, s.controller, s.solver, s.height),
            state,
            (step_size, jax.tree.map(jnp.asarray, controller), solver, height),
            is_leaf=lambda leaf: leaf is None,
        )

    def step(self, problem, state, limit) -> tuple[RungeKuttaState, Report]:
        trial = attempt(
            self._solver(state.rtol), self.controller, problem, state, limit, self._error_order()
        )
        stands = state.rest.known
        turns = (trial.keep & ~trial.crossing & trial.arrived) | jnp.any(state.pending)
        turns = turns & ~stands
        accepts = (trial.keep & ~trial.crossing) | turns
        outcome = jnp.where(accepts, _ACCEPT, jnp.where(trial.keep, _LOCATE, _REJECT))
        outcome = jnp.where(stands, _STAND, outcome)
        # The pattern stays out of the branches, which would copy it, and so does the turn: under
        # vmap every branch runs.
        outcomes = [
            lambda move=move: _without_pattern(move(problem, state, trial, limit, turns))
            for move in (self._reject, self._locate, self._accept, self._stand)
        ]
        moved = _with_pattern(jax.lax.switch(outcome, outcomes), state.pattern)
        next_pattern = jax.lax.cond(
            turns,
            lambda: turn(problem, moved, trial, trial.guards, decided(self.max_sliding)),
            lambda: Turn.none(moved),
        )
        state = turned(moved, next_pattern)
        state = _rested(problem, state, trial, accepts & ~turns & ~stands)
        stuck = state.stalled > _MAX_STALLED
        collapsed = RESULTS.where(trial.finite, RESULTS.step_collapsed, RESULTS.not_finite)
        result = RESULTS.where(stuck, collapsed, next_pattern.result)
        switches, ambiguous = next_pattern.switches, next_pattern.ambiguous
        return state, Report(
            state.time,
            jnp.array(True),
            accepts | stands,
            result,
            switches,
            ambiguous,
            jnp.array(self._evaluations_per_step()),
            jnp.array(0),
            state.rest.near,
        )

    def network(self, state: RungeKuttaState) -> Network:
        return Network(state.total_log_scale(), state.output, state.hidden)

    def flow_state(self, state: RungeKuttaState) -> FlowState:
        return FlowState(
            state.time,
            self.network(state),
            state.preactivation,
            state.balance,
            state.pattern,
            state.armed,
            state.pending,
            state.step_size,
        )

    def passage(self, before: RungeKuttaState, after: RungeKuttaState) -> Passage:
        return Passage.of(before)

    def network_within(self, problem: Problem, passage: Passage, time) -> Network:
        solver = self._solver(passage.rtol)
        if getattr(solver, "scan_kind", "") is None:  # to be differentiated in either mode
            solver = eqx.tree_at(
                lambda s: s.scan_kind, solver, "bounded", is_leaf=lambda leaf: leaf is None
            )
        return restep(solver, problem, passage, time)

    def _evaluations_per_step(self) -> int:
        """Of the field, in one attempted step; -1 for implicit solvers, which do not tell.

        The stages of the tableau (the last of a first-same-as-last method is the first of the
        next step), and those of the Taylor expansion at the end, where the guards are read.
        """
        tableau = getattr(self.solver, "tableau", None)
        implicit = isinstance(self.solver, diffrax.AbstractImplicitSolver)
        if implicit or not isinstance(tableau, diffrax.ButcherTableau):
            return -1
        return tableau.num_stages - int(tableau.fsal) + ORDER

    # The outcomes of a step

    def _reject(self, problem, state, trial, limit, turns) -> RungeKuttaState:
        fields = (
            trial.next_size,
            jnp.full_like(state.upcoming, jnp.inf),
            trial.controller,
            state.stalled + 1,
        )
        return eqx.tree_at(
            lambda s: (s.step_size, s.upcoming, s.controller, s.stalled), state, fields
        )

    def _locate(self, problem, state, trial, limit, turns) -> RungeKuttaState:
        fields = (trial.roots, state.stalled + 1)
        return eqx.tree_at(lambda s: (s.upcoming, s.stalled), state, fields)

    def _accept(self, problem, state, trial, limit, turns) -> RungeKuttaState:
        pending = jnp.any(state.pending)
        offset = jnp.where(turns & ~pending, trial.offset, 0.0)
        elapsed = jnp.maximum(trial.length + offset, 0.0)
        end = trial.expansion.after(elapsed - trial.length)
        reached = ~turns & (trial.length == limit - state.time)
        state = self._move(problem, state, trial, end, elapsed, turns)
        return eqx.tree_at(lambda s: s.time, state, jnp.where(reached, limit, state.time))

    def _stand(self, problem, state, trial, limit, turns) -> RungeKuttaState:
        """At rest: the neurons are where they are, but for those that shrink."""
        scale = state.log_scale + state.rest.rates * (limit - state.time)
        fields = (limit, scale, jnp.array(0))
        return eqx.tree_at(lambda s: (s.time, s.log_scale, s.stalled), state, fields)

    def _move(self, problem, state, trial: Trial, end, elapsed, turns) -> RungeKuttaState:
        """The state at `end` on the same pattern, and the size of the next step."""
        # A step shortened for an event tells little about how long one could be.
        longest = jnp.maximum(state.step_size, trial.next_size)
        step_size = jnp.where(trial.full, trial.next_size, longest)
        # A root just found that is not there when stepped to: the interpolant was too coarse.
        missed = trial.aimed & (state.stalled > 0) & ~turns & ~jnp.isfinite(trial.expected)
        missed = missed & (trial.length > 0.0)
        step_size = jnp.where(missed, jnp.minimum(step_size, 2.0 * trial.length), step_size)
        upcoming = state.upcoming.at[0].set(
            jnp.where(trial.aimed, trial.length + trial.expected, state.upcoming[0])
        )
        state = eqx.tree_at(
            lambda s: (s.step_size, s.upcoming, s.controller, s.solver),
            state,
            (step_size, upcoming, trial.controller, trial.solver),
        )
        return moved(problem, state, end, elapsed, trial.rate)

    def report(self, problem, state) -> Report:
        boundaries = problem.arrangement.boundaries
        nothing, sure = Switches.none(boundaries), AmbiguousNeurons.none(1, boundaries)
        zero = jnp.array(0)
        yes, no = jnp.array(True), jnp.array(False)
        return Report(state.time, yes, no, RESULTS.successful, nothing, sure, zero, zero, no)

    def _error_order(self) -> Any:
        return self.solver.error_order(field_term())

    def _solver(self, tolerance: Scalar) -> diffrax.AbstractSolver:
        """The solver; an implicit one solves its stages ten times tighter than the step."""
        if not isinstance(self.solver, diffrax.AbstractImplicitSolver):
            return self.solver
        finder = self.solver.root_finder
        tight = {"rtol": 0.1 * tolerance, "atol": 0.1 * tolerance, "norm": optimistix.max_norm}
        # What the user has set is a number, or a function; diffrax marks the rest by an object.
        unset = [
            name
            for name in tight
            if not (callable(getattr(finder, name)) or eqx.is_array_like(getattr(finder, name)))
        ]
        solver = eqx.tree_at(
            lambda solver: [getattr(solver.root_finder, name) for name in unset],
            self.solver,
            [tight[name] for name in unset],
        )
        return eqx.tree_at(lambda solver: solver.root_finder, solver, chord(solver.root_finder))


def _rested(problem: Problem, state: RungeKuttaState, trial: Trial, smooth) -> RungeKuttaState:
    """With what is known of the rest of the flow, after a step in which nothing happened."""
    here = Standing(
        starting_point(state),
        state.total_log_scale(),
        state.balance,
        state.pattern,
        state.pending,
        trial.expansion.residual[0],
        # Explicit steps stay where they are just stable, and so does what is left of the residual.
        jnp.array(jnp.inf),
    )
    dissipation = jnp.where(smooth, trial.dissipation, jnp.inf)
    limits = state.rtol, state.height, state.stop_loss
    rest = at_rest(problem, here, dissipation, lambda: spectrum_of(problem, here), *limits)
    rest = jax.tree.map(lambda a, b: jnp.where(state.rest.known, a, b), state.rest, rest)
    return eqx.tree_at(lambda s: s.rest, state, rest)


def _without_pattern(state: RungeKuttaState) -> RungeKuttaState:
    return eqx.tree_at(lambda s: s.pattern, state, None)


def _with_pattern(state: RungeKuttaState, pattern: Pattern) -> RungeKuttaState:
    return eqx.tree_at(lambda s: s.pattern, state, pattern, is_leaf=lambda leaf: leaf is None)


def _check_solver(solver) -> None:
    good = isinstance(solver, diffrax.AbstractAdaptiveSolver) and hasattr(solver, "tableau")
    linear = getattr(solver, "interpolation_cls", None) is diffrax.LocalLinearInterpolation
    if not good or linear:
        raise ValueError(
            "Argument `solver` must be an adaptive Runge-Kutta solver of diffrax with a dense "
            "output of order 3 or more (events are first found on it), such as diffrax.Dopri8(), "
            f"diffrax.Tsit5() or diffrax.Kvaerno5(), but it is {solver!r}."
        )
