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

from ._dataset import Dataset
from ._field import Problem
from ._integrator import AbstractDenseIntegrator, AbstractIntegrator, Report
from ._interpolation import StoredSteps
from ._loss import loss
from ._network import Network
from ._saving import Saved, Schedule
from ._shapes import Scalar
from ._solution import RESULTS, Events, Solution


class Carry(eqx.Module):
    # the flow
    state: Any
    report: Report
    # the counts
    num_steps: Int[Array, ""]
    num_accepted: Int[Array, ""]
    num_ambiguous: Int[Array, ""]
    num_evaluations: Int[Array, ""]
    num_sweeps: Int[Array, ""]
    # what is kept
    saved: Saved
    stored: StoredSteps
    events: Events
    meter: Any

    def buffers(self):
        """What is written in place."""
        return self.saved.buffers(), self.stored.buffers(), self.events.buffers()


class Run(eqx.Module):
    """One run of the loop: what it is asked for."""

    integrator: AbstractIntegrator
    problem: Problem
    net: Network
    data: Dataset
    schedule: Schedule
    interval: tuple[Scalar, Scalar]
    tolerances: tuple[Scalar, Scalar]
    stop_loss: Scalar
    max_steps: Int[Array, ""]
    max_events: int
    meter: diffrax.AbstractProgressMeter

    def solve(self) -> Solution:
        final = eqxi.while_loop(
            self.running, self.step, self.init(), buffers=Carry.buffers, kind="lax"
        )
        return self.postprocess(final)

    def init(self) -> Carry:
        state = self.integrator.init(
            self.problem, self.net, self.interval[0], self.tolerances, self.stop_loss
        )
        report = self.integrator.report(self.problem, state)
        there = loss(self.net, self.data) <= self.stop_loss
        result = RESULTS.where(there, RESULTS.loss_reached, report.result)
        report = eqx.tree_at(lambda r: r.result, report, result)
        saved = Saved.empty(self.schedule, self.net, self.data)
        stored = StoredSteps.empty(self.integrator, state, self.schedule.stored)
        events, meter, zero = Events.empty(self.max_events), self.meter.init(), jnp.array(0)
        return Carry(state, report, zero, zero, zero, zero, zero, saved, stored, events, meter)

    def step(self, carry: Carry) -> Carry:
        t0, t1 = self.interval
        waits = self._waits(carry)
        limit = t1 if self._dense else jnp.minimum(t1, carry.saved.next_time(self.schedule))
        saved, state, report = self._advance(carry, limit, waits)
        events = carry.events.record(report.switches)
        result = RESULTS.where(events.full(), RESULTS.event_buffer_full, report.result)
        report = eqx.tree_at(lambda r: r.result, report, result)
        num_accepted = carry.num_accepted + _count(report.accepted)
        return Carry(
            state=state,
            report=report,
            num_steps=carry.num_steps + _count(report.finished) - _count(waits),
            num_accepted=num_accepted,
            num_ambiguous=carry.num_ambiguous + report.ambiguous,
            num_evaluations=carry.num_evaluations + report.evaluations,
            num_sweeps=carry.num_sweeps + report.sweeps,
            saved=self._offer(saved, state, report, num_accepted),
            stored=carry.stored.add(self.integrator, carry.state, state, report),
            events=events,
            meter=self.meter.step(carry.meter, (report.time - t0) / (t1 - t0)),
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
        final, time = self.integrator.network(carry.state), carry.report.time
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
            "num_ambiguous": carry.num_ambiguous,
            "t_final": time,
            "loss_final": loss(final, self.data),
        }
        return Solution(
            saved.ts,
            saved.losses,
            saved.values,
            final,
            carry.events,
            result,
            stats,
            carry.stored.interpolation(self.integrator, self.problem),
        )

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
        return saved.write(self.schedule, time, waits, waits, net, self.data), state, report

    def _offer(self, saved: Saved, state, report: Report, num_accepted) -> Saved:
        """Saves where a step has ended at a time asked for, or a counted one has."""
        now = self.integrator.network(state)
        return saved.offer(self.schedule, report, num_accepted, not self._dense, now, self.data)


def _count(happened) -> jax.Array:
    return jnp.asarray(happened).astype(jnp.asarray(0).dtype)
