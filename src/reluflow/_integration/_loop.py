"""The loop of `rf.flow`, as init / step / terminate / postprocess.

The integrator decides how one step is taken; the loop only counts, saves and records.
"""

from typing import Any

import diffrax
import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from .._dynamics._field import Neurons, Problem, predictions, rounding_of
from .._dynamics._rest import height_of
from .._events._recording import AmbiguousNeurons, EventBuffer
from .._model._dataset import Dataset
from .._model._loss import mean_loss
from .._model._network import Network
from .._model._shapes import Scalar
from ._flow_state import FlowState
from ._integrator import AbstractDenseIntegrator, AbstractIntegrator, Report
from ._interpolation import StoredSteps
from ._meter import AbstractFlowMeter
from ._results import RESULTS
from ._saving import Saved, Schedule
from ._sliding import decided
from ._solution import Solution


class Carry(eqx.Module):
    # the flow
    state: Any
    report: Report
    # the counts
    num_steps: Int[Array, ""]
    num_accepted: Int[Array, ""]
    num_evaluations: Int[Array, ""]
    num_sweeps: Int[Array, ""]
    # what is kept
    saved: Saved
    stored: StoredSteps
    events: EventBuffer
    ambiguous: AmbiguousNeurons
    meter: Any

    def buffers(self):
        """What is written in place."""
        return (
            self.saved.buffers(),
            self.stored.buffers(),
            self.events.buffers(),
            self.ambiguous.buffers(),
        )


