"""An independent oracle of the flow: Taylor series in NumPy's longdouble, nothing of `reluflow`.

Between events the flow is smooth: a step is a Taylor series of order 40, in 80 bits where the
machine has them. Whatever must stay positive for the modes to hold (a guard) is a polynomial in
the time since the start of the step, so its first root is found exactly: `reference_roots.py`.
There the modes of that neuron are chosen by trying them all (`reference_modes.py`), or, where it
arrives at w = 0, by following it through the cones that meet there (`reference_zero.py`). The
smooth flow is in `reference_smooth.py`.
"""

from typing import NamedTuple

import numpy as np
from reference_inputs import ACTIVE, EPS, INACTIVE, REAL, RESTING, SLIDING
from reference_modes import choose_modes
from reference_roots import first_roots
from reference_smooth import LOW_ORDER, ORDER, Flow, Weights
from reference_zero import RESTS, edges, leaves_along, pass_zero, rays

ARRIVES, LOW, HIGH, OUTPUT, RAY = "arrives", "alpha = 0", "alpha = 1", "a = 0", "a ray appears"
SOON = 1e-6  # of a step: where the force on a neuron passes zero, its sign is asked after this
DENSE = 0.1  # of a step of full order: events nearer than this ask for less
TIED = 1e3 * EPS  # of a step: roots nearer to each other than this are one event


class Reference(NamedTuple):
    """Events, weights and losses at `ts` and at the end, self checks.

    Events are in the order of time; those at one time (to rounding) in any order. There are such:
    neurons of equal modes stop sliding together, because alpha depends on the residual alone.
    """

    times: np.ndarray  # of the events, each a change of mode of one unit (neuron, first sample)
    neurons: np.ndarray
    samples: np.ndarray
    before: np.ndarray  # 0 inactive, 1 active, 2 sliding, 3 resting
    after: np.ndarray
    saved: Weights  # with a leading time axis
    losses: np.ndarray  # at ts
    final: Weights
    final_loss: float
    modes: np.ndarray  # at the end, (m, lines)
    predictions: np.ndarray  # at the end, (n,)
    drift: float  # of the residual that is carried from that of the weights, over max|y|
    ambiguous: list  # (time, neuron, what): where several motions begin
    zeros: list  # (time, neuron, outcome): arrivals at w = 0, and departures
    steps: int


class Guard(NamedTuple):
    """The name of what must stay positive."""

    kind: str
    neuron: int
    unit: int  # a sample, or an edge


