"""An independent oracle of the flow: NumPy and scipy's DOP853, nothing of `reluflow`.

Between events the flow is smooth. One DOP853 step is taken at a time; along its dense output
every guard (what must stay positive for the modes to hold) is a polynomial, so a test of signs
of Bernstein coefficients misses no crossing, not even two in one step. The earliest root only
says where to look: the flow is integrated anew to it and polished by Newton, because a dense
output is of lower order than its step. Then the modes of that neuron are chosen by trying them
all, and the next step starts.

The coordinates of neuron j, all over exp(log_scale_j), a power of two at O(1) sizes: a_j and
c_j with w_j = w_j(start of the step) + sum_k c_jk x_k. Preactivations are carried on their own,
p_j = p_j(start) + c_j Gram, so that they are exactly constant where Gram entries are zero.
"""

from itertools import product
from math import comb
from typing import NamedTuple

import numpy as np
from scipy.integrate import DOP853
from scipy.optimize import brentq, lsq_linear

INACTIVE, ACTIVE, SLIDING, RESTING = range(4)
DEGREE = 14  # of the residual along a dense output: 7 from a_j times 7 from p_jk
NODES = (1 - np.cos(np.pi * np.arange(DEGREE + 1) / DEGREE)) / 2
SHIFT = 1e-11  # a guard that was just switched fires at -SHIFT until it is clearly off zero
ROUNDING = 1e-14  # of a preactivation: Newton cannot place its zero more closely
MARGIN = 1e-12  # by which a choice of modes must satisfy its inequalities to count as certain


def _bernstein():
    """Matrices on [0, 1]: from values at NODES to Bernstein coefficients, and from these to the
    coefficients on either half of the interval (de Casteljau)."""
    i, t = np.arange(DEGREE + 1), NODES[:, None]
    half = np.array([[comb(row, k) / 2.0**row for k in i] for row in i])
    values = [comb(DEGREE, k) for k in i] * t**i * (1 - t) ** (DEGREE - i)
    return np.linalg.inv(values), half, half[::-1, ::-1]


BERNSTEIN, LEFT, RIGHT = _bernstein()


class Weights(NamedTuple):
    """Neurons: the real weights are exp(log_scale) a and exp(log_scale) w."""

    a: np.ndarray
    w: np.ndarray
    log_scale: np.ndarray


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