class Run(eqx.Module):
    """One run of the loop: what it is asked for."""

    integrator: AbstractIntegrator
    problem: Problem
    start: Network | FlowState
    data: Dataset
    schedule: Schedule
    interval: tuple[Scalar, Scalar]
    tolerances: tuple[Scalar, Scalar]
    stop_loss: Scalar
    max_steps: Int[Array, ""]
    max_events: Int[Array, ""]
    places: int  # for events
    meter: diffrax.AbstractProgressMeter

    def solve(self) -> Solution:
        final = eqxi.while_loop(
            self.running, self.step, self.init(), buffers=Carry.buffers, kind="lax"
        )
        return self.postprocess(final)

    def init(self) -> Carry:
        start = self.start
        if isinstance(start, Network):
            room = decided(self.integrator.max_sliding)
            start = FlowState.of(self.problem, start, self.interval[0], room)
        start = start.on(self.problem.arrangement)
        state = self.integrator.init(self.problem, start, self.tolerances, self.stop_loss)
        report = self.integrator.report(self.problem, state)
        there = self._loss(start.net) <= self.stop_loss
        result = RESULTS.where(there, RESULTS.loss_reached, report.result)
        report = eqx.tree_at(lambda r: r.result, report, result)
        saved = Saved.empty(self.schedule, start.net, self.data)
        stored = StoredSteps.empty(self.integrator, state, self.schedule.stored)
        events, zero = EventBuffer.empty(self.places), jnp.array(0)
        ambiguous, meter = AmbiguousNeurons.so_far(self.data.samples), self.meter.init()
        return Carry(state, report, zero, zero, zero, zero, saved, stored, events, ambiguous, meter)

    def step(self, carry: Carry) -> Carry:
        t1 = self.interval[1]
        waits = self._waits(carry)
        limit = t1 if self._dense else jnp.minimum(t1, carry.saved.next_time(self.schedule))
        saved, state, report = self._advance(carry, limit, waits)
        arrangement = self.problem.arrangement
        events = carry.events.record(report.switches.named(arrangement))
        rests = report.rests & jnp.isinf(t1) & (report.result == RESULTS.successful)
        result = RESULTS.where(rests, RESULTS.rest_reached, report.result)
        result = RESULTS.where(events.count > self.max_events, RESULTS.event_buffer_full, result)
        report = eqx.tree_at(lambda r: r.result, report, result)
        num_accepted = carry.num_accepted + _count(report.accepted)
        saved = self._offer(saved, state, report, num_accepted)
        return Carry(
            state=state,
            report=report,
            num_steps=carry.num_steps + _count(report.finished) - _count(waits),
            num_accepted=num_accepted,
            num_evaluations=carry.num_evaluations + report.evaluations,
            num_sweeps=carry.num_sweeps + report.sweeps,
            saved=saved,
            stored=carry.stored.add(self.integrator, carry.state, state, report),
            events=events,
            ambiguous=carry.ambiguous.record(report.ambiguous.named(arrangement)),
            meter=self._metered(carry.meter, state, report, num_accepted, saved.count),
        )

    def running(self, carry: Carry):
        t1, time = self.interval[1], carry.report.time
        unfinished = time < t1
        if not self._dense:  # times equal to t1
            unfinished = unfinished | (carry.saved.next_time(self.schedule) <= t1)
        good = carry.report.result == RESULTS.successful
        return self._waits(carry) | (unfinished & good & (carry.num_steps < self.max_steps))

    def postprocess(self, carry: Carry) -> Solution:
        self.meter.close(carry.meter)
        stands = self.integrator.flow_state(carry.state).held(self.problem)
        stands = eqx.tree_at(lambda s: s.net, stands, self._activated(stands.net))
        final, time = stands.net, carry.report.time
        complete = (carry.report.result != RESULTS.successful) | (time >= self.interval[1])
        result = RESULTS.where(complete, carry.report.result, RESULTS.max_steps_reached)
        saved = carry.saved
        if self.schedule.at_end:  # the state at t1, or wherever the run ended before
            missing = saved.reached < self.schedule.asked
            saved = saved.write(self.schedule, time, missing, missing, final, self.data)
        if self.schedule.every and self._dense:  # it looks back after a step is saved
            saved = saved.in_order()
        stats = {
            "num_steps": carry.num_steps,
            "num_accepted_steps": carry.num_accepted,
            "num_rejected_steps": carry.num_steps - carry.num_accepted,
            "num_events": carry.events.count,
            "num_field_evaluations": jnp.maximum(carry.num_evaluations, -1),
            "num_sweeps": carry.num_sweeps,
            "num_ambiguous": carry.ambiguous.count,
            "t_final": time,
            "loss_final": self._loss(final),
            "rounding": _rounding(self.problem, stands),
            "rtol": self.tolerances[0],
        }
        return Solution(
            saved.ts,
            saved.losses,
            saved.values,
            final,
            carry.events.events(),
            carry.ambiguous.ambiguities(),
            result,
            stats,
            stands,
            self.data,
            carry.stored.interpolation(self.integrator, self.problem),
            self.problem.loss,
        )

    def _metered(self, meter, state, report: Report, num_accepted, num_saved):
        if isinstance(self.meter, AbstractFlowMeter):

            def now():
                return self._loss(self._network(state))

            return self.meter.show(meter, report.time, num_accepted, num_saved, now)
        t0, t1 = self.interval
        return self.meter.step(meter, (report.time - t0) / (t1 - t0))

    def _loss(self, net: Network):
        return mean_loss(net, self.data, self.problem.loss)

    def _network(self, state) -> Network:
        return self._activated(self.integrator.network(state))

    def _activated(self, net: Network) -> Network:
        """With the activation, which integrators know by the problem."""
        return net.with_activation(self.problem.activation)

    # What is saved inside the last step

    @property
    def _dense(self) -> bool:
        return isinstance(self.integrator, AbstractDenseIntegrator)

    def _waits(self, carry: Carry):
        """Whether saves of the last step are still to be written, before the next is taken."""
        if not (self._dense and self.schedule.inside):
            return False
        return carry.saved.next_time(self.schedule) <= carry.report.time

    def _advance(self, carry: Carry, limit, waits) -> tuple[Saved, Any, Report]:
        """A step; or, where saves of the last one are still to be written, the next of them."""
        saved = carry.saved
        if waits is False or not isinstance(self.integrator, AbstractDenseIntegrator):
            return saved, *self.integrator.step(self.problem, carry.state, limit)
        time = jnp.where(waits, saved.next_time(self.schedule), carry.report.time)
        state, report, net = self.integrator.step_or_look_back(
            self.problem, carry.state, limit, waits, time
        )
        # A run that has failed still looks back: it has failed for all that.
        failed = carry.report.result != RESULTS.successful
        result = RESULTS.where(waits & failed, carry.report.result, report.result)
        report = eqx.tree_at(lambda r: r.result, report, result)
        net = self._activated(net)
        return saved.write(self.schedule, time, waits, waits, net, self.data), state, report

    def _offer(self, saved: Saved, state, report: Report, num_accepted) -> Saved:
        """Saves where a step has ended at a time asked for, or a counted one has."""
        now = self._network(state)
        return saved.offer(self.schedule, report, num_accepted, not self._dense, now, self.data)


def _count(happened) -> jax.Array:
    return jnp.asarray(happened).astype(jnp.asarray(0).dtype)


def _rounding(problem: Problem, stands: FlowState) -> Scalar:
    """Of a prediction, over the largest label."""
    weight = jnp.exp(2.0 * stands.net.log_scale)
    nothing = jnp.zeros_like(stands.preactivation)
    neurons = Neurons(stands.net.output, nothing, stands.preactivation)
    h = predictions(problem.arrangement, neurons, stands.pattern, weight)
    rounding = rounding_of(problem, neurons, stands.pattern, weight).of_predictions
    return rounding / height_of(problem, problem.residual(h))
