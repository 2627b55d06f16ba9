"""A trajectory as the analysis sees it: the saved states, their modes, and what pulls on them.

    D_j = 1/n sum_k alpha_jk r_k x_k,      a_j' = <D_j, w_j>,      w_j' = a_j D_j

(2022, eq. 3). Everything here is NumPy on concrete solutions, in scaled coordinates: of a
neuron of size e^-10000 only the logarithm of the size is ever formed.
"""

from typing import NamedTuple

import numpy as np
import scipy

from .. import _modes
from .._checks import check_type
from .._dataset import Dataset
from .._network import Network, check_as_in_papers
from .._solution import Solution, saved

_OPPOSITE = {
    _modes.INACTIVE: _modes.ACTIVE,
    _modes.ACTIVE: _modes.INACTIVE,
    _modes.SLIDING: _modes.SLIDING,
    _modes.RESTING: _modes.RESTING,
}
_SAME = 1e-9  # residuals that agree so well, relative to what they are sums of, are the same


class Trajectory(NamedTuple):
    """The finite saves of one trajectory.

    Fields: ts, losses (time,); log_scale, output (time, neurons); hidden (time, neurons, dim);
    mode (time, neurons, samples), see `_modes`; residual (time, samples);
    force (time, neurons, dim), the D_j on these modes.
    """

    ts: np.ndarray
    losses: np.ndarray
    log_scale: np.ndarray
    output: np.ndarray
    hidden: np.ndarray
    mode: np.ndarray
    residual: np.ndarray
    force: np.ndarray

    @classmethod
    def of(cls, sol: Solution, data: Dataset) -> "Trajectory":
        """Raises for lanes, for saves that are no networks, for the data of another run, and for
        what is no flow of ReLU under the square loss."""
        check_type("data", data, Dataset)
        kept = saved_times(sol)
        nets = networks(sol, data)
        check_as_in_papers(nets, data, sol.loss)
        ts, losses = np.asarray(sol.ts)[kept], np.asarray(sol.losses)[kept]
        log_scale = np.asarray(nets.log_scale)[kept]
        output, hidden = np.asarray(nets.output)[kept], np.asarray(nets.hidden)[kept]
        x, y = np.asarray(data.x), np.asarray(data.y)
        preactivation = hidden @ x.T
        mode = modes(sol.events, ts, preactivation, data)
        seen = np.where(mode == _modes.ACTIVE, preactivation, 0.0)
        predicted = np.einsum("tj,tjk->tk", np.exp(2.0 * log_scale) * output, seen)
        residual = y - predicted
        size = np.einsum("tj,tjk->tk", np.exp(2.0 * log_scale) * np.abs(output), np.abs(seen))
        _check_losses(ts, losses, residual, y, size)
        force = forces(x, residual[:, None, :], mode)
        return cls(ts, losses, log_scale, output, hidden, mode, residual, force)

    def log_size(self) -> np.ndarray:
        """ln(|a_j| |w_j|), shape (time, neurons); -inf where either is 0."""
        return 2.0 * self.log_scale + _log(np.abs(self.output) * _norm(self.hidden))

    def log_squared_norm(self) -> np.ndarray:
        """ln(a_j^2 + |w_j|^2), shape (time, neurons)."""
        return 2.0 * self.log_scale + _log(self.output**2 + _norm(self.hidden) ** 2)

    def slope(self) -> np.ndarray:
        """d/dt of half of it, 2 a_j <D_j, w_j> / (a_j^2 + |w_j|^2), shape (time, neurons).

        At most |D_j|, and |D_j| just where w_j is along sign(a_j) D_j and |a_j| = |w_j|: that
        is what being aligned means.
        """
        pull = np.einsum("tjd,tjd->tj", self.force, self.hidden)
        squares = self.output**2 + _norm(self.hidden) ** 2
        return 2.0 * self.output * pull / np.where(squares > 0.0, squares, 1.0)

    def log_power(self) -> np.ndarray:
        """ln(<D_j, w_j>^2 + a_j^2 |D_j|^2), shape (time, neurons): its part of |grad L|^2."""
        pull = np.einsum("tjd,tjd->tj", self.force, self.hidden)
        return 2.0 * self.log_scale + _log(pull**2 + (self.output * _norm(self.force)) ** 2)

    def rate(self) -> np.ndarray:
        """|D_j|, shape (time, neurons): how fast each neuron moves, relative to its size."""
        return _norm(self.force)


