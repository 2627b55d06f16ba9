"""An independent oracle of the flow: NumPy and scipy's DOP853, nothing of `reluflow`.

Between events the flow is smooth. One DOP853 step is taken at a time; along its dense output
every guard (what must stay positive for the modes to hold) is a polynomial, so a test of signs
of Bernstein coefficients misses no crossing, not even two in one step. The earliest root only
says where to look: the flow is integrated anew to it and polished by Newton, because a dense
output is of lower order than its step. Then the modes of that neuron are chosen by trying them
all, and the next step starts.

The smooth flow is in `reference_smooth.py`, the choice of modes in `reference_modes.py`.
"""

from math import comb
from typing import NamedTuple

import numpy as np
from reference_modes import choose_modes
from reference_smooth import ACTIVE, INACTIVE, RESTING, SLIDING, Flow, Weights
from scipy.integrate import DOP853
from scipy.optimize import brentq

DEGREE = 14  # of the residual along a dense output: 7 from a_j times 7 from p_jk
NODES = (1 - np.cos(np.pi * np.arange(DEGREE + 1) / DEGREE)) / 2
ROUNDING = 1e-14  # of a preactivation: Newton cannot place its zero more closely


def _bernstein():
    """Matrices on [0, 1]: from values at NODES to Bernstein coefficients, and from these to the
    coefficients on either half of the interval (de Casteljau)."""
    i, t = np.arange(DEGREE + 1), NODES[:, None]
    half = np.array([[comb(row, k) / 2.0**row for k in i] for row in i])
    values = [comb(DEGREE, k) for k in i] * t**i * (1 - t) ** (DEGREE - i)
    return np.linalg.inv(values), half, half[::-1, ::-1]


BERNSTEIN, LEFT, RIGHT = _bernstein()


class Reference(NamedTuple):
    """Events, weights and losses at `ts` and at the end, self checks.

    Events are in the order of time; those at one time (to rounding) in any order. There are such:
    neurons of equal modes stop sliding together, because alpha depends on the residual alone.
    """

    times: np.ndarray  # of the events, each a change of mode of one unit (neuron, sample)
    neurons: np.ndarray
    samples: np.ndarray
    before: np.ndarray  # 0 inactive, 1 active, 2 sliding, 3 resting
    after: np.ndarray
    saved: Weights  # with a leading time axis
    losses: np.ndarray  # at ts
    final: Weights
    final_loss: float
    modes: np.ndarray  # at the end, (m, n)
    initial_loss: float
    dissipated: float  # integral of |grad L|^2, equals initial_loss - final_loss
    ambiguous: int  # choices of modes that had several solutions (a repulsive boundary)
    steps: int


def _first_root(b, left=0.0, width=1.0):
    """(place on [0, 1], column): where the first of the polynomials with Bernstein coefficients
    b[:, column] is not positive any more; None if all stay positive."""
    columns = np.flatnonzero(np.any(b <= 0, axis=0))
    if len(columns) == 0:
        return None
    b = b[:, columns]
    if width < 1e-10 or np.any(b[0] <= 0):
        return left, columns[np.argmin(b[0])]
    root = _first_root(LEFT @ b, left, width / 2)
    root = root or _first_root(RIGHT @ b, left + width / 2, width / 2)
    return root and (root[0], columns[root[1]])


