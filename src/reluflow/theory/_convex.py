"""The smallest network that fits a small data set, by convex optimisation, with a certificate."""

from typing import Any, NamedTuple

import numpy as np
import scipy

from .._model._dataset import Dataset
from .._model._losses import logistic
from .._model._network import Network
from .._support._checks import check_type
from ._arrangement import activation_patterns

_MOST_SAMPLES, _MOST_DIMENSIONS = 8, 3
_ZERO = 1e-6  # of the largest: below it, a neuron that the solver returns is its rounding
_ON_BOUNDARY = 1e-5  # the cosine of <w, x_k>, below which the solver means 0


class Interpolator(NamedTuple):
    """A network that fits the data with as small a norm as there is, and the proof of it.

    Fields:
        network: the one that fits them, balanced.
        squared_norm: its |theta|^2.
        lower_bound: none that fits has a smaller |theta|^2. From the dual variables, whose
            constraints were checked one by one, and not from the solver's word.
        interpolation_error: max_k |h(x_k) - y_k| of `network`, or by how much a margin is below 1:
            rounding; anything more says that the solver's solution could not be made exact, and
            `squared_norm` is off by as much.
        dual: nu, (samples,), feasible: |sum_k nu_k relu(<w, x_k>)| <= |w| for every w.
        patterns: the number of activation patterns.
    """

    network: Network
    squared_norm: float
    lower_bound: float
    interpolation_error: float
    dual: np.ndarray
    patterns: int


def minimal_norm_interpolator(data: Dataset) -> Interpolator:
    """min |theta|^2 over h(x_k) = y_k, any width, for at most 8 inputs of at most 3 dimensions.

        min sum_i |v_i| + |u_i|   with   sum_i D_i X (v_i - u_i) = y,
        (2 D_i - 1) X v_i >= 0,  (2 D_i - 1) X u_i >= 0,

    over the activation patterns D_i, all of them: v_i is the sum of a_j w_j over the neurons of
    a_j > 0 with pattern D_i, u_i the same of -a_j w_j for a_j < 0. |theta|^2 is twice the
    minimum. The dual is max <nu, y> with |sum_k nu_k relu(<w, x_k>)| <= |w| for all w.

    Inputs need not be orthogonal; for those that are, `minimal_squared_norm` is the closed form.
    A bias that is not to be penalised is another problem: here it is a coordinate of x.

    Needs the extra `theory` (cvxpy). Concrete values only.

    Source: Pilanci & Ergen 2020, Theorem 1, in the limit of no regularisation.

    Raises:
        ValueError: too many samples or dimensions.
        ImportError: cvxpy is not installed.
        RuntimeError: the solver did not find an optimum.
    """
    x, y = _checked(data)
    # The problem is linear in y, so the solver sees labels of size 1.
    size = np.max(np.abs(y))
    patterns = activation_patterns(x)
    if size == 0.0:
        nothing = Network(np.zeros(1), np.zeros(1), np.zeros((1, x.shape[1])))
        return Interpolator(nothing, 0.0, 0.0, 0.0, np.zeros(len(y)), len(patterns))
    positive, negative, dual = _solve(x, y / size, patterns, margins=False)
    steepness = _steepness(x, dual, patterns)
    dual = dual / max(1.0, steepness)
    network = _network(x, y, size * positive, size * negative)
    return Interpolator(
        network=network,
        squared_norm=float(network.squared_norm()),
        lower_bound=2.0 * float(dual @ y),
        interpolation_error=float(np.max(np.abs(np.asarray(network(x)) - y))),
        dual=dual,
        patterns=len(patterns),
    )


def max_margin_network(data: Dataset) -> Interpolator:
    """min |theta|^2 over y_k h(x_k) >= 1 for labels 1 and -1: the largest margin there is.

    As `minimal_norm_interpolator`, with sum_i y_k (D_i X (v_i - u_i))_k >= 1 for its equations; the
    dual is max sum_k |nu_k| with the same bounds and nu_k y_k >= 0. The margin over |theta|^2 is
    1 / `squared_norm`: no network has a larger one.

    Raises: as `minimal_norm_interpolator`; ValueError for other labels.
    """
    x, y = _checked(data)
    logistic.check_labels(data.y)
    patterns = activation_patterns(x)
    positive, negative, dual = _solve(x, y, patterns, margins=True)
    dual = np.where(dual * y > 0.0, dual, 0.0)
    dual = dual / max(1.0, _steepness(x, dual, patterns))
    on = np.where(patterns, 1.0, 0.0)
    reached = np.sum(on * ((positive - negative) @ x.T), axis=0)
    network = _network(x, y * np.maximum(1.0, y * reached), positive, negative)
    return Interpolator(
        network=network,
        squared_norm=float(network.squared_norm()),
        lower_bound=2.0 * float(dual @ y),
        interpolation_error=float(np.max(1.0 - y * np.asarray(network(x)), initial=0.0)),
        dual=dual,
        patterns=len(patterns),
    )


