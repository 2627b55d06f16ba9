"""The saddles that a trajectory passes: critical points, with their index and escape rate."""

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from .._integration._solution import Solution
from .._model import _modes
from .._model._dataset import Dataset
from .._model._network import Network
from .._support._checks import as_number
from ._plateaus import DROP
from ._polish import ROUNDING, State, broken_units, polish
from ._still import Standstill, standstills
from ._trajectory import Trajectory, forces


class Saddle(NamedTuple):
    """A critical point, and how the flow passed it.

    Fields:
        network: the critical point; dormant neurons are exactly 0.
        active: which neurons are not, shape (neurons,).
        loss: L there.
        gradient_norm: the largest of |grad L|, over the active neurons and in (a, w), with the
            alpha of sliding units that makes it smallest.
        stationary: whether the flow rests there: `gradient_norm` is rounding, every active
            neuron has the pattern it was polished on, and what stands on its boundary is held
            there, alpha in [0, 1] with L rising to both sides (which is more than 0 being in
            Clarke's subdifferential). If not, no critical point was found.
        reached: whether the flow came to it, by the 1% that tells plateaus apart: the loss where
            it passed the closest is within 1% of `loss`. Where not, the flow was merely slow
            (inputs that nearly cancel in some D_j), and left before it came near: there, which
            point is found may depend on rounding.
        index: the number of directions in which L falls to second order; see `saddles`.
        escaping: the dormant neuron that the flow leaves with: the largest one that grows, at
            the end of the standstill, or where the run ends on it the one expected first. -1 if
            none grows.
        escape_rate: its |D_j|: it grows like e^{|D_j| t}. 0 if none does.
        largest_rate: the largest |D_j| of dormant neurons that grow.
        log_distance: ln of the smallest distance |theta(t) - network| at a saved time.
        time: when that was.
        leaving: the last saved time at which the flow stood still; inf if it still does.
        expected: where it still does, at the end of the run: about when the escaping neuron ends
            that, growing at its rate until |a_j| |w_j| is (sum r_k^2 / sum |x_k|^2)^(1/2), of the
            size that could move the residual. inf if none grows, and where the flow has left.
    """

    network: Network
    active: np.ndarray
    loss: float
    gradient_norm: float
    stationary: bool
    reached: bool
    index: int  # pyright: ignore[reportIncompatibleMethodOverride]  # instead of tuple.index
    escaping: int
    escape_rate: float
    largest_rate: float
    log_distance: float
    time: float
    leaving: float
    expected: float

    def __str__(self) -> str:
        many = int(np.sum(self.active))
        text = f"saddle of index {self.index}: L = {self.loss:.8g}, {many} active neurons"
        text = text if self.index else text.replace("saddle of index 0", "minimum, index 0")
        if not self.stationary:
            text += ", NOT stationary"
        if not self.reached:
            text += ", NOT reached"
        if self.escaping >= 0 and np.isfinite(self.leaving):
            text += f", left at rate {self.escape_rate:.6g} by neuron {self.escaping}"
        elif self.escaping >= 0:
            text += (
                f", NOT left by the end of the run: neuron {self.escaping} grows at rate "
                f"{self.escape_rate:.6g}, and ends it about t = {self.expected:.5g}"
            )
        return text + f"; e^{self.log_distance:.4g} away at t = {self.time:.5g}"