class _Flow:
    """The smooth flow of fixed modes, from the start of the current step."""

    def __init__(self, x, y, a, w, log_scale):
        self.x, self.y = np.array(x, float), np.array(y, float)
        self.a, self.w = np.array(a, float), np.array(w, float)
        self.log_scale = np.array(log_scale, float)
        self.n, self.m = len(self.y), len(self.a)
        gram = self.x @ self.x.T
        self.length = np.sqrt(np.diag(gram))
        noise = 4 * self.x.shape[1] * np.finfo(float).eps * np.outer(self.length, self.length)
        self.gram = np.where(np.abs(gram) > noise, gram, 0.0)
        self.p = self.w @ self.x.T
        self.coupled = (self.gram != 0) & ~np.eye(self.n, dtype=bool)
        square = np.sum(self.w**2, axis=1)
        self.balanced = np.abs(self.a**2 - square) < 1e-13 * square
        self.modes = np.where(self.p > 0, ACTIVE, INACTIVE)
        self.unarmed, self.shift = np.zeros((self.m, self.n), bool), SHIFT * self.length
        self.dissipated = 0.0
        self.refresh()

    def refresh(self):
        """Factorise what depends on the modes alone: for each sliding neuron, n beta = M r.

        D_j = sum_k beta_jk x_k with beta_jk = r_k / n where active, and beta on the sliding
        units such that their preactivations stand still.
        """
        self.active = (self.modes == ACTIVE).astype(float)
        self.sign = np.where(self.modes == ACTIVE, 1.0, -1.0)
        self.still = self.modes >= SLIDING
        self.slide_j, self.slide_k = np.nonzero(self.modes == SLIDING)
        self.sliders, self.slide_row = np.unique(self.slide_j, return_inverse=True)
        self.maps = np.zeros((len(self.sliders), self.n, self.n))
        for row, j in zip(self.maps, self.sliders, strict=True):
            on, s = self.modes[j] == ACTIVE, self.modes[j] == SLIDING
            row[on, on] = 1.0
            row[np.ix_(s, on)] = -np.linalg.solve(self.gram[np.ix_(s, s)], self.gram[s][:, on])

    def start(self):
        """The state vector (a, c, dissipated) at the start of a step; c = 0 there."""
        return np.concatenate([self.a, np.zeros(self.m * self.n), [self.dissipated]])

    def look(self, state):
        """a, p, residual, n beta; `state` may carry leading axes."""
        a, c = state[..., : self.m], state[..., self.m : -1]
        p = self.p + c.reshape(*c.shape[:-1], self.m, self.n) @ self.gram
        scaled = np.exp(2 * self.log_scale) * a
        residual = self.y - np.einsum("...j,...jk->...k", scaled, p * self.active)
        beta = self.active * residual[..., None, :]
        if len(self.sliders):
            beta[..., self.sliders, :] = np.einsum("jkl,...l->...jk", self.maps, residual)
        return a, p, residual, beta

    def rates(self, state):
        """a', c', p' and |grad L|^2."""
        a, p, _, beta = self.look(state)
        da = np.sum(beta * p * self.active, axis=1) / self.n
        dc = a[:, None] * beta / self.n
        dp = dc @ self.gram
        square = np.exp(2 * self.log_scale) @ (da**2 + np.sum(dc * dp, axis=1))
        return da, dc, dp, square

    def field(self, _, state):
        da, dc, _, square = self.rates(state)
        return np.concatenate([da, dc.ravel(), [square]])

    def guards(self, state):
        """What must stay positive: p of a moving unit with its sign, then alpha r and
        (1 - alpha) r of a sliding one with the sign of r, which is that of -a."""
        _, p, residual, beta = self.look(state)
        moving = np.where(self.still, 1.0, self.sign * p + self.shift * self.unarmed)
        sign = -np.sign(self.a[self.slide_j])
        low = sign * beta[..., self.slide_j, self.slide_k]
        high = sign * residual[..., self.slide_k] - low
        return np.concatenate([moving.reshape(*p.shape[:-2], -1), low, high], axis=-1)

    def guard_rates(self, state):
        """The time derivatives of `guards`."""
        a, p, _, _ = self.look(state)
        da, _, dp, _ = self.rates(state)
        change = (da[:, None] * p + a[:, None] * dp) * self.active
        dr = -np.exp(2 * self.log_scale) @ change
        moving = np.where(self.still, 0.0, self.sign * dp)
        sign = -np.sign(self.a[self.slide_j])
        low = sign * np.einsum("ul,l->u", self.maps[self.slide_row, self.slide_k], dr)
        return np.concatenate([moving.ravel(), low, sign * dr[self.slide_k] - low])

    def weights(self, state):
        a, c = state[: self.m], state[self.m : -1].reshape(self.m, self.n)
        return Weights(a.copy(), self.w + c @ self.x, self.log_scale.copy())

    def loss(self, state):
        return np.mean(self.look(state)[2] ** 2) / 2

    def accept(self, state):
        """Make `state` the start of the next step: c = 0 again, neurons of size one again.

        Balanced neurons are put back on |a_j| = |w_j|, which the flow keeps: off it, errors of a
        neuron that shrinks by a factor q would grow by 1 / q^2, and change the sign of a_j.
        """
        moving = self.guards(state)[: self.m * self.n].reshape(self.m, self.n)
        self.unarmed &= moving < 10 * self.shift
        _, p, _, _ = self.look(state)
        a, w, _ = self.weights(state)
        if np.any(np.sign(a[self.sliders]) != np.sign(self.a[self.sliders])):
            raise RuntimeError("a_j changed its sign while neuron j slides: no unique flow")
        a = np.where(self.balanced, np.copysign(np.linalg.norm(w, axis=1), a), a)
        size = np.maximum(np.abs(a), np.linalg.norm(w, axis=1))
        power = np.round(np.log2(np.where(size > 0, size, 1.0)))
        self.a, self.w = a * 2.0**-power, w * 2.0 ** -power[:, None]
        self.p = np.where(self.still, 0.0, p * 2.0 ** -power[:, None])
        self.log_scale = self.log_scale + power * np.log(2)
        self.dissipated = state[-1]


