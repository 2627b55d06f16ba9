"""The smooth flow of the oracle: Taylor series in extended precision while no mode changes.

The unknowns of neuron j, all over 2^exponent_j, a power of two at O(1) sizes: a_j, w_j, and its
preactivations p_j, which are carried on their own so that they are exactly constant where Gram
entries are zero. The residual r is carried too, r' = -K r, not computed as y - h: so it keeps
its relative accuracy while it decays, and what decides between modes is never rounding.

    n D_j = sum_k beta_jk x_k,   a_j' = <D_j, w_j>,   c_j' = a_j beta_j / n,   w_j' = c_j' X,
    p_j' = c_j' Gram,   r' = -(sum_j active_jk a_j p_jk)',   beta_j = M_j r.

M_j is diagonal (1 where active) but for the rows of sliding units: there beta makes D_j
orthogonal to their inputs.
"""

from typing import NamedTuple

import numpy as np

INACTIVE, ACTIVE, SLIDING, RESTING = range(4)
REAL = np.longdouble  # 64 bits of mantissa on x86; where it is float64 all is less exact
EPS = np.finfo(REAL).eps
DOUBLE = np.finfo(np.float64).eps  # to which the data of a problem are known
ORDER = 40  # a step of 5.6 / rate for a relative 1e-18
LOW_ORDER = 16  # a step of 0.5 / rate, for a sixth of the work, where events are dense
DECAYED = 9.0  # of a step, times the fastest decay: rounding in its series is 1e-19 exp(9)
AT_REST, UNMOVED = 1e-19, 1e-13  # by which neurons may still move: by bound, and by estimate
DEPENDENT = 1e-14  # of its length: what of an input may lie outside a span that it belongs to


class Weights(NamedTuple):
    """Neurons: the real weights are exp(log_scale) a and exp(log_scale) w."""

    a: np.ndarray
    w: np.ndarray
    log_scale: np.ndarray


class Series(NamedTuple):
    """Taylor coefficients in the time since the start of the step, leading axis the order."""

    a: np.ndarray  # (order, m)
    c: np.ndarray  # (order, m, n)
    p: np.ndarray
    beta: np.ndarray
    residual: np.ndarray  # (order, n)


def orthonormal(rows):
    """(Q, R) with rows = R^T Q, Q of orthonormal rows, by Gram and Schmidt, each done twice; None
    if the rows are dependent. Two rows at an angle of 1e-9 keep ten digits of their difference,
    of which a Gram matrix keeps none."""
    q, r = np.zeros_like(rows), np.zeros((len(rows), len(rows)), REAL)
    for i, row in enumerate(rows):
        rest = row.copy()
        for _ in range(2):
            parts = np.dot(q[:i], rest)
            rest, r[:i, i] = rest - np.dot(parts, q[:i]), r[:i, i] + parts
        r[i, i] = np.sqrt(np.dot(rest, rest))
        if r[i, i] <= DEPENDENT * np.sqrt(np.dot(row, row)):
            return None
        q[i] = rest / r[i, i]
    return q, r