def saddles(sol: Solution, data: Dataset, tolerance: float = 1e-9) -> list[Saddle]:
    """The critical points beside which a trajectory stands still (q < 1%, see `phases`).

    Near a critical point the neurons fall in two: the active ones, D_j = 0, and the dormant ones,
    so small that they are worth nothing. A neuron is dormant if, taken away together with all
    smaller ones, it changes the loss by less than 1%, unless it is larger than every one that
    grows, and rests itself (D_j = 0). At the critical point they are 0. On the pattern of the
    saved state with the smallest |grad L|, the active neurons then go to D_j = 0 by linear least
    squares (`_polish.py`), with a_j^2 - |w_j|^2 as they are (2022, Lemma 1).

    The index is the number of negative eigenvalues of the Hessian of L, on the patterns that
    the neurons have when the flow leaves. It splits:

    * on the active neurons the Hessian is J^T J / n minus blocks [[0, D_j^T], [D_j, 0]],
      whose eigenvalues are +-|D_j|: none is below -max_j |D_j|, which is rounding. The flat
      directions (a_j against |w_j|, and neurons of one pattern against each other) are 0, not
      negative. Where units slide, L has a kink that rises to both sides.
    * a dormant neuron has L = L* - a_j <D_j, w_j> + ..., hence one eigenvalue -|D_j|, and it can
      go there if it grows: a_j <D_j, w_j> > 0. The sign of a_j never changes, and for
      orthogonal inputs an inactive unit stays so (Lemma 6): other neurons cannot.

    Those with |D_j| > tolerance count. A critical point of index 0 is a local minimum.

    Arguments:
        sol, data: a single trajectory, with its networks saved, at times that resolve the drops.
        tolerance: relative to 1/n sum_k |y_k| |x_k|, the largest |D_j| of a network of 0.

    Returns:
        In the order of time; the origin first, if the flow starts small; none in the lazy regime.
    """
    tolerance = as_number("tolerance", tolerance)
    if not 0.0 <= tolerance < 1.0:
        raise ValueError(f"Argument `tolerance` must lie in [0, 1), but it is {tolerance}.")
    traj = Trajectory.of(sol, data)
    return [_saddle(traj, data, still, tolerance) for still in standstills(traj)]


def _saddle(traj: Trajectory, data: Dataset, still: Standstill, tolerance: float) -> Saddle:
    x, y = np.asarray(data.x), np.asarray(data.y)
    unit = np.mean(np.abs(y) * np.linalg.norm(x, axis=1))
    span = np.arange(still.first, still.last + 1)
    place = int(span[np.argmin(logsumexp(traj.log_power()[span], axis=1))])
    active = _active(traj, x, y, place, tolerance * unit)
    state, r = polish(x, y, _state(traj, place, active))
    a, w = np.zeros(len(active)), np.zeros((len(active), x.shape[1]))
    a[active], w[active] = state.a, state.w
    active = a != 0.0
    gradient, stationary = _check(x, y, state, unit)
    distance = _log_distance(traj, a, w, span)
    nearest = int(np.argmin(distance))
    loss, passed = float(np.mean(r**2) / 2.0), traj.losses[span[nearest]]
    # What can leave: dormant neurons, on the patterns they have turned to by then.
    rate = _growth(traj, x, r, still.last)
    rate = np.where(active | (rate <= tolerance * unit), 0.0, rate)
    left = still.last < len(traj.ts) - 1
    escaping, expected = _escape(rate, traj.log_size()[still.last], r, x, left)
    return Saddle(
        network=Network.from_weights(a, w),
        active=active,
        loss=loss,
        gradient_norm=gradient,
        stationary=stationary,
        reached=bool(abs(passed - loss) <= DROP * loss),
        index=int(np.sum(rate > 0.0)),
        escaping=escaping,
        escape_rate=float(rate[escaping]) if escaping >= 0 else 0.0,
        largest_rate=float(rate.max()),
        log_distance=float(distance[nearest]),
        time=float(traj.ts[span[nearest]]),
        leaving=float(traj.ts[still.last]) if left else np.inf,
        expected=float(traj.ts[-1]) + expected,
    )


def _escape(rate, log_size, r, x, left: bool) -> tuple[int, float]:
    """(`escaping`, how long it still takes), of neurons whose log-sizes have the slope 2 rate."""
    grows = rate > 0.0
    if not grows.any():
        return -1, np.inf
    if left:
        return int(np.argmax(np.where(grows, log_size, -np.inf))), np.inf
    missing = np.maximum(np.log(np.sum(r**2) / np.sum(x**2)) / 2.0 - log_size, 0.0)
    wait = np.divide(missing, 2.0 * rate, out=np.full(rate.shape, np.inf), where=grows)
    first = int(np.argmin(wait))
    return first, float(wait[first])