def _choose_modes(flow, j, boundary, arrived):
    """Modes of the units `boundary` of neuron j, all at p = 0, and whether it was ambiguous.

    The complementarity problem of Filippov: off where the velocity z < 0, on where z > 0,
    sliding where z = 0 with alpha in (0, 1). All 3^B choices are tried (more than four units:
    `_minimal_norm`). Of several solutions, the one in which `arrived` goes on to the other side,
    or with no unit arrived (a start on the boundary) the one with the least that is on.
    """
    residual, before = flow.look(flow.start())[2], flow.modes[j, boundary]
    on = flow.modes[j] == ACTIVE
    on[boundary] = False

    def margin(choice):
        return _margin(flow, flow.a[j], boundary, choice, on, residual)

    def rank(choice):
        worst = margin(choice)
        prefer = -sum(choice) if arrived is None else np.any((choice == 1 - before)[crossing])
        return worst > MARGIN, prefer, worst

    crossing = boundary == arrived
    if len(boundary) > 4:
        choice, certain = _minimal_norm(flow, j, boundary, on, residual), 1
        if margin(choice) < -1e-8:
            raise RuntimeError("more than four units on a boundary, not all of them attractive")
    else:
        options = [np.array(c) for c in product((INACTIVE, ACTIVE, SLIDING), repeat=len(boundary))]
        ranks = [rank(choice) for choice in options]
        choice, certain = options[ranks.index(max(ranks))], sum(r[0] for r in ranks)
    on[boundary[choice != INACTIVE]] = True
    alone = ~np.any(flow.coupled[boundary] & on, axis=1)
    return np.where((choice == INACTIVE) & alone, RESTING, choice), certain > 1


def _minimal_norm(flow, j, boundary, on, residual):
    """min |D_j| over alpha in [0, 1]^B, by bounded least squares with active sets.

    It decides for attractive units; others are put on the side that they did not come from.
    """
    modes = 1 - np.minimum(flow.modes[j, boundary], 1)
    attractive = flow.a[j] * residual[boundary] < 0
    on = on.copy()
    on[boundary[~attractive & (modes == ACTIVE)]] = True
    units, size = boundary[attractive], np.sum(np.abs(residual) * flow.length)
    columns, fixed = (residual[units, None] * flow.x[units]).T, (residual * on) @ flow.x
    fit = lsq_linear(columns / size, -fixed / size, (0, 1), method="bvls", tol=1e-15)
    low, high = fit.x < 1e-10, fit.x > 1 - 1e-10
    modes[attractive] = np.select([low, high], [INACTIVE, ACTIVE], SLIDING)
    return modes


def _margin(flow, a, boundary, choice, on, residual):
    """The worst of the normalised inequalities of one choice of modes; negative if violated."""
    n, gram, s = flow.n, flow.gram, boundary[choice == SLIDING]
    held = on.copy()
    held[boundary[choice == ACTIVE]] = True
    beta = np.where(held, residual / n, 0.0)
    margin = [1.0]
    if len(s):
        block = gram[np.ix_(s, s)] / np.outer(flow.length[s], flow.length[s])
        if np.linalg.cond(block) > 1e12:
            return -np.inf
        push = gram[s] @ beta
        beta[s] = -np.linalg.solve(block, push / flow.length[s]) / flow.length[s]
        alpha = n * beta[s] / np.where(residual[s] == 0, np.finfo(float).tiny, residual[s])
        margin += [np.min(alpha), np.min(1 - alpha)]
        held[s] = True
    velocity = a * (gram @ beta) / (flow.length * np.sum(np.abs(residual) * flow.length) / n)
    for k, mode in zip(boundary, choice, strict=True):
        if mode == INACTIVE:
            margin.append(-velocity[k] if np.any(flow.coupled[k] & held) else 1.0)
        elif mode == ACTIVE:
            margin.append(velocity[k])
    return min(margin)


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
            self.flow.field, self.t, self.flow.start(), t_bound, first_step=first_step,
            **self.tolerances,
        )  # fmt: skip

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
        after, ambiguous = _choose_modes(flow, j, boundary, arrived)
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
    flow = _Flow(x, y, a, w, log_scale)
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
        columns[0], *columns[1:].astype(int), Weights(*stacked),
        np.array([loss for _, loss in saved]), flow.weights(flow.start()),
        flow.loss(flow.start()), flow.modes.copy(), first, flow.dissipated,
        int(run.ambiguous), steps,
    )  # fmt: skip