class Inputs:
    """The inputs in extended precision, and their Gram matrix, exactly zero where it is zero to
    the rounding of the data."""

    def __init__(self, x):
        self.x = np.array(x, REAL)
        self.n = len(self.x)
        gram = np.dot(self.x, self.x.T)
        self.length = np.sqrt(np.diag(gram))
        noise = 4 * self.x.shape[1] * DOUBLE * np.outer(self.length, self.length)
        self.gram = np.where(np.abs(gram) > noise, gram, REAL(0))
        self.coupled = (self.gram != 0) & ~np.eye(self.n, dtype=bool)
        self.basis = self._basis()  # of the span of the inputs
        self.rank = len(self.basis)

    def _basis(self):
        chosen = np.zeros((0, self.x.shape[1]), REAL)
        for row in self.x:
            found = orthonormal(np.vstack([chosen, row]))
            chosen = chosen if found is None else found[0]
        return chosen

    def span(self, units):
        """The dimension of the span of some inputs."""
        chosen = np.zeros((0, self.x.shape[1]), REAL)
        for unit in units:
            found = orthonormal(np.vstack([chosen, self.x[unit]]))
            chosen = chosen if found is None else found[0]
        return len(chosen)

    def held(self, sliding, on):
        """beta = held @ r: the coefficients of the sliding inputs that make D orthogonal to all of
        them, or None if these are dependent. (sliding, n), zero where nothing couples."""
        matrix = np.zeros((len(sliding), self.n), REAL)
        for group in self._groups(sliding):
            factors = orthonormal(self.x[sliding[group]])
            if factors is None:
                return None
            touched = on[np.any(self.coupled[np.ix_(sliding[group], on)], axis=0)]
            rest = -np.dot(factors[0], self.x[touched].T)
            for i in reversed(range(len(group))):  # R u = rest
                rest[i] = (rest[i] - np.dot(factors[1][i, i + 1 :], rest[i + 1 :])) / factors[1][
                    i, i
                ]
            matrix[np.ix_(group, touched)] = rest
        return matrix

    def _groups(self, units):
        """Places in `units` that are coupled with each other, directly or through others."""
        left, groups = set(range(len(units))), []
        while left:
            group, new = [], [left.pop()]
            while new:
                group.append(new.pop())
                near = {i for i in left if self.coupled[units[group[-1]], units[i]]}
                left -= near
                new += near
            groups.append(np.sort(group))
        return groups

    def response(self, modes):
        """M: n beta = M r for a neuron of these modes, or None if its sliding inputs depend."""
        matrix = np.diag(np.where(modes == ACTIVE, REAL(1), REAL(0)))
        sliding = np.flatnonzero(modes == SLIDING)
        if len(sliding):
            held = self.held(sliding, np.flatnonzero(modes == ACTIVE))
            if held is None:
                return None
            matrix[sliding] = held
        return matrix