class _Integrator:
    """DOP853 step by step, and the location and the handling of events."""

    def __init__(self, flow, rtol):
        self.flow, self.t, self.events, self.ambiguous = flow, 0.0, [], 0
        tol = max(rtol / np.sqrt(flow.m * (flow.n + 1)), 3e-14)  # scipy's norm is a mean square
        self.tolerances = {"rtol": tol, "atol": tol}
        for j in np.flatnonzero(np.any(flow.p == 0, axis=1)):
            flow.modes[j, flow.p[j] == 0] = INACTIVE
            self.switch(j, np.flatnonzero(flow.p[j] == 0), None)
        self.events.clear()  # the modes of a start on the boundary are no events

    def solver(self, t_bound, first_step):
        return DOP853(
            self.flow.field,
            self.t,
            self.flow.start(),
            t_bound,
            first_step=first_step,
            **self.tolerances,
        )

    def reach(self, t):
        """The state at t, a little later than the start of the step, by a step of its own."""
        if t <= self.t:
            return self.flow.start()
        solver = self.solver(t, t - self.t)
        while solver.status == "running":
            solver.step()
        return solver.y

    def candidates(self, solver):
        """(time, guard) of the earliest root along the dense output; if that is asked for more,
        of the earliest of the other guards, and so on."""
        states = solver.dense_output()(self.t + NODES * (solver.t - self.t)).T
        values = self.flow.guards(states)
        b = BERNSTEIN @ values
        b[0], b[-1] = values[0], values[-1]
        while (root := _first_root(b)) is not None:
            yield self.t + root[0] * (solver.t - self.t), root[1]
            b[:, root[1]] = 1.0

    def polish(self, t, index, end):
        """The root of a guard near t on the flow itself: (t, state), or None if there is none."""
        for _ in range(8):
            state = self.reach(t)
            value, rate = self.flow.guards(state)[index], self.flow.guard_rates(state)[index]
            if t <= self.t and value <= 0:
                return t, state
            if rate >= 0:
                break
            move = -value / rate
            if abs(move) <= 2 * np.spacing(t) + ROUNDING / -rate:
                return t, state
            t = min(max(t + move, self.t), end)
        if self.flow.guards(self.reach(end))[index] > 0:
            return None
        t = brentq(lambda t: self.flow.guards(self.reach(t))[index], self.t, end, xtol=1e-15)
        return t, self.reach(t)

    def locate(self, solver):
        """The earliest event of a step as (t, state, guard), or None."""
        for t, index in self.candidates(solver):
            found = self.polish(t, index, solver.t)
            while found is not None:
                t, state = found
                late = self.flow.guards(state)
                late[index] = 1.0
                rates = self.flow.guard_rates(state)
                with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                    ago = np.where((late < 0) & (rates < 0), late / rates, 0.0)
                other = int(np.argmax(ago))
                if t <= self.t or ago[other] <= 4 * np.spacing(t):
                    return t, state, index
                earlier = self.polish(max(t - ago[other], self.t), other, t)
                if earlier is None or earlier[0] >= t:
                    return t, state, index
                index, found = other, earlier
        return None

    def switch(self, j, boundary, arrived):
        """Put new modes on the units `boundary` of neuron j and write the changes down."""
        flow = self.flow
        flow.p[j, boundary] = 0.0
        after, ambiguous = choose_modes(flow, j, boundary, arrived)
        self.ambiguous += ambiguous
        for k, mode in zip(boundary, after, strict=True):
            self.record(j, k, mode)
        flow.refresh()

    def record(self, j, k, mode):
        before = self.flow.modes[j, k]
        if mode != before:
            self.events.append((self.t, j, k, before, mode))
        self.flow.modes[j, k], self.flow.unarmed[j, k] = mode, True

    def fire(self, index):
        """Change modes at the guard `index`, with the flow already standing there."""
        flow, units = self.flow, self.flow.m * self.flow.n
        if index < units:
            j, k = divmod(index, flow.n)
            pushed = np.any(flow.coupled & (flow.modes[j] != INACTIVE), axis=1)
            held = (flow.modes[j] == SLIDING) | ((flow.modes[j] == RESTING) & pushed)
            self.switch(j, np.union1d(np.flatnonzero(held), k), k)
        else:
            high, unit = divmod(index - units, len(flow.slide_j))
            self.record(flow.slide_j[unit], flow.slide_k[unit], ACTIVE if high else INACTIVE)
            flow.refresh()


def reference_flow(x, y, a, w, log_scale, t1, *, ts=(), rtol=1e-12, max_steps=200_000):
    """The flow from t = 0 to t1 of the network exp(log_scale) (a, w) on the data (x, y).

    Arguments:
        x, y: inputs (n, d) and labels (n,).
        a, w, log_scale: weights (m,), (m, d), (m,) at t = 0; real weights are exp(log_scale) a.
        ts: increasing times in [0, t1] at which to save.
    """
    flow = Flow(x, y, a, w, log_scale)
    run, ts, saved = _Integrator(flow, rtol), list(ts), []
    first, step = flow.loss(flow.start()), None
    for steps in range(max_steps):  # noqa: B007
        while len(saved) < len(ts) and ts[len(saved)] <= run.t:
            saved.append((flow.weights(flow.start()), flow.loss(flow.start())))
        if run.t >= t1:
            break
        solver = run.solver(t1, step)
        if solver.step():
            raise RuntimeError(f"DOP853 failed at t = {run.t}")
        found = run.locate(solver)
        end, state = (solver.t, solver.y) if found is None else found[:2]
        while len(saved) < len(ts) and ts[len(saved)] < end:
            at = run.reach(ts[len(saved)])
            saved.append((flow.weights(at), flow.loss(at)))
        flow.accept(state)
        run.t = end
        if found is not None:
            run.fire(found[2])
        step = min(solver.h_abs, t1 - run.t) or None
    else:
        raise RuntimeError(f"t = {run.t} after {max_steps} steps")
    columns = np.array(run.events).reshape(-1, 5).T
    stacked = [np.array([w[i] for w, _ in saved]) for i in range(3)]
    return Reference(
        columns[0],
        *columns[1:].astype(int),
        Weights(*stacked),
        np.array([loss for _, loss in saved]),
        flow.weights(flow.start()),
        flow.loss(flow.start()),
        flow.modes.copy(),
        first,
        flow.dissipated,
        int(run.ambiguous),
        steps,
    )
