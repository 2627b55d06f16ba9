"""The smooth flow of the oracle: Taylor series in extended precision while no mode changes.

The unknowns of neuron j, all over 2^exponent_j, a power of two at O(1) sizes: a_j, w_j, and its
preactivations p_j, which are carried on their own so that they are exactly constant where Gram
entries are zero. The residual r of the square loss is carried too, r' = -K r, not computed as
y - h: so it keeps its relative accuracy while it decays, and what decides between modes is never
rounding. That of other losses follows from h: `reference_losses.py`.

    n D_j = sum_b beta_jb u_b,   a_j' = <D_j, w_j>,   w_j' = a_j D_j,   p_jb' = a_j <D_j, u_b>,
    h_k' = (sum_j slope_jk a_j c_k p_jb)',   beta_jb = sum_k slope_jk c_k r_k of the samples of b,

and on the sliding units beta makes D_j orthogonal to their u_b: `reference_inputs.py`.
"""

from typing import NamedTuple

import numpy as np
from reference_inputs import ACTIVE, DOUBLE, EPS, INACTIVE, REAL, SLIDING, Inputs
from reference_losses import LOSSES

ORDER = 40  # a step of 5.6 / rate for a relative 1e-18
LOW_ORDER = 16  # a step of 0.5 / rate, for a sixth of the work, where events are dense
DECAYED = 9.0  # of a step, times the fastest decay: rounding in its series is 1e-19 exp(9)
AT_REST, UNMOVED = 1e-19, 1e-13  # by which neurons may still move: by bound, and by estimate


class Weights(NamedTuple):
    """Neurons: the real weights are exp(log_scale) a and exp(log_scale) w."""

    a: np.ndarray
    w: np.ndarray
    log_scale: np.ndarray


class Series(NamedTuple):
    """Taylor coefficients in the time since the start of the step, leading axis the order."""

    a: np.ndarray  # (order, m)
    w: np.ndarray  # (order, m, d)
    p: np.ndarray  # (order, m, lines)
    beta: np.ndarray
    residual: np.ndarray  # (order, n)


