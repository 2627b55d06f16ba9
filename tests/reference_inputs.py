"""The inputs of the oracle in extended precision, and the force on a neuron of given modes."""

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
            (q, r), size = factors, len(group)
            rest = -np.dot(q, self.x[touched].T)
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
        """M: n beta = M r for a neuron of these modes, or None if its sliding inputs depend."""
        matrix = np.diag(np.where(modes == ACTIVE, REAL(1), REAL(0)))
        sliding = np.flatnonzero(modes == SLIDING)
        if len(sliding):
            held = self.held(sliding, np.flatnonzero(modes == ACTIVE))
            if held is None:
                return None
            matrix[sliding] = held
        return matrix

    def motion(self, modes):
        """(pull, force): n p' = a r @ pull and n w' = a r @ force for a neuron of these modes.

        Each active input less its projection on the sliding ones: so sliding inputs that are
        nearly parallel, whose coefficients beta are large, cost no accuracy.
        """
        on, sliding = modes == ACTIVE, np.flatnonzero(modes == SLIDING)
        force, touching = self.x * on[:, None], self.gram != 0
        for group in self._groups(sliding):
            q = orthonormal(self.x[sliding[group]])[0]
            near = np.any(self.coupled[sliding[group]], axis=0)
            touching = touching | np.outer(near, near)
            for _ in range(2):
                force[near] -= np.dot(np.dot(force[near], q.T), q)
        pull = np.where(touching, np.dot(force, self.x.T), REAL(0))
        pull[:, sliding] = 0
        return pull, force