def _checked(data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """(x, y), few enough."""
    check_type("data", data, Dataset)
    x, y = np.asarray(data.x), np.asarray(data.y)
    if len(y) > _MOST_SAMPLES or x.shape[1] > _MOST_DIMENSIONS:
        raise ValueError(
            f"Argument `data` must have at most {_MOST_SAMPLES} samples of at most "
            f"{_MOST_DIMENSIONS} dimensions, but it has {len(y)} of {x.shape[1]}: the number of "
            "activation patterns grows as samples^dimensions."
        )
    return x, y


def _cvxpy():
    """An import of its own: only this function needs it."""
    try:
        import cvxpy
    except ImportError as error:
        raise ImportError(
            "This function needs cvxpy, which is not installed. Install the extra: "
            "pip install 'reluflow[theory]'."
        ) from error
    return cvxpy


def _solve(x: np.ndarray, y: np.ndarray, patterns: np.ndarray, margins: bool):
    """v (patterns, dim), u (patterns, dim), nu (samples,), as the solver returns them.

    margins: whether y_k h(x_k) >= 1 is asked for rather than h(x_k) = y_k."""
    cp = _cvxpy()
    shape = (len(patterns), x.shape[1])
    v, u = cp.Variable(shape), cp.Variable(shape)
    sides = np.where(patterns, 1.0, -1.0)
    prediction = cp.sum(cp.multiply(patterns.astype(float), (v - u) @ x.T), axis=0)
    # (cvxpy declares its comparisons as bool.)
    fits: Any = cp.multiply(y, prediction) >= 1.0 if margins else prediction == y
    cones: list[Any] = [cp.multiply(sides, part @ x.T) >= 0.0 for part in (v, u)]
    norm = cp.sum(cp.norm(v, axis=1)) + cp.sum(cp.norm(u, axis=1))
    problem = cp.Problem(cp.Minimize(norm), [fits, *cones])
    try:
        problem.solve()
    except cp.SolverError as error:
        raise RuntimeError(f"The conic solver failed: {error}") from error
    if problem.status != cp.OPTIMAL:
        raise RuntimeError(
            f"The conic solver ended with status {problem.status!r}. Look for inputs that are "
            "almost parallel with different labels."
        )
    nu = np.asarray(fits.dual_value) * (y if margins else 1.0)
    # The sign of a multiplier is the solver's convention: at the optimum <nu, y> is positive.
    return np.asarray(v.value), np.asarray(u.value), nu * np.sign(nu @ y)


def _steepness(x: np.ndarray, nu: np.ndarray, patterns: np.ndarray) -> float:
    """max_{|w| <= 1} |sum_k nu_k relu(<w, x_k>)|: nu is feasible where this is at most 1.

    On the cone C of pattern D it is linear, <g, w> with g = +-X^T D nu, and its maximum is the
    norm of the projection of g onto C = {w : B w >= 0}, B = (2 D - 1) X. By Moreau that is
    min_{mu >= 0} |g + B^T mu|, a non-negative least squares problem.
    """
    worst = 0.0
    for pattern in patterns:
        normals = (np.where(pattern, 1.0, -1.0)[:, None] * x).T
        for sign in (1.0, -1.0):
            _, distance = scipy.optimize.nnls(normals, -sign * x.T @ (pattern * nu))
            worst = max(worst, float(distance))
    return worst


def _network(x: np.ndarray, y: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> Network:
    """Balanced neurons with a_j w_j = +-v, moved by the solver's error so that they interpolate.

    The move keeps the patterns: it is the least one, relative to each neuron's size, that solves
    the linear equations of its pattern, and on a boundary it stays there.
    """
    effect = np.concatenate([positive, negative])
    sign = np.repeat([1.0, -1.0], [len(positive), len(negative)])
    size = np.linalg.norm(effect, axis=1)
    kept = size > _ZERO * size.max()
    effect, sign, size = effect[kept], sign[kept], size[kept]
    cosine = effect @ (x / np.linalg.norm(x, axis=1, keepdims=True)).T / size[:, None]
    moves = []
    for j, cosines in enumerate(cosine):
        on = x[np.abs(cosines) < _ON_BOUNDARY]
        along = np.eye(x.shape[1]) - np.linalg.pinv(on) @ on  # onto the boundaries it is on
        effect[j] = along @ effect[j]
        moves.append(sign[j] * (cosines > _ON_BOUNDARY)[:, None] * x @ along * np.sqrt(size[j]))
    equations = np.concatenate(moves, axis=1)
    missing = y - sum(m @ e / np.sqrt(s) for m, e, s in zip(moves, effect, size, strict=True))
    move = np.linalg.lstsq(equations, missing)[0].reshape(effect.shape)
    effect = effect + move * np.sqrt(size)[:, None]
    root = np.sqrt(np.linalg.norm(effect, axis=1))
    return Network.from_weights(sign * root, effect / root[:, None])
