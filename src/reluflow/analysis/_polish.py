"""The critical point beside a state: linear algebra, once the pattern is given.

On a pattern, with v_j = |a_j| w_j, the outputs are linear in v:

    h_k = sum_j sign(a_j) alpha_jk <v_j, x_k>,

so that D_j = 0 for every active neuron says that r is the residual of a linear least-squares
problem: r is unique, and so is the loss. Newton's method for grad L = 0 in (a, w), singular along
every rescaling of a neuron and wherever neurons share a pattern, is not needed. Among the v that
solve it the nearest to the state is taken, |theta_j| being the measure, and (a_j, w_j) follow
from v_j with a_j^2 - |w_j|^2 as it was: the flow conserves it, so a critical point with another
value is one that this flow can never reach.

The solution may lie beyond a boundary. On a pattern L is a convex quadratic of v, and this is the
active-set method for it: on the straight way to the solution, the first unit that comes to its
boundary stays there (it slides: v_j keeps <v_j, x_k> = 0), and a unit that nothing holds there
is let go, to the side to which it would move. L falls in every step, so that it ends.
"""

from typing import NamedTuple

import numpy as np

from .._model import _modes
from ._trajectory import sliding_sets

ROUNDING = 1e-12  # of signs, relative to what they are sums of
_RANK = 1e-12  # singular values below this fraction of the largest are rounding
_TOGETHER = 1e-9  # neurons of one direction come to a boundary, and leave it, at once


class State(NamedTuple):
    """Neurons at one time: a (neurons,), w (neurons, dim), mode (neurons, samples)."""

    a: np.ndarray
    w: np.ndarray
    mode: np.ndarray


def polish(x: np.ndarray, y: np.ndarray, state: State) -> tuple[State, np.ndarray]:
    """The critical point next to `state`, where some neurons may be 0, and its residual r.

    Whether the search ended is for the caller to check: `broken_units`.
    """
    if not len(state.a):
        return state, y
    v = np.abs(state.a)[:, None] * state.w
    zero = ROUNDING * _size(v).max()
    alive = _size(v) > zero
    mode = np.where(alive[:, None], state.mode, _modes.INACTIVE)
    for _ in range(4 * sum(mode.shape)):
        r = critical_residual(x, y, mode)
        target = _solve(x, y - r, v, state._replace(mode=mode)) * alive[:, None]
        share, hit = _first_crossing(x, v, target, mode)
        v = v + share * (target - v)
        mode = np.where(hit, _modes.SLIDING, mode)
        # A neuron that came to 0 came to all of its boundaries: it is no part of the critical
        # point, and nothing lets it go again.
        died = alive & (_size(v) <= zero)
        alive &= ~died
        v, mode = v * alive[:, None], np.where(alive[:, None], mode, _modes.INACTIVE)
        if hit.any() or died.any():
            continue
        excess, side = _excess(x, y, r, state._replace(mode=mode))
        if not excess.any():
            break
        mode = np.where(excess >= (1.0 - _TOGETHER) * excess.max(), side, mode)
    a, w = np.zeros(state.a.shape), np.zeros(v.shape)
    left = State(state.a[alive], state.w[alive], mode[alive])
    (a[alive], w[alive], _), r = on_pattern(x, y, v[alive], left)
    return State(a, w, mode), r


def _size(v: np.ndarray) -> np.ndarray:
    return np.linalg.norm(v, axis=1)


def on_pattern(x, y, v: np.ndarray, state: State) -> tuple[State, np.ndarray]:
    """The solution on the pattern of `state` that is nearest to v, wherever it lies."""
    r = critical_residual(x, y, state.mode)
    for _ in range(3):  # the first does it; the others remove its rounding
        v = _solve(x, y - r, v, state)
    return _balanced(v, state), r


def _first_crossing(x, v, target, mode) -> tuple[float, np.ndarray]:
    """How far on the way from v to the target the first unit leaves its side, and which do."""
    before, after = v @ x.T, target @ x.T
    length = np.linalg.norm(target, axis=1)[:, None] * np.linalg.norm(x, axis=1)
    side = np.where(mode == _modes.ACTIVE, 1.0, -1.0)
    crosses = (side * after < -ROUNDING * length) & (mode != _modes.SLIDING)
    if not crosses.any():
        return 1.0, crosses
    before = np.maximum(side * before, 0.0)  # a unit at rest has a rounded number there
    share = np.divide(before, before - side * after, out=np.ones(mode.shape), where=crosses)
    first = share[crosses].min()
    return float(first), crosses & (share <= first + _TOGETHER)


