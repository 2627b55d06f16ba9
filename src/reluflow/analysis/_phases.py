"""The phases of a trajectory: alignment, growth, fitting, plateau, convergence."""

from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from .._integration._solution import Solution
from .._model._dataset import Dataset
from ._plateaus import DROP, LEFT, REACHED, time_at
from ._still import Standstill, log_motion, standstills
from ._trajectory import Trajectory

# Neurons grow no more, against the fall of the loss: the reciprocal of a tenth.
_CONVERGES = 1.0 / LEFT


class Phase(NamedTuple):
    """name: 'alignment', 'growth', 'fitting', 'plateau' or 'convergence'; begin, end: times;
    loss: L at the begin and at the end."""

    name: str
    begin: float
    end: float
    loss: tuple[float, float]


class Phases(tuple[Phase, ...]):
    """Phases in the order of time, each beginning where the one before it ends."""

    def named(self, name: str) -> list[Phase]:
        """Those of this name, in the order of time."""
        return [phase for phase in self if phase.name == name]

    def __str__(self) -> str:
        lines = [f"{'phase':12}{'begin':>12}{'end':>12}   loss"]
        for name, begin, end, (before, after) in self:
            lines.append(f"{name:12}{begin:12.5g}{end:12.5g}   {before:.4g} -> {after:.4g}")
        return "\n".join(lines)


def phases(sol: Solution, data: Dataset) -> Phases:
    """What the flow was doing when: alignment, growth, fitting, plateau, convergence.

    From two quantities without units, computed from each saved state:

        q   = |grad L|^2 / (2 E L),   E = max_j |d ln|theta_j| / dt|,
        c_j = (d ln|theta_j| / dt) / |D_j|   in [-1, 1],   |theta_j|^2 = a_j^2 + |w_j|^2.

    q is the share of the loss that falls while the fastest neuron's squared norm changes e-fold;
    c_j = 1 where neuron j is aligned with sign(a_j) D_j and |a_j| = |w_j|, so that its log-norm
    has the slope |D_j|. The flow stands still where q < 1%. Then

    * standing still near the origin (the outputs h are worth less than 1% of the loss) is
      alignment until c >= 95%, and growth from there. c is the mean of c_j over the neurons that
      move the network when the standstill ends, weighted with their part of |grad L|^2;
    * standing still elsewhere is a plateau;
    * fitting leads from one standstill to the next: from 10% to 95% of the fall of the loss
      (the same shares as in `plateaus`);
    * convergence begins where q > 10 for good: neurons grow no more, and the loss still falls.

    No other numbers enter. In the lazy regime, where nothing ever stands still, there is only
    fitting and convergence. A run that ends during a phase ends that phase. The saves must
    resolve the drops, times are found between saves. Needs `saveat=diffrax.SaveAt(ts=...)`.

    Source: 2022, Fig. 1 and section 4, whose phases are these with growth and fitting as one,
    and with bounds in place of times.

    Raises:
        ValueError: several trajectories at once, saves that are no networks, or only one.
    """
    traj = Trajectory.of(sol, data)
    if len(traj.ts) < 2:
        raise ValueError(
            "Argument `sol` must have at least two saved times, but it has one. Integrate with "
            "`saveat=diffrax.SaveAt(ts=...)`."
        )
    log_q, stills = log_motion(traj), standstills(traj)
    losses = np.minimum.accumulate(traj.losses)
    ends = _standing(traj.ts, losses, stills)
    cuts = []  # (begin, name)
    for still, (begin, end) in zip(stills, ends, strict=True):
        if not cuts and begin > traj.ts[0]:
            cuts.append((traj.ts[0], "fitting"))
        if _at_origin(traj, data, still):
            aligned = _aligned(traj, still, end)
            cuts.append((begin, "alignment"))
            cuts.append((aligned, "growth"))
        else:
            cuts.append((begin, "plateau"))
        cuts.append((end, "fitting"))
    if not cuts:
        cuts.append((traj.ts[0], "fitting"))
    if not stills or stills[-1].last < len(traj.ts) - 1:
        cuts.append((max(_converging(traj.ts, log_q), cuts[-1][0]), "convergence"))
    return _between(cuts, traj.ts, losses)


def _standing(ts, losses, stills: list[Standstill]) -> list[tuple[float, float]]:
    """From when to when each standstill lasts, by the shares of the falls around it.

    The last fall is taken to lead to 0: where else, a run that ends in it does not know.
    """
    levels = [float(losses[still.slowest]) for still in stills]
    before = [float(losses[0]), *levels][: len(levels)]
    after = [*levels, 0.0][1:]
    found = []
    for still, level, above, below in zip(stills, levels, before, after, strict=True):
        begin, end = float(ts[0]), float(ts[-1])
        if still.first > 0:
            begin = time_at(ts, losses, above + REACHED * (level - above))
        if still.last < len(ts) - 1:
            end = min(time_at(ts, losses, level + LEFT * (below - level)), float(ts[-1]))
        found.append((begin, end))
    return found


def _at_origin(traj: Trajectory, data: Dataset, still: Standstill) -> bool:
    """Whether the outputs are worth less than 1% of the loss: |h|^2 / 2n against L."""
    outputs = np.asarray(data.y) - traj.residual[still.slowest]
    return bool(np.mean(outputs**2) / 2.0 < DROP * traj.losses[still.slowest])


def _aligned(traj: Trajectory, still: Standstill, end: float) -> float:
    """When the neurons that end the standstill have log-norms of slope |D_j|."""
    rate = traj.rate()
    cosine = np.divide(traj.slope(), rate, out=np.zeros_like(rate), where=rate > 0.0)
    power = traj.log_power()[still.last]
    if not np.isfinite(power).any():
        return end
    mean = cosine @ softmax(power)
    turned = np.flatnonzero(mean[still.first : still.last + 1] < REACHED)
    if not len(turned):
        return float(traj.ts[still.first])
    index = still.first + int(turned[-1])
    if index == still.last:
        return end
    return min(_crossing(traj.ts, mean, index, REACHED), end)


def _converging(ts: np.ndarray, log_q: np.ndarray) -> float:
    """When q passes 10 for the last time, or the end of the run."""
    level = np.log(_CONVERGES)
    slow = np.flatnonzero(log_q <= level)
    if not len(slow):
        return float(ts[0])
    index = int(slow[-1])
    return float(ts[-1]) if index == len(ts) - 1 else _crossing(ts, log_q, index, level)


def _crossing(ts: np.ndarray, values: np.ndarray, index: int, level: float) -> float:
    """Where the straight line from one save to the next is at `level`; the next, if infinite."""
    low, high = values[index], values[index + 1]
    share = (level - low) / (high - low) if np.isfinite(high - low) else 1.0
    return float(ts[index] + share * (ts[index + 1] - ts[index]))


def _between(cuts, ts: np.ndarray, losses: np.ndarray) -> Phases:
    """Phases from where each begins; those of no length are left out."""
    begins = np.array([begin for begin, _ in cuts] + [ts[-1]])
    level = np.exp(np.interp(begins, ts, np.log(np.maximum(losses, 1e-300))))
    return Phases(
        Phase(name, float(begins[i]), float(begins[i + 1]), (float(level[i]), float(level[i + 1])))
        for i, (_, name) in enumerate(cuts)
        if begins[i + 1] > begins[i]
    )