class Flow(Inputs):
    """The state at the start of the current step, its modes, and the series from there."""

    def __init__(self, x, y, a, w, log_scale):
        super().__init__(x)
        self.y, self.m = np.array(y, REAL), len(a)
        self.exponent = np.round(np.array(log_scale, REAL) / np.log(REAL(2)))
        rest = np.exp(np.array(log_scale, REAL) - self.exponent * np.log(REAL(2)))
        self.a, self.w = rest * np.array(a, REAL), rest[:, None] * np.array(w, REAL)
        self.p = np.dot(self.w, self.x.T)
        square = np.sum(self.w**2, axis=1)
        # Within rounding of a boundary is on it, within rounding of |a| = |w| is balanced.
        noise = 4 * self.x.shape[1] * DOUBLE
        self.p[np.abs(self.p) <= noise * np.sqrt(square)[:, None] * self.length] = 0
        self.balanced = np.abs(self.a**2 - square) <= noise * (self.a**2 + square)
        self.modes = np.where(self.p > 0, ACTIVE, INACTIVE)
        self.flat = np.zeros((self.m, self.n), int)  # leading powers of time that p_jk lacks
        self.asleep = np.zeros(self.m, bool)  # at w = 0, until some direction leads out of there
        self.normalise()
        self.residual = self.y - self.predictions()
        self.scale = max(np.max(np.abs(self.y)), np.max(np.abs(self.residual)))
        self.refresh()

    def predictions(self):
        """h, from the weights."""
        size = np.ldexp(REAL(1), 2 * self.exponent.astype(int))
        return np.dot(size * self.a, np.maximum(self.p, 0))

    def refresh(self):
        """What depends on the modes alone."""
        self.active = (self.modes == ACTIVE).astype(REAL)
        self.sign = np.where(self.modes == ACTIVE, REAL(1), REAL(-1))
        self.moving = self.modes < SLIDING
        self.sliders = np.flatnonzero(np.any(self.modes == SLIDING, axis=1))
        self.maps = {j: self.response(self.modes[j]) for j in self.sliders}

    def series(self, order) -> Series:
        """The expansion of the flow of these modes up to `order`, and zeros up to `ORDER`."""
        m, n, size = self.m, self.n, np.ldexp(REAL(1), 2 * self.exponent.astype(int))
        a, c = np.zeros((ORDER + 1, m), REAL), np.zeros((ORDER + 1, m, n), REAL)
        beta, p = np.zeros((ORDER + 1, m, n), REAL), np.zeros((ORDER + 1, m, n), REAL)
        both = np.zeros((ORDER + 1, m, 2 * n), REAL)  # beta_i beside p_(i+1)
        seen = np.zeros((ORDER + 1, m, n), REAL)  # p of active units
        r, moving = np.zeros((ORDER + 1, n), REAL), self.moving.astype(REAL)
        a[0], p[0], r[0], seen[0] = self.a, self.p, self.residual, self.active * self.p
        for i in range(order + 1):
            beta[i] = self.active * r[i]
            for j in self.sliders:
                beta[i, j] = np.dot(self.maps[j], r[i])
            if i == order:
                break
            both[i, :, :n] = beta[i]
            product = np.einsum("ij,ijk->jk", a[i::-1], both[: i + 1])
            c[i + 1] = product[:, :n] / (n * (i + 1))
            p[i + 1] = np.dot(c[i + 1], self.gram) * moving
            a[i + 1] = np.einsum("ijk,ijk->j", beta[i::-1], seen[: i + 1]) / (n * (i + 1))
            seen[i + 1] = self.active * p[i + 1]
            both[i, :, n:] = p[i + 1]
            growth = product[:, n:] + a[0][:, None] * p[i + 1] + a[i + 1][:, None] * p[0]
            r[i + 1] = -np.dot(size, growth * self.active)
        return Series(a, c, p, beta, r)

    def seen(self):
        """The residuals that move somebody, others zero. A sliding unit is moved by the others."""
        return self.residual * np.any(self.modes == ACTIVE, axis=0)

    def longest_step(self, series, order, rtol):
        """The time over which the last coefficients stay below rtol, of each neuron and of r; and
        not so long that what decays fastest, if it is gone already, comes back as rounding."""
        size = np.maximum(np.abs(self.a), np.sqrt(np.sum(self.w**2, axis=1)))
        size, now = np.where(size > 0, size, REAL(1)), np.max(np.abs(self.seen()))
        step = DECAYED / np.max(np.abs(np.linalg.eigvals(self.kernel())), initial=0.0)
        for i in (order - 1, order):
            change = np.maximum(np.abs(series.a[i]), np.abs(np.dot(series.c[i], self.x)).max(1))
            worst = np.max(change / size)
            if now > 0:
                worst = max(worst, np.max(np.abs(series.residual[i])) / now)
            if worst > 0:
                step = min(step, 0.9 * np.exp(np.log(rtol / worst) / i))
        return step

    def kernel(self):
        """K, r' = -K r, in float64."""
        size = np.ldexp(1.0, 2 * self.exponent.astype(int))
        on, active = (self.active * self.p).astype(float), self.active.astype(float)
        weight, gram = size * self.a.astype(float) ** 2, self.gram.astype(float)
        smooth = np.where(np.isin(np.arange(self.m), self.sliders), 0.0, weight)
        matrix = (active * smooth[:, None]).T @ active * gram + (on * size[:, None]).T @ on
        for j in self.sliders:
            matrix += weight[j] * active[j][:, None] * (gram @ self.maps[j].astype(float))
        return matrix / self.n

    def at(self, series, time):
        """(a, w, p, residual) after `time`."""
        powers = time ** np.arange(ORDER + 1).astype(REAL)
        total = lambda part: np.tensordot(powers, part, 1)  # noqa: E731
        w = self.w + np.dot(total(series.c), self.x)
        return total(series.a), w, total(series.p), total(series.residual)

    def accept(self, series, time):
        """Make the state after `time` the start of the next step.

        Residuals that have not decayed are taken from the weights, or the two would drift apart.
        Balanced neurons are put back on |a_j| = |w_j|, which the flow keeps: off it, errors of a
        neuron that shrinks by a factor q would grow by 1 / q^2, and change the sign of a_j.
        """
        self.a, self.w, self.p, self.residual = self.at(series, time)
        self.a = np.where(self.balanced, np.copysign(np.sqrt(np.sum(self.w**2, 1)), self.a), self.a)
        self.normalise()
        now = self.y - self.predictions()
        self.residual = np.where(np.abs(now) > 1e-2 * self.scale, now, self.residual)

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
        pull = np.sqrt(np.mean(self.seen() ** 2)) * np.max(self.length)
        if pull * time < AT_REST:
            return True
        effort = np.dot(self.active * np.abs(self.residual), self.length) / self.n
        beta = self.active * self.residual
        for j in self.sliders:
            beta[j] = np.dot(self.maps[j], self.residual)
        force = np.sqrt(np.sum(np.dot(beta, self.x) ** 2, axis=1)) / self.n
        return bool(np.all(force <= 1e3 * EPS * effort) and np.max(force) * time < UNMOVED)
