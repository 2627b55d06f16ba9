"""The flow of a leaky ReLU network on orthonormal inputs, which the engine has no slope for.

    a_j' = 1/n sum_k alpha_jk r_k p_jk,   p_jk' = 1/n a_j alpha_jk r_k,   alpha_jk in {1, slope}

(2022, eq. 3, with the derivative of x -> max(x, slope x) for alpha). In the coordinates
p_jk = <w_j, x_k> of d = n orthonormal inputs, |w_j|^2 = sum_k p_jk^2. Both sides of a boundary
move the same way: it is crossed, nothing slides. At slope 0 a unit that arrives stays there.

Independent of the engine on purpose: NumPy, and DOP853 of scipy, begun anew at every kink.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.integrate import DOP853
from scipy.optimize import root_scalar

_RTOL = 1e-10
_DONE = 1e-20  # of the first loss
_STEPS = 200_000


class LeakyEnd(NamedTuple):
    """The loss over the first, |theta|^2, and the time where it ended."""

    left: float
    squared_norm: float
    time: float


def leaky_flow(a: np.ndarray, p: np.ndarray, y: np.ndarray, slope: float, t1: float) -> LeakyEnd:
    """From weights a (neurons,), p (neurons, samples), until the loss is 0 or to t1."""
    field = _Field(y, slope, p > 0.0)
    state = np.concatenate([a[:, None], p], axis=1).ravel()
    # Every neuron to its own accuracy: the smallest is what counts before it has grown.
    atol: Any = _RTOL * np.repeat(np.linalg.norm(p, axis=1), p.shape[1] + 1)
    time, start = 0.0, field.loss(state)
    for _ in range(_STEPS):
        solver = DOP853(field, time, state, t1, rtol=_RTOL, atol=atol)
        crossed = None
        while (
            crossed is None and solver.status == "running" and field.loss(solver.y) > _DONE * start
        ):
            solver.step()
            crossed = _first_crossing(solver, field)
        if crossed is None:
            return LeakyEnd(field.loss(solver.y) / start, float(np.sum(solver.y**2)), solver.t)
        time, unit, state = crossed
        field.active[unit] = ~field.active[unit]
        # Exactly on the boundary, where neither side is wrong.
        state.reshape(len(a), -1)[unit[0], 1 + unit[1]] = 0.0
    raise RuntimeError(f"More than {_STEPS} kinks.")


class _Field:
    """The field on one activation pattern, which the caller switches."""

    def __init__(self, y: np.ndarray, slope: float, active: np.ndarray):
        self.y, self.slope, self.active = y, slope, active.copy()

    def weights(self) -> np.ndarray:
        return np.where(self.active, 1.0, self.slope)

    def residual(self, state: np.ndarray) -> np.ndarray:
        rows = state.reshape(self.active.shape[0], -1)
        return self.y - rows[:, 0] @ (self.weights() * rows[:, 1:])

    def loss(self, state: np.ndarray) -> float:
        return float(np.mean(self.residual(state) ** 2) / 2.0)

    def __call__(self, _: float, state: np.ndarray) -> np.ndarray:
        rows = state.reshape(self.active.shape[0], -1)
        pull = self.weights() * self.residual(state) / len(self.y)
        return np.column_stack([np.sum(pull * rows[:, 1:], axis=1), rows[:, :1] * pull]).ravel()

    def wrong(self, state: np.ndarray) -> np.ndarray:
        """Units on the other side of their boundary than the pattern says."""
        p = state.reshape(self.active.shape[0], -1)[:, 1:]
        return np.where(self.active, p < 0.0, p > 0.0)


def _first_crossing(solver: DOP853, field: _Field):
    """(time, unit, state) of the first kink in the last step; None without one."""
    units = np.argwhere(field.wrong(solver.y))
    if not len(units):
        return None
    dense, width = solver.dense_output(), field.active.shape[1] + 1

    def when(unit: np.ndarray) -> float:
        place = unit[0] * width + 1 + unit[1]
        sign = 1.0 if field.active[tuple(unit)] else -1.0
        if sign * dense(dense.t_old)[place] <= 0.0:  # it stood on the boundary
            return dense.t_old
        ends = (dense.t_old, dense.t)
        return root_scalar(lambda t: dense(t)[place], bracket=ends, xtol=1e-14 * dense.t).root

    times = [when(unit) for unit in units]
    first = int(np.argmin(times))
    return times[first], tuple(units[first]), dense(times[first])