def _check_losses(ts, losses, residual, y, size) -> None:
    """Raises ValueError where the residuals are not those of the losses that were saved.

    size: (time, samples), the sum of the absolute values of what a prediction is a sum of; of that
    its rounding is a part.
    """
    here, there = np.sqrt(np.mean(residual**2, axis=1)), np.sqrt(2.0 * losses)
    rounding = _SAME * np.sqrt(np.mean((np.abs(y) + size) ** 2, axis=1))
    apart = np.abs(here - there) / np.maximum(rounding, np.finfo(np.float64).tiny)
    if apart.max() > 1.0:
        i = int(np.argmax(apart))
        raise ValueError(
            "Argument `data` must be the data set of the run, but the saved network at "
            f"t = {ts[i]:.6g} has the loss {here[i] ** 2 / 2.0:.6g} on it, and {losses[i]:.6g} was "
            "saved."
        )


def saved_times(sol: Solution) -> np.ndarray:
    """Which places of the buffers hold a save, of which there must be one, shape (time,)."""
    kept = saved(sol)
    if not kept.any():
        raise ValueError("Argument `sol` must have saved times, but it has none.")
    return kept


def networks(sol: Solution, data: Dataset | None = None) -> Network:
    """The saved networks, with their leading time axis (padding included)."""
    saved_times(sol)
    nets = sol.networks
    if not isinstance(nets, Network) or nets.hidden.ndim != 3:
        raise ValueError(
            "Argument `sol` must hold the networks it went through, but it holds "
            f"{type(nets).__name__}. Integrate with `saveat=diffrax.SaveAt(ts=...)`, without `fn`."
        )
    if data is not None and nets.dim != data.dim:
        raise ValueError(
            "Arguments `sol` and `data` must have the same input dimension, but they have "
            f"{nets.dim} and {data.dim}."
        )
    return nets


def modes(events, ts: np.ndarray, preactivation: np.ndarray, data: Dataset) -> np.ndarray:
    """The mode of every unit at the given times, shape (time, neurons, samples).

    From the events: what the last event of a unit left it in; before its first event, what that
    event found. A unit without events is what it was at the first save. Not what its sign says
    at the others: an inactive <w_j, x_k> of orthogonal inputs stays as small as it was while
    w_j grows, and is soon below the rounding of its neuron. Where no events were recorded at
    all, as by `rf.descent`, there are only the signs.

    An event is one of all samples on its boundary: of those opposite to the first, the other way.
    """
    if np.shape(events.time)[-1] == 0:
        return np.where(preactivation > 0.0, _modes.ACTIVE, _modes.INACTIVE).astype(np.int8)
    first = np.where(preactivation[0] > 0.0, _modes.ACTIVE, _modes.INACTIVE).astype(np.int8)
    mode = np.repeat(first[None], len(ts), axis=0)
    count = min(int(events.count), np.shape(events.time)[-1])
    columns = (events.time, events.neuron, events.sample, events.before, events.after)
    sides, seen = _sides(data), set()
    for time, j, k, *two in zip(*(np.asarray(c)[:count] for c in columns), strict=True):
        for sample, same in sides[int(k)]:
            before, after = two if same else (_OPPOSITE[mode] for mode in two)
            if (j, sample) not in seen:
                mode[ts < time, j, sample] = before
                seen.add((j, sample))
            mode[ts >= time, j, sample] = after
    return mode


def _sides(data: Dataset) -> dict[int, list[tuple[int, bool]]]:
    """The samples on each boundary, by the first of them, and whether they are on its side."""
    x = np.asarray(data.x)
    boundaries = data.boundaries().items()
    return {first: [(k, bool(x[k] @ x[first] > 0.0)) for k in on] for first, on in boundaries}


def forces(x: np.ndarray, residual: np.ndarray, mode: np.ndarray) -> np.ndarray:
    """D_j on given modes, shape (..., neurons, dim), for residuals (..., 1 or neurons, samples).

    Where units slide, D_j is the pull of the active ones, projected onto the orthogonal
    complement of the inputs along whose boundaries the neuron slides: p = 0 is kept there.
    """
    force = np.where(mode == _modes.ACTIVE, residual, 0.0) @ x / len(x)
    for held, rows in sliding_sets(mode):
        basis = scipy.linalg.orth(x[held].T)
        force[rows] -= (force[rows] @ basis) @ basis.T
    return force


def sliding_sets(mode: np.ndarray):
    """Each set of samples along which some neuron slides, and where: (samples,), (..., neurons)."""
    slides = mode == _modes.SLIDING
    some = slides.any(axis=-1)
    if not some.any():
        return
    kinds, which = np.unique(slides[some], axis=0, return_inverse=True)
    for index, held in enumerate(kinds):
        rows = np.zeros_like(some)
        rows[some] = which.ravel() == index
        yield held, rows


def _norm(vectors: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors, axis=-1)


def _log(values: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(values)
