"""What the figures of the 2026 paper show (Fig. 1, 3, 4), in numbers."""

import numpy as np

from .. import theory
from .._integration._solution import Solution
from .._model._dataset import Dataset
from .._model._network import Network
from ._claim import Claim
from ._finding import Finding
from .jump_process import figure_1, followed, process_1

_LOG_LAMBDA = -1000.0
_MIDDLE = (0.25, 0.75)  # of a plateau: where slopes are taken
_SLOPE = 0.01  # relative to |D_j|
_ANGLE = 0.01  # radians
_TURNS = 0.1  # radians


def _figures(quick: bool) -> list[Finding]:
    return _measured(process_1())


def _nothing_fitted(quick: bool) -> list[Finding]:
    """As if neurons that jump fitted nothing: rates and directions stay those of the start."""
    process, (net, data) = process_1(), figure_1()
    rates = np.tile(np.asarray(process.plateau_rates)[0], (len(process.losses), 1))
    fits = np.zeros_like(np.asarray(process.fits))
    return _found(
        followed(_LOG_LAMBDA), net, data, np.asarray(process.times(_LOG_LAMBDA)), rates, fits
    )


def _measured(process: theory.LimitProcess) -> list[Finding]:
    net, data = figure_1()
    rates, fits = np.asarray(process.plateau_rates), np.asarray(process.fits)
    times = np.asarray(process.times(_LOG_LAMBDA))
    return _found(followed(_LOG_LAMBDA), net, data, times, rates, fits)


def _found(
    sol: Solution,
    net: Network,
    data: Dataset,
    times: np.ndarray,
    rates: np.ndarray,
    fits: np.ndarray,
) -> list[Finding]:
    times = times[np.isfinite(times)]
    ts, sizes = np.asarray(sol.ts), np.asarray(sol.networks.log_norm())
    hidden = np.asarray(sol.networks.hidden)
    directions = hidden / np.linalg.norm(hidden, axis=-1, keepdims=True)
    waiting = np.ones(net.neurons, bool)
    off, slopes, angles, middles = [], [], [], []
    for i, (begin, end) in enumerate(zip([0.0, *times[:-1]], times, strict=True)):
        inside = begin + np.asarray(_MIDDLE) * (end - begin)
        first, last = np.searchsorted(ts, inside)
        slope = (sizes[last] - sizes[first]) / (ts[last] - ts[first])
        unfitted = ~np.any(fits[:i], axis=0)
        moving = waiting & (np.asarray(process_1().plateau_rates)[i] > 0.0)
        off.append(np.abs(slope - rates[i])[moving] / rates[i][moving])
        slopes.append(np.where(waiting, slope, np.nan))
        toward = _toward(net, data, unfitted)
        angles.append(_angle(directions[last], toward)[moving])
        middles.append(directions[last])
        waiting[np.asarray(process_1().neuron)[i]] = False
    # On a plateau a waiting neuron may stand still, but none grows faster than before.
    faster = np.nansum(np.diff(slopes, axis=0) > _SLOPE * rates.max())
    turned = _angle(middles[0], middles[1])[~np.isnan(slopes[1])]
    where = f"lambda = e^{_LOG_LAMBDA:g}"
    return [
        Finding(
            f"slopes of ln|w_j| on the plateaus: largest distance to |D_j|, relative, {where}",
            max(map(np.max, off)),
            "<=",
            _SLOPE,
        ),
        Finding(f"slopes that increase from one plateau to the next, {where}", faster, "==", 0.0),
        Finding(
            f"largest angle to the predicted directions, on all plateaus, {where}",
            max(map(np.max, angles)),
            "<=",
            _ANGLE,
        ),
        Finding(
            f"largest angle by which the first jump turns a neuron, {where}",
            turned.max(),
            ">=",
            _TURNS,
        ),
    ]


def _toward(net: Network, data: Dataset, unfitted: np.ndarray) -> np.ndarray:
    """sign(a_j) sum_{k unfitted, M_jk} y_k x_k, the direction of D_j on a plateau."""
    labels = np.where(np.asarray(theory.masks(net, data)) & unfitted, np.asarray(data.y), 0.0)
    return np.sign(np.asarray(net.output))[:, None] * (labels @ np.asarray(data.x))


def _angle(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Along the last axis; the vectors 0 have none, and no angle is below 1e-8 here."""
    size = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    cosine = np.sum(first * second, axis=-1) / np.where(size > 0.0, size, np.nan)
    return np.arccos(np.clip(cosine, -1.0, 1.0))


CLAIMS = (
    Claim(
        "2026-figures-3-4",
        "2026, Fig. 1, 3, 4",
        "log-norms are piecewise linear with slopes that decrease, and neurons turn quickly when "
        "others have fitted some of their samples",
        _figures,
        {"as if a jump fitted nothing": _nothing_fitted},
    ),
)
