"""The critical point beside a state: linear algebra, once the pattern is given.

On a pattern, with v_j = |a_j| w_j, the outputs are linear in v:

    h_k = sum_j sign(a_j) alpha_jk <v_j, x_k>,

so that D_j = 0 for every active neuron says that r is the residual of a linear least-squares
problem: r is unique, and so is the loss. Newton's method for grad L = 0 in (a, w), singular along
every rescaling of a neuron and wherever neurons share a pattern, is not needed. Among the v that
solve it the nearest to the state is taken, |theta_j| being the measure, and (a_j, w_j) follow
from v_j with a_j^2 - |w_j|^2 as it was: the flow conserves it, so a critical point with another
value is one that this flow can never reach.

Where units slide, w_j stays in the subspace p = 0 of their boundaries.
"""

from typing import NamedTuple

import numpy as np

from .. import _modes
from ._trajectory import sliding_sets

ROUNDING = 1e-12  # of signs, relative to what they are sums of
_RANK = 1e-12  # singular values below this fraction of the largest are rounding


class State(NamedTuple):
    """Neurons at one time: a (neurons,), w (neurons, dim), mode (neurons, samples)."""

    a: np.ndarray
    w: np.ndarray
    mode: np.ndarray


def polish(x: np.ndarray, y: np.ndarray, state: State) -> tuple[State, np.ndarray]:
    """The critical point next to `state` and its residual r, shape (samples,).

    On the pattern of the state, if the solution has it. A unit that would have to cross its
    boundary is put onto it; one that nothing would keep there is let go to the side to which it
    would move; until none is left, as in active-set methods of quadratic programming. Whether
    that ended is for the caller to check: `broken_units`.
    """
    mode = state.mode
    if not len(state.a):
        return state, y
    for _ in range(4 * len(x)):
        found, r = _on_pattern(x, y, state._replace(mode=mode))
        broken, target = broken_units(x, r, found)
        if not broken.any():
            break
        mode = np.where(broken, target, mode)
    return found, r


def _on_pattern(x: np.ndarray, y: np.ndarray, state: State) -> tuple[State, np.ndarray]:
    r = critical_residual(x, y, state)
    for _ in range(3):  # the first does it; the others remove its rounding
        state = _step(x, y, r, state)
    return state, r


def broken_units(x: np.ndarray, r: np.ndarray, state: State) -> tuple[np.ndarray, np.ndarray]:
    """Which units are not in their mode at these weights, and the mode that each should try.

    For a sliding unit z(alpha) = a_j (alpha r_k - beta) has the sign of its velocity, beta being
    the alpha r_k that keeps it where it is: it goes on sliding if z(0) >= 0 >= z(1), and either
    sign of z(0) is fine at a critical point as long as beta lies between 0 and r_k.
    """
    a, w, mode = state
    slides = mode == _modes.SLIDING
    length = np.linalg.norm(w, axis=1)[:, None] * np.linalg.norm(x, axis=1)
    seen = w @ x.T
    # A resting unit stands on its boundary, with either sign of a rounded number.
    crossed = np.where(mode == _modes.ACTIVE, seen < 0.0, seen > ROUNDING * length) & ~slides
    beta, slack = clarke_coefficients(x, r, state), ROUNDING * np.abs(r).max(initial=0.0)
    outside = (beta < np.minimum(r, 0.0) - slack) | (beta > np.maximum(r, 0.0) + slack)
    released = np.where(-a[:, None] * beta > 0.0, _modes.ACTIVE, _modes.INACTIVE)
    target = np.where(slides, released, _modes.SLIDING)
    return crossed | (slides & outside), target


def critical_residual(x: np.ndarray, y: np.ndarray, state: State) -> np.ndarray:
    """y minus its projection onto the outputs that the active neurons can have."""
    # Neurons of one pattern span the same outputs: one of them will do.
    _, rows = np.unique(state.mode, axis=0, return_index=True)
    columns = _features(x, state.mode[rows]).reshape(len(x), -1)
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


def _step(x: np.ndarray, y: np.ndarray, r: np.ndarray, state: State) -> State:
    """The nearest v = |a| w with outputs y - r, and the neurons that have it."""
    a, w, mode = state
    for held, rows in sliding_sets(mode):
        w = w.copy()
        w[rows] = _project(w[rows], x[held])
    seen = np.where(mode == _modes.ACTIVE, w @ x.T, 0.0)
    defect = y - r - a @ seen
    # dv_j = |theta_j| z_j: |z| is, to first order, the distance in (a, w).
    size = np.sqrt(a**2 + np.sum(w**2, axis=1))
    columns = _features(x, mode) * (np.sign(a) * size)[:, None]
    z = np.linalg.lstsq(columns.reshape(len(x), -1), defect, rcond=_RANK)[0]
    v = np.abs(a)[:, None] * w + size[:, None] * z.reshape(w.shape)
    # |w|^2 (|w|^2 + b) = |v|^2 with b = a^2 - |w|^2; written so that nothing cancels.
    balance, squared = a**2 - np.sum(w**2, axis=1), np.sum(v**2, axis=1)
    root = np.hypot(balance, 2.0 * np.sqrt(squared))
    outer = np.where(balance > 0.0, (root + balance) / 2.0, 0.0)
    inner = np.where(balance > 0.0, 0.0, (root - balance) / 2.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        outer = np.where(balance > 0.0, outer, squared / inner)
    new = np.sqrt(np.nan_to_num(outer))
    with np.errstate(divide="ignore", invalid="ignore"):
        hidden = np.where(new[:, None] > 0.0, v / new[:, None], 0.0)
    return State(np.sign(a) * new, hidden, mode)


def clarke_coefficients(x: np.ndarray, r: np.ndarray, state: State) -> np.ndarray:
    """alpha_jk r_k of the sliding units, from D_j orthogonal to their inputs; 0 elsewhere.

    The point is Clarke stationary if these lie between 0 and r_k.
    """
    pulled = np.where(state.mode == _modes.ACTIVE, r, 0.0) @ x
    held_back = np.zeros(state.mode.shape)
    for held, rows in sliding_sets(state.mode):
        solved = np.linalg.lstsq(x[held].T, -pulled[rows].T, rcond=_RANK)[0]
        held_back[np.ix_(rows, held)] = solved.T
    return held_back
