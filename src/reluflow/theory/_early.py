"""Where neurons turn while the network is still nothing: 2022, eq. 9 and 10, in closed form."""

import numpy as np

from .._model._dataset import Dataset
from .._model._network import Network, check_paper_pair
from .._support._checks import as_float64, check_ndim
from ._orthogonal import lengths, masks, require_orthogonal

_BALANCED = 1e-12  # relative: rounding of a norm


def early_directions(net: Network, data: Dataset, ts) -> np.ndarray:
    """w_j / |w_j| at the given times, under h = 0, shape (time, neurons, dim).

        w_j' = s_j (D_j - <D_j, w_j> w_j) on the sphere,   D_j = 1/n sum_{<w_j, x_k> > 0} y_k x_k,

    for orthogonal inputs and balanced neurons, through all events. With A = int |a_j| dt,

        <w_j, x_k> = <w_j(0), x_k> + s_j y_k |x_k|^2 A / n

    while it is positive, so a unit of s_j y_k < 0 is inactive, for good, from A = n <w_j(0), x_k> /
    (|y_k| |x_k|^2) on. Between two such A, |a_j|'' = |D_j|^2 |a_j|.

    Raises:
        ValueError: inputs not orthogonal, neurons not balanced, or times below 0.

    Source: 2022 paper, eq. 9 and 10; the proof of its Lemma 12 solves the last piece.
    """
    check_paper_pair(net, data)
    require_orthogonal(data, "the closed form of the early phase")
    ts = np.asarray(as_float64("ts", ts))
    check_ndim("ts", ts, ("times",))
    if not np.all(ts >= 0.0):
        raise ValueError("Argument `ts` must hold times of at least 0, but it does not everywhere.")
    _check_balanced(net)
    x, y, n = np.asarray(data.x), np.asarray(data.y), data.samples
    output, hidden = np.asarray(net.output), np.asarray(net.hidden)
    start = hidden @ x.T
    turned = np.empty((len(ts), *hidden.shape))
    for j, sign in enumerate(np.sign(output)):
        pull = sign * y / n
        with np.errstate(divide="ignore"):
            off = np.where(
                pull < 0.0, start[j] / np.abs(pull) / np.asarray(lengths(data)) ** 2, np.inf
            )
        off = np.where(start[j] > 0.0, off, -np.inf)
        turned[:, j] = _neuron(ts, hidden[j], x, pull, off)
    return turned


def _check_balanced(net: Network) -> None:
    a, w = np.abs(np.asarray(net.output)), np.linalg.norm(np.asarray(net.hidden), axis=1)
    off = np.flatnonzero(np.abs(a - w) > _BALANCED * w)
    if len(off):
        raise ValueError(
            "Argument `net` must have balanced neurons, |a_j| = |w_j|, but of neuron "
            f"{off[0]} they are {a[off[0]]:.6g} and {w[off[0]]:.6g} (over its scale)."
        )


def pattern_directions(net: Network, data: Dataset) -> np.ndarray:
    """s_j sum_k y_k x_k over the samples that neuron j can fit, shape (neurons, dim).

    What it turns to (2022, after eq. 10): n |D_j| times a unit vector, the same for neurons of the
    same `masks`; 0 for a neuron that can fit none.
    """
    return np.asarray(masks(net, data)) * np.abs(np.asarray(data.y)) @ np.asarray(data.x)


def _neuron(ts, w, x, pull, off) -> np.ndarray:
    """One neuron's directions: pull_k = s y_k / n, and the A at which unit k becomes inactive."""
    directions = np.empty((len(ts), len(w)))
    begin, area, size = 0.0, 0.0, float(np.linalg.norm(w))
    for end_area in [*np.sort(off[np.isfinite(off)]), np.inf]:
        force = np.where(off > area, pull, 0.0) @ x
        kappa, growth = float(np.linalg.norm(force)), float(force @ w)
        length = _until(end_area - area, kappa, size, growth)
        span = (ts >= begin) & (ts <= begin + length)
        directions[span] = _turned(ts[span] - begin, w, force, kappa, size, growth)
        if not np.isfinite(length):
            break
        w = w + force * (end_area - area)
        size, area, begin = float(np.linalg.norm(w)), end_area, begin + length
    return directions


def _until(area: float, kappa: float, size: float, growth: float) -> float:
    """When A has grown by `area`: with E = e^{kappa t}, the larger root of

    (kappa a + g) E^2 - 2 (g + kappa^2 A) E + (g - kappa a) = 0,   a = size, g = a'.
    """
    if not np.isfinite(area) or kappa * size + growth <= 0.0:
        return np.inf
    leading, middle, last = kappa * size + growth, growth + kappa**2 * area, growth - kappa * size
    return float(np.log((middle + np.sqrt(middle**2 - leading * last)) / leading) / kappa)


def _turned(t, w, force, kappa, size, growth) -> np.ndarray:
    """The direction of w + force A(t), over e^{kappa t}, which may overflow."""
    if kappa == 0.0:
        return np.broadcast_to(w / np.linalg.norm(w), (len(t), len(w)))
    shrunk = np.exp(-kappa * t)[:, None]
    sinh, cosh_less_1 = (1.0 - shrunk**2) / 2.0, (1.0 - shrunk) ** 2 / 2.0
    now = shrunk * w + force * (size * sinh / kappa + growth * cosh_less_1 / kappa**2)
    return now / np.linalg.norm(now, axis=1, keepdims=True)