def _excess(x, y, r, state: State) -> tuple[np.ndarray, np.ndarray]:
    """How strongly a sliding unit is drawn off its boundary, 0 if not, and the mode it leaves in.

    Its velocity p_jk' has the sign of a_j (alpha r_k - beta), beta being the alpha r_k that
    makes it 0. It leaves to the active side if it is positive with alpha = 1, to the inactive
    one if it is negative with alpha = 0; where both hold (a repulsive boundary: beta is between
    0 and r_k, but L falls to either side), where it is drawn more strongly.
    """
    beta, sign = clarke_coefficients(x, r, state), np.sign(state.a)[:, None]
    up, down = sign * (r - beta), sign * beta
    slides = state.mode == _modes.SLIDING
    excess = np.where(slides, np.maximum(up, down), 0.0)
    excess = np.where(excess > ROUNDING * np.abs(y).max(), excess, 0.0)
    return excess, np.where(up > down, _modes.ACTIVE, _modes.INACTIVE)


def broken_units(x: np.ndarray, y: np.ndarray, r: np.ndarray, state: State) -> np.ndarray:
    """Which units are not where their modes say, or are not held on their boundaries."""
    seen = state.w @ x.T
    length = np.linalg.norm(state.w, axis=1)[:, None] * np.linalg.norm(x, axis=1)
    # A resting unit stands on its boundary, with either sign of a rounded number.
    wrong = np.where(
        state.mode == _modes.ACTIVE, seen < -ROUNDING * length, seen > ROUNDING * length
    )
    off = (state.mode == _modes.SLIDING) & (np.abs(seen) > ROUNDING * length)
    excess, _ = _excess(x, y, r, state)
    return wrong | off | (excess > 0.0)


def critical_residual(x: np.ndarray, y: np.ndarray, mode: np.ndarray) -> np.ndarray:
    """y minus its projection onto the outputs that active neurons of these modes can have."""
    # Neurons of one pattern span the same outputs: one of them will do.
    _, rows = np.unique(mode, axis=0, return_index=True)
    columns = _features(x, mode[rows]).reshape(len(x), -1)
    basis, singular, _ = np.linalg.svd(columns, full_matrices=False)
    basis = basis[:, singular > _RANK * singular.max(initial=0.0)]
    r = y - basis @ (basis.T @ y)
    return r - basis @ (basis.T @ r)  # once more, against rounding


def _features(x: np.ndarray, mode: np.ndarray) -> np.ndarray:
    """alpha_jk P_j x_k, shape (samples, neurons, dim), P_j onto where the neuron may move."""
    features = np.where((mode == _modes.ACTIVE).T[:, :, None], x[:, None, :], 0.0)
    for held, rows in sliding_sets(mode):
        features[:, rows] = _project(features[:, rows], x[held])
    return features


def _project(vectors: np.ndarray, normals: np.ndarray) -> np.ndarray:
    basis, singular, _ = np.linalg.svd(normals.T, full_matrices=False)
    basis = basis[:, singular > _RANK * singular.max()]
    return vectors - (vectors @ basis) @ basis.T


def _solve(x: np.ndarray, outputs: np.ndarray, v: np.ndarray, state: State) -> np.ndarray:
    """The v nearest to the given one that has these outputs on the pattern of `state`."""
    a, w, mode = state
    for held, rows in sliding_sets(mode):
        v = v.copy()
        v[rows] = _project(v[rows], x[held])
    sign = np.sign(a)
    defect = outputs - sign @ np.where(mode == _modes.ACTIVE, v @ x.T, 0.0)
    # dv_j = |theta_j| z_j: |z| is, to first order, the distance in (a, w).
    size = np.sqrt(a**2 + np.sum(w**2, axis=1))
    columns = _features(x, mode) * (sign * size)[:, None]
    z = np.linalg.lstsq(columns.reshape(len(x), -1), defect, rcond=_RANK)[0]
    return v + size[:, None] * z.reshape(v.shape)


def _balanced(v: np.ndarray, state: State) -> State:
    """(a, w) with |a| w = v and with the sign of a_j and the a_j^2 - |w_j|^2 of `state`.

    |w|^2 (|w|^2 + b) = |v|^2 with b = a^2 - |w|^2; written so that nothing cancels.
    """
    balance = state.a**2 - np.sum(state.w**2, axis=1)
    squared = np.sum(v**2, axis=1)
    root = np.hypot(balance, 2.0 * np.sqrt(squared))
    with np.errstate(divide="ignore", invalid="ignore"):
        smaller = squared / ((root - balance) / 2.0)
        outer = np.sqrt(np.nan_to_num(np.where(balance > 0.0, (root + balance) / 2.0, smaller)))
        hidden = np.where(outer[:, None] > 0.0, v / outer[:, None], 0.0)
    return State(np.sign(state.a) * outer, hidden, state.mode)


def clarke_coefficients(x: np.ndarray, r: np.ndarray, state: State) -> np.ndarray:
    """alpha_jk r_k of the sliding units, from D_j orthogonal to their inputs; 0 elsewhere.

    0 is in Clarke's subdifferential if these lie between 0 and r_k.
    """
    pulled = np.where(state.mode == _modes.ACTIVE, r, 0.0) @ x
    held_back = np.zeros(state.mode.shape)
    for held, rows in sliding_sets(state.mode):
        solved = np.linalg.lstsq(x[held].T, -pulled[rows].T, rcond=_RANK)[0]
        held_back[np.ix_(rows, held)] = solved.T
    return held_back
