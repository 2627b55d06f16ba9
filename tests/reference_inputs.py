"""The inputs of the oracle in extended precision, and the force on a neuron of given modes.

A unit belongs to a line through 0 with inputs on it: x_k = factor_k u_b, b = line[k], u_b the first
input of the line. Its mode is the side of <w, u_b> = 0; on either side the activation has a slope
at sample k, of ReLU 1 where <w, x_k> > 0 and 0 elsewhere. Everything about neurons is by lines,
residuals and forces are by samples.
"""

import numpy as np

INACTIVE, ACTIVE, SLIDING, RESTING = range(4)
REAL = np.longdouble  # 64 bits of mantissa on x86; where it is float64 all is less exact
EPS = np.finfo(REAL).eps
DOUBLE = np.finfo(np.float64).eps  # to which the data of a problem are known
DEPENDENT = 1e-14  # of its length: what of an input may lie outside a span that it belongs to


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
    """The inputs in extended precision, and the Gram matrix of the u_b, exactly zero where it is
    zero to the rounding of the data."""

    def __init__(self, x, slopes=(0.0, 1.0)):
        self.x, self.slopes = np.array(x, REAL), np.array(slopes, REAL)
        self.n = len(self.x)
        self.first, self.line, self.factor = self._lines()
        minus, plus = self.slopes
        there = self.factor != 0
        self.above = np.where(self.factor > 0, plus, minus) * there
        self.below = np.where(self.factor > 0, minus, plus) * there
        self.u, self.lines = self.x[self.first], len(self.first)
        gram = np.dot(self.u, self.u.T)
        self.length = np.sqrt(np.diag(gram))
        noise = 4 * self.x.shape[1] * DOUBLE * np.outer(self.length, self.length)
        self.gram = np.where(np.abs(gram) > noise, gram, REAL(0))
        self.coupled = (self.gram != 0) & ~np.eye(self.lines, dtype=bool)
        self.basis = self._basis()  # of the span of the inputs
        self.rank = len(self.basis)
        self.cross = self.factor[:, None] * self.gram[self.line]  # <x_k, u_b>
        self.size = np.abs(self.factor) * self.length[self.line]  # |x_k|
        on = self.line[:, None] == np.arange(self.lines)
        self.factors = np.where(on, self.factor[:, None], REAL(0))  # (samples, lines)
        self.two_sided = np.any(self.below[:, None] * self.factors != 0, axis=0)

    def _lines(self):
        """The first sample of each line; of each sample its line, and its factor there."""
        first, line = [], np.zeros(self.n, int)
        factor = np.zeros(self.n, REAL)
        same = 8 * DOUBLE * np.sqrt(self.x.shape[1])
        for k, x in enumerate(self.x):
            length = np.sqrt(np.dot(x, x))
            if length == 0:
                continue
            for b, other in enumerate(first):
                u = self.x[other]
                share = np.dot(x, u) / np.dot(u, u)
                if np.sqrt(np.sum((x - share * u) ** 2)) <= same * length:
                    line[k], factor[k] = b, share
                    break
            else:
                line[k], factor[k] = len(first), 1
                first.append(k)
        return np.array(first, int), line, factor

    def slope(self, modes):
        """Of modes (..., lines), the slope at each sample, (..., samples)."""
        mode = modes[..., self.line]
        return np.select([mode == ACTIVE, mode == INACTIVE], [self.above, self.below], REAL(0))

    def activation(self, p):
        """phi of preactivations."""
        return np.where(p > 0, self.slopes[1] * p, self.slopes[0] * p)

    def pulled(self, modes):
        """The lines whose inputs move a neuron of these modes."""
        off = (modes == INACTIVE) & self.two_sided
        return (modes == ACTIVE) | (modes == SLIDING) | off

    def low(self, residual):
        """What the samples of each line pull with on its negative side."""
        return np.dot(residual * self.below, self.factors)

    def jump(self, residual):
        """By how much more they do on its positive side."""
        return np.dot(residual * (self.above - self.below), self.factors)

    def _basis(self):
        chosen = np.zeros((0, self.x.shape[1]), REAL)
        for row in self.u:
            found = orthonormal(np.vstack([chosen, row]))
            chosen = chosen if found is None else found[0]
        return chosen

    def span(self, units):
        """The dimension of the span of some lines."""
        chosen = np.zeros((0, self.x.shape[1]), REAL)
        for unit in units:
            found = orthonormal(np.vstack([chosen, self.u[unit]]))
            chosen = chosen if found is None else found[0]
        return len(chosen)

    def held(self, sliding, slope):
        """beta = held @ r: the coefficients of the sliding u_b that make D orthogonal to all of
        them, or None if these are dependent. (sliding, n), zero where nothing couples; `slope` is
        that of each sample."""
        on = np.flatnonzero(slope)
        matrix = np.zeros((len(sliding), self.n), REAL)
        for group in self._groups(sliding):
            factors = orthonormal(self.u[sliding[group]])
            if factors is None:
                return None
            touched = on[np.any(self.coupled[np.ix_(sliding[group], self.line[on])], axis=0)]
            (q, r), size = factors, len(group)
            rest = -np.dot(q, (slope[touched, None] * self.x[touched]).T)
            for i in reversed(range(size)):  # r u = rest
                rest[i] = (rest[i] - np.dot(r[i, i + 1 :], rest[i + 1 :])) / r[i, i]
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
        """M: n beta = M r for a neuron of these modes, (lines, samples), or None if its sliding
        lines depend."""
        slope = self.slope(modes)
        matrix = (slope[:, None] * self.factors).T
        sliding = np.flatnonzero(modes == SLIDING)
        if len(sliding):
            held = self.held(sliding, slope)
            if held is None:
                return None
            matrix[sliding] = held
        return matrix

    def motion(self, modes):
        """(pull, force): n p' = a r @ pull and n w' = a r @ force for a neuron of these modes.

        Each active input less its projection on the sliding ones: so sliding inputs that are
        nearly parallel, whose coefficients beta are large, cost no accuracy.
        """
        slope, sliding = self.slope(modes), np.flatnonzero(modes == SLIDING)
        force, touching = self.x * slope[:, None], self.cross != 0
        for group in self._groups(sliding):
            q = orthonormal(self.u[sliding[group]])[0]
            near = np.any(self.coupled[sliding[group]], axis=0)
            samples = near[self.line] & (self.factor != 0)
            touching = touching | np.outer(samples, near)
            for _ in range(2):
                force[samples] -= np.dot(np.dot(force[samples], q.T), q)
        pull = np.where(touching, np.dot(force, self.u.T), REAL(0))
        pull[:, sliding] = 0
        return pull, force