class _Integrator:
    """The flow step by step, and what happens at events."""

    def __init__(self, flow, t1, rtol):
        self.flow, self.t, self.t1, self.rtol = flow, REAL(0), REAL(t1), rtol
        self.events, self.ambiguous, self.zeros = [], [], []
        self._edges, self.order = None, ORDER
        for j in np.flatnonzero(np.any(flow.p == 0, axis=1)):
            flow.modes[j, flow.p[j] == 0] = INACTIVE
            self.settle(j, np.flatnonzero(flow.p[j] == 0))
        self.events.clear()  # the modes of a start on the boundary are no events

    @property
    def edges(self):
        if self._edges is None:
            self._edges = edges(self.flow)
        return self._edges

    def step(self):
        """One step, to the next event or as far as the series holds: its series, its length, and
        the guards that end it."""
        flow, left = self.flow, self.t1 - self.t
        series = flow.series(self.order)
        if flow.at_rest(left):
            return series, left, []  # the series does not hold, and nothing moves
        natural = self.natural = flow.longest_step(series, self.order, self.rtol)
        length = min(natural, left)
        guards, polynomials = self.guards(series, length)
        now = []
        if guards:
            tied = TIED * min(natural, self.t1) + 4 * EPS * self.t
            time, now = first_roots(np.stack(polynomials, axis=1), length, tied)
        if len(now) == 0:
            self.order = ORDER
            return series, length, []
        if self.order == ORDER and time < DENSE * natural:
            self.order = LOW_ORDER
        return series, min(time, length), [guards[i] for i in now]

    def guards(self, series, length):
        """What must stay positive, without what obviously does: names and polynomials."""
        flow, names, polynomials = self.flow, [], []

        def add(polynomial, *name):
            names.append(Guard(*name))
            polynomials.append(polynomial)

        for j, k in self._near(series, length):
            polynomial, lead = flow.sign[j, k] * series.p[:, j, k], flow.flat[j, k]
            if lead:
                polynomial = np.append(polynomial[lead:], np.zeros(lead, REAL))
            add(polynomial, ARRIVES, j, k)
        for j in flow.sliders:
            sign = self.sign(j)
            for k in np.flatnonzero(flow.modes[j] == SLIDING):
                low = -sign * (series.beta[:, j, k] - flow.low(series.residual)[:, k])
                high = -sign * flow.jump(series.residual)[:, k] - low
                if flow.flat[j, k]:  # alpha starts at 0, or at 1
                    edge = low if low[0] < high[0] else high
                    edge[:] = np.append(edge[1:], REAL(0))
                add(low, LOW, j, k)
                add(high, HIGH, j, k)
            if flow.a[j] != 0:
                add(sign * series.a[:, j], OUTPUT, j, -1)
        for j in np.flatnonzero(flow.asleep):
            for i, edge in enumerate(self.edges):
                rises = np.dot(series.residual, flow.activation(flow.at_samples(edge)))
                add(-self.sign(j) * rises, RAY, j, i)
        return names, polynomials

    def _near(self, series, length):
        """Moving units whose preactivation is not obviously of one sign."""
        flow = self.flow
        powers = length ** np.arange(1, ORDER + 1).astype(REAL)
        reach = np.tensordot(powers, np.abs(series.p[1:]), 1)
        near = flow.moving & ((np.abs(flow.p) <= reach) | (flow.flat > 0))
        return np.argwhere(near & np.any(series.p[1:] != 0, axis=0))

    def sign(self, j):
        """Of a_j; where a_j = 0 that of a_j'."""
        flow = self.flow
        pull = np.dot(flow.residual * flow.on[j], flow.at_samples(flow.p[j]))
        return np.sign(flow.a[j]) if flow.a[j] != 0 else np.sign(pull)

    def advance(self, series, length, now):
        """To the end of the step. Units that stood on a boundary and have not left it stay there,
        with what is known about how they leave."""
        flow, on = self.flow, self.flow.flat > 0
        velocities = None
        if now:
            orders = np.arange(1, ORDER + 1).astype(REAL)
            powers = orders * length ** (orders - 1)
            velocities = np.tensordot(powers, series.p[1:], 1)
            change = SOON * self.natural * np.tensordot(powers, series.residual[1:], 1)
        if not flow.at_rest(self.t1 - self.t):
            flow.accept(series, length)
        if length <= TIED * self.t1 and length <= 4 * EPS * self.t:
            flow.p[on] = 0
        else:
            flow.flat[on] = 0
        self.t = self.t1 if length >= self.t1 - self.t else self.t + length
        if now:
            self.soon = flow.residual + change
        return velocities

    def fire(self, now, velocities):
        """Change modes at these guards, with the flow already standing there."""
        flow = self.flow
        for j in sorted({guard.neuron for guard in now}):
            mine = [guard for guard in now if guard.neuron == j]
            kinds = {guard.kind for guard in mine}
            arrived = np.array([g.unit for g in mine if g.kind == ARRIVES], int)
            if RAY in kinds:
                self.wake(j, mine)
                continue
            exits = [guard for guard in mine if guard.kind in (LOW, HIGH)]
            if len(exits) == 1:
                self.record(j, exits[0].unit, ACTIVE if exits[0].kind == HIGH else INACTIVE, 2)
            elif exits and not len(arrived):
                self.turn(j)
            held = np.flatnonzero(flow.modes[j] >= SLIDING)
            if len(arrived) and flow.span(held) >= flow.rank - 1:
                self.arrive_at_zero(j, velocities[j])
            elif len(arrived) or OUTPUT in kinds:
                if OUTPUT in kinds:
                    flow.a[j] = 0
                    self.ambiguous.append((float(self.t), int(j), "a = 0 on a boundary"))
                self.settle(j, arrived)
        flow.refresh()

    def settle(self, j, arrived):
        """New modes for neuron j where `arrived` have come to their boundaries."""
        flow = self.flow
        flow.p[j, arrived] = 0
        pushing = (flow.modes[j] != INACTIVE) | flow.two_sided
        pushed = np.any(flow.coupled & pushing, axis=1)
        held = (flow.modes[j] == SLIDING) | ((flow.modes[j] == RESTING) & pushed)
        held |= (flow.flat[j] > 0) & (flow.p[j] == 0)
        boundary = np.union1d(np.flatnonzero(held), arrived).astype(int)
        one = arrived[0] if len(arrived) == 1 else None
        after, several = choose_modes(
            flow, flow.residual, flow.modes[j], self.sign(j), boundary, one
        )
        if several:
            self.ambiguous.append((float(self.t), int(j), "a boundary that repels"))
        for k, mode in zip(boundary, after, strict=True):
            self.record(j, k, mode, 1 if flow.a[j] != 0 else 2)
        flow.refresh()

    def turn(self, j):
        """New modes where the force on a sliding neuron passes zero, so that several of its units
        stop sliding at once: those that hold a little later."""
        flow = self.flow
        units = np.flatnonzero(flow.modes[j] == SLIDING)
        after, several = choose_modes(flow, self.soon, flow.modes[j], self.sign(j), units)
        if several:
            self.ambiguous.append((float(self.t), int(j), "a boundary that repels"))
        for k, mode in zip(units, after, strict=True):
            self.record(j, k, mode, 2)
        flow.flat[j, units] = np.where(after == SLIDING, 1, flow.flat[j, units])

    def arrive_at_zero(self, j, velocity):
        flow = self.flow
        moving = np.where(flow.modes[j] < SLIDING, velocity, 0)
        passage = pass_zero(flow, flow.residual, flow.modes[j], self.sign(j), moving)
        flow.p[j], flow.asleep[j] = 0, passage.outcome == RESTS
        self.zeros.append((float(self.t), int(j), passage.outcome))
        if passage.ambiguous:
            self.ambiguous.append((float(self.t), int(j), "several ways lead out of w = 0"))
        for k, mode in enumerate(passage.modes):
            self.record(j, k, mode, 1)

    def wake(self, j, guards):
        """A ray has appeared for a neuron that rests at w = 0."""
        flow, sign = self.flow, self.sign(j)
        modes = leaves_along(flow, flow.residual, sign, self.edges[guards[0].unit])
        if len(guards) > 1:
            # All edges of a cone at once, where the pull in it turns: its ray tells, a bit later.
            ways = rays(flow, self.soon, sign, np.ones(len(modes), bool))
            modes = ways[0].modes if ways else modes
            if len(ways) != 1:
                self.ambiguous.append((float(self.t), int(j), "several rays appear at once"))
        self.zeros.append((float(self.t), int(j), "wakes"))
        flow.asleep[j] = False
        for k, mode in enumerate(modes):
            self.record(j, k, mode, 2)
        if len(guards) > 1:  # nothing pulls yet, so that all of its alpha r are zero here
            flow.flat[j, modes == SLIDING] = 1

    def record(self, j, k, mode, lead):
        """The new mode of a unit on its boundary, which it leaves like the power `lead` of time."""
        flow = self.flow
        before = flow.modes[j, k]
        if mode != before:
            sample = int(flow.first[k])
            self.events.append((float(self.t), int(j), sample, int(before), int(mode)))
        flow.modes[j, k] = mode
        flow.flat[j, k] = lead if mode < SLIDING else 0