class Flow(Inputs):
    """The state at the start of the current step, its modes, and the series from there."""

    def __init__(self, x, y, a, w, log_scale, slopes=(0.0, 1.0), loss="square", weights=None):
        super().__init__(x, slopes)
        self.y, self.m = np.array(y, REAL), len(a)
        self.loss = LOSSES[loss](self.y, np.ones(self.n) if weights is None else weights)
        self.exponent = np.round(np.array(log_scale, REAL) / np.log(REAL(2)))
        rest = np.exp(np.array(log_scale, REAL) - self.exponent * np.log(REAL(2)))
        self.a, self.w = rest * np.array(a, REAL), rest[:, None] * np.array(w, REAL)
        self.p = np.dot(self.w, self.u.T)
        square = np.sum(self.w**2, axis=1)
        # Within rounding of a boundary is on it, within rounding of |a| = |w| is balanced.
        noise = 4 * self.x.shape[1] * DOUBLE
        self.p[np.abs(self.p) <= noise * np.sqrt(square)[:, None] * self.length] = 0
        self.balanced = np.abs(self.a**2 - square) <= noise * (self.a**2 + square)
        self.modes = np.where(self.p > 0, ACTIVE, INACTIVE)
        self.flat = np.zeros((self.m, self.lines), int)  # leading powers of time that p_jb lacks
        self.asleep = np.zeros(self.m, bool)  # at w = 0, until some direction leads out of there
        self.normalise()
        self.residual = self.loss.residual(self.predictions())
        self.scale = max(np.max(np.abs(self.y)), np.max(np.abs(self.residual)))
        self.refresh()

    def predictions(self, a=None, p=None):
        """h, from the weights, those of now by default."""
        a, p = (self.a, self.p) if p is None else (a, p)
        size = np.ldexp(REAL(1), 2 * self.exponent.astype(int))
        return np.dot(size * a, self.activation(self.at_samples(p)))

    def at_samples(self, p):
        """<w, x_k> from the <w, u_b>."""
        return self.factor * p[..., self.line]

    def refresh(self):
        """What depends on the modes alone."""
        self.on = self.slope(self.modes)
        self.sign = np.where(self.modes == ACTIVE, REAL(1), REAL(-1))
        self.moving = self.modes < SLIDING
        self.sliders = np.flatnonzero(np.any(self.modes == SLIDING, axis=1))
        self.maps = {j: self.response(self.modes[j]) for j in self.sliders}
        self.motions = {j: self.motion(self.modes[j]) for j in self.sliders}
        self.linear = self._linear()

    def _linear(self):
        """(n, m (lines + d + lines)): r @ it is n p' / a, n w' / a and beta of all neurons."""
        (n, d), lines, on = self.x.shape, self.lines, self.on[..., None]
        linear = np.zeros((self.m, n, lines + d + lines), REAL)
        linear[..., :lines] = on * self.cross * self.moving[:, None, :]
        linear[..., lines : lines + d] = on * self.x
        linear[..., lines + d :] = on * self.factors
        for j in self.sliders:
            pull, force = self.motions[j]
            linear[j] = np.concatenate([pull * self.moving[j], force, self.maps[j].T], axis=1)
        return linear.transpose(1, 0, 2).reshape(n, -1)

    def series(self, order) -> Series:
        """The expansion of the flow of these modes up to `order`, and zeros up to `ORDER`."""
        m, (n, d), lines = self.m, self.x.shape, self.lines
        size = np.ldexp(REAL(1), 2 * self.exponent.astype(int))
        a, r = np.zeros((ORDER + 1, m), REAL), np.zeros((ORDER + 1, n), REAL)
        w = np.zeros((ORDER + 1, m, d), REAL)
        beta, p, seen = (np.zeros((ORDER + 1, m, lines), REAL) for _ in range(3))  # seen: moving p
        factors = np.zeros((ORDER + 1, m, lines + d + lines), REAL)  # n p' / a, n w' / a, next p
        a[0], w[0], p[0], r[0], seen[0] = (
            self.a,
            self.w,
            self.p,
            self.residual,
            self.moving * self.p,
        )
        active_size = self.on * size[:, None]
        loss = self.loss.series(self.predictions(), ORDER)
        for i in range(order + 1):
            terms = np.dot(r[i], self.linear).reshape(m, lines + d + lines)
            factors[i, :, : lines + d], beta[i] = terms[:, : lines + d], terms[:, lines + d :]
            if i == order:
                break
            product = np.einsum("ij,ijk->jk", a[i::-1], factors[: i + 1])
            step = product[:, : lines + d] / (n * (i + 1))
            p[i + 1], w[i + 1] = step[:, :lines], step[:, lines:]
            a[i + 1] = np.einsum("ijk,ijk->j", beta[i::-1], seen[: i + 1]) / (n * (i + 1))
            factors[i, :, lines + d :], seen[i + 1] = p[i + 1], self.moving * p[i + 1]
            growth = product[:, lines + d :] + a[0][:, None] * p[i + 1] + a[i + 1][:, None] * p[0]
            r[i + 1] = loss.next(np.sum(active_size * self.at_samples(growth), axis=0))
        return Series(a, w, p, beta, r)

    def seen(self):
        """The residuals that move somebody, others zero. A sliding unit is moved by the others."""
        return self.residual * np.any(self.on != 0, axis=0)

    def longest_step(self, series, order, rtol):
        """The time over which the last coefficients stay below rtol, of each neuron and of r; and
        not so long that what decays fastest, if it is gone already, comes back as rounding."""
        size = np.maximum(np.abs(self.a), np.sqrt(np.sum(self.w**2, axis=1)))
        size, now = np.where(size > 0, size, REAL(1)), np.max(np.abs(self.seen()))
        fastest = np.max(np.abs(np.linalg.eigvals(self.kernel())), initial=0.0)
        step = DECAYED / fastest if fastest > 1e-300 else np.inf
        for i in (order - 1, order):
            change = np.maximum(np.abs(series.a[i]), np.max(np.abs(series.w[i]), axis=1))
            worst = np.max(change / size)
            if now > 0:
                worst = max(worst, np.max(np.abs(series.residual[i])) / now)
            if worst > 0:
                step = min(step, 0.9 * np.exp(np.log(rtol / worst) / i))
        return step

    def kernel(self):
        """Gamma K, r' = -Gamma K r, in float64."""
        size = np.ldexp(1.0, 2 * self.exponent.astype(int))
        on, active = (self.on * self.at_samples(self.p)).astype(float), self.on.astype(float)
        weight, gram = size * self.a.astype(float) ** 2, self.at_samples(self.cross).astype(float)
        smooth = np.where(np.isin(np.arange(self.m), self.sliders), 0.0, weight)
        matrix = (active * smooth[:, None]).T @ active * gram + (on * size[:, None]).T @ on
        for j in self.sliders:
            pull = self.at_samples(self.motions[j][0]).astype(float)
            matrix += weight[j] * active[j][:, None] * pull.T
        curvature = self.loss.curvature(self.predictions()).astype(float)
        return curvature[:, None] * matrix / self.n

    def at(self, series, time):
        """(a, w, p, residual) after `time`."""
        powers = time ** np.arange(ORDER + 1).astype(REAL)
        total = lambda part: np.tensordot(powers, part, 1)  # noqa: E731
        return total(series.a), total(series.w), total(series.p), total(series.residual)

    def accept(self, series, time):
        """Make the state after `time` the start of the next step.

        Residuals that have not decayed are taken from the weights, or the two would drift apart.
        Balanced neurons are put back on |a_j| = |w_j|, which the flow keeps: off it, errors of a
        neuron that shrinks by a factor q would grow by 1 / q^2, and change the sign of a_j.
        """
        self.a, self.w, self.p, self.residual = self.at(series, time)
        self.a = np.where(self.balanced, np.copysign(np.sqrt(np.sum(self.w**2, 1)), self.a), self.a)
        self.normalise()
        now = self.loss.residual(self.predictions())
        carried = self.loss.carried & (np.abs(now) <= 1e-2 * self.scale)
        self.residual = np.where(carried, self.residual, now)

    def normalise(self):
        """Neurons of size one again."""
        size = np.maximum(np.abs(self.a), np.sqrt(np.sum(self.w**2, axis=1)))
        power = np.round(np.log2(np.where(size > 0, size, REAL(1)))).astype(int)
        self.a, self.exponent = np.ldexp(self.a, -power), self.exponent + power
        self.w, self.p = np.ldexp(self.w, -power[:, None]), np.ldexp(self.p, -power[:, None])

    def weights(self, a, w):
        log_scale = self.exponent.astype(float) * np.log(2)
        return Weights(a.astype(float), w.astype(float), log_scale)

    def at_rest(self, time):
        """Whether no neuron will turn or grow in `time` by more than rounding.

        |r| never grows where it is seen, which bounds D. Or D_j = 0 to rounding for all neurons,
        and stays so: there the second derivative of the loss is that of a convex function.
        """
        pull = np.sqrt(np.mean(self.seen() ** 2)) * np.max(self.size)
        if pull * time < AT_REST:
            return True
        effort = np.dot(np.abs(self.on * self.residual), self.size) / self.n
        forces = np.dot(self.on * self.residual, self.x)
        for j in self.sliders:
            forces[j] = np.dot(self.residual, self.motions[j][1])
        force = np.sqrt(np.sum(forces**2, axis=1)) / self.n
        return bool(np.all(force <= 1e3 * EPS * effort) and np.max(force) * time < UNMOVED)