def _active(traj: Trajectory, x, y, place: int, tolerance: float) -> np.ndarray:
    """Which neurons make the critical point beside a saved state.

    At least those that are left after the smallest have been taken away, as long as these
    change the loss by less than 1%. They fix r, hence which of the others grow; and of those
    that rest, D_j = 0, the ones larger than every one that grows.
    """
    weight = np.exp(2.0 * traj.log_scale[place]) * traj.output[place]
    seen = np.where(traj.mode[place] == _modes.ACTIVE, traj.hidden[place] @ x.T, 0.0)
    size = traj.log_size()[place]
    order = np.argsort(size)
    without = traj.residual[place] + np.cumsum((weight[:, None] * seen)[order], axis=0)
    loss = traj.losses[place]
    changed = np.abs(np.mean(without**2, axis=1) / 2.0 - loss) > DROP * loss
    active = np.zeros(len(order), bool)
    if not changed.any():
        return active
    active[order[np.argmax(changed) :]] = True
    _, r = polish(x, y, _state(traj, place, active))
    grows = ~active & (_growth(traj, x, r, place) > tolerance)
    rests = np.linalg.norm(forces(x, r[None, :], traj.mode[place]), axis=1) <= tolerance
    # Where none grows, what is below rounding is still no part of it.
    smallest = size.max() + np.log(ROUNDING)
    return active | rests & (size > max(size[grows].max(initial=-np.inf), smallest))


def _state(traj: Trajectory, place: int, active: np.ndarray) -> State:
    scale = np.exp(traj.log_scale[place, active])
    a, w = scale * traj.output[place, active], scale[:, None] * traj.hidden[place, active]
    return State(a, w, traj.mode[place, active])


def _growth(traj: Trajectory, x: np.ndarray, r: np.ndarray, place: int) -> np.ndarray:
    """|D_j| at residual r, on the patterns of one save; 0 where a_j <D_j, w_j> <= 0."""
    force = forces(x, r[None, :], traj.mode[place])
    pull = traj.output[place] * np.sum(force * traj.hidden[place], axis=1)
    return np.where(pull > 0.0, np.linalg.norm(force, axis=1), 0.0)


def _check(x, y, state: State, unit: float) -> tuple[float, bool]:
    """|grad L| at the weights themselves, and whether they are critical on these patterns."""
    r = y - state.a @ np.where(state.mode == _modes.ACTIVE, state.w @ x.T, 0.0)
    force = forces(x, r[None, :], state.mode)
    pull = np.sum(force * state.w, axis=1)
    outer = state.a * np.linalg.norm(force, axis=1)
    gradient = float(np.sqrt(np.sum(pull**2 + outer**2)))
    rounding = ROUNDING * unit * np.sqrt(np.sum(state.a**2) + np.sum(state.w**2))
    return gradient, bool(gradient <= rounding and not broken_units(x, y, r, state).any())


def _log_distance(traj: Trajectory, a: np.ndarray, w: np.ndarray, span: np.ndarray) -> np.ndarray:
    """ln |theta(t) - theta*| at the saves of `span`: plain numbers for the active neurons alone."""
    active = a != 0.0
    scale = np.exp(traj.log_scale[span][:, active])
    apart_a = scale * traj.output[span][:, active] - a[active]
    apart_w = scale[..., None] * traj.hidden[span][:, active] - w[active]
    squares = np.sum(apart_a**2, axis=1) + np.sum(apart_w**2, axis=(1, 2))
    with np.errstate(divide="ignore"):
        parts = np.concatenate(
            [np.log(squares)[:, None], traj.log_squared_norm()[span][:, ~active]], axis=1
        )
    return logsumexp(parts, axis=1) / 2.0