def reference_flow(x, y, a, w, log_scale, t1, *, ts=(), rtol=1e-18, max_steps=100_000, **model):
    """The flow from t = 0 to t1 of the network exp(log_scale) (a, w) on the data (x, y).

    Arguments:
        x, y: inputs (n, d) and labels (n,).
        a, w, log_scale: weights (m,), (m, d), (m,) at t = 0; real weights are exp(log_scale) a.
        ts: increasing times in [0, t1] at which to save.
        model: `slopes` of the activation, (0, 1) by default; `loss`, "square" by default;
            `weights` of the samples.
    """
    flow = Flow(x, y, a, w, log_scale, **model)
    run, ts, saved, standing, steps = _Integrator(flow, t1, rtol), list(ts), [], 0, 0
    while run.t < t1:
        if steps == max_steps:
            raise RuntimeError(f"t = {run.t} after {max_steps} steps")
        series, length, now = run.step()
        while len(saved) < len(ts) and ts[len(saved)] <= run.t + length:
            saved.append(_saved(flow, series, ts[len(saved)] - run.t))
        standing = standing + 1 if length == 0 else 0
        if standing > 50:
            raise RuntimeError(f"time stands still at t = {run.t}: {now}")
        velocities = run.advance(series, length, now)
        if now:
            run.fire(now, velocities)
        steps += 1
    columns = np.array(run.events, float).reshape(-1, 5).T
    final = flow.weights(flow.a, flow.w)
    drift = np.max(np.abs(flow.loss.residual(flow.predictions()) - flow.residual)) / flow.scale
    return Reference(
        columns[0],
        *columns[1:].astype(int),
        Weights(*(np.array([w[i] for w, _ in saved]) for i in range(3))),
        np.array([loss for _, loss in saved]),
        final,
        float(flow.loss.mean(flow.predictions(), flow.residual)),
        flow.modes.copy(),
        flow.loss.predictions(flow.predictions(), flow.residual).astype(float),
        float(drift),
        run.ambiguous,
        run.zeros,
        steps,
    )


def _saved(flow, series, time):
    a, w, p, residual = flow.at(series, REAL(time))
    return flow.weights(a, w), float(flow.loss.mean(flow.predictions(a, p), residual))
