"""Where a trajectory stands still: near a critical point, in the flow's own units of time."""

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from ._plateaus import DROP, FLOOR
from ._trajectory import Trajectory


class Standstill(NamedTuple):
    """Indices of saves: from first to last the flow stands still, the most at slowest."""

    first: int
    last: int
    slowest: int


def log_motion(traj: Trajectory) -> np.ndarray:
    """ln q,  q = |grad L|^2 / (2 E L),  E = max_j |d ln|theta_j| / dt|,  shape (time,).

    The share of the loss that falls while the squared norm of the neuron that changes the
    fastest changes e-fold: -d ln L / dt is |grad L|^2 / L, and that time is 1 / (2 E). It needs
    no differences in time, has no units, and a logistic growth of one neuron from 0 to the
    minimum has q = 2 f / (1 - f) where a share f of its squared norm is done. So q is
    proportional to its squared norm while it is small, and infinite where neurons are at rest
    and the loss still falls.
    """
    fastest = np.abs(traj.slope()).max(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_q = logsumexp(traj.log_power(), axis=1) - np.log(2.0 * fastest * traj.losses)
    # Nothing moves at all (0 / 0), or the loss is 0: the first stands still, the second does not.
    log_q = np.where(np.isnan(log_q), np.where(traj.losses > 0.0, -np.inf, np.inf), log_q)
    # Residuals of 1e-6 of the labels are near the errors that an integrator leaves.
    return np.where(traj.losses > FLOOR * traj.losses[0], log_q, np.inf)


def standstills(traj: Trajectory) -> list[Standstill]:
    """Stretches along which q < 1%, their losses 1% apart: what lies closer is one.

    1% is the share of the loss below which `plateaus` calls nothing a feature.
    """
    log_q = log_motion(traj)
    stretches = []
    for index in np.flatnonzero(log_q < np.log(DROP)).tolist():
        if stretches and _continues(traj, log_q, stretches[-1].last, index):
            first, _, slowest = stretches.pop()
            slowest = index if log_q[index] < log_q[slowest] else slowest
            stretches.append(Standstill(first, index, slowest))
        else:
            stretches.append(Standstill(index, index, index))
    return stretches


def _continues(traj: Trajectory, log_q: np.ndarray, before: int, after: int) -> bool:
    """Whether two saves that stand still belong to one stretch.

    Not if the loss fell by 1% between them, unless they are neighbours, and twice the rates
    found at them explain that fall: a slow creep. Between neighbours that do not explain it
    lies a drop that is shorter than the distance of saves.
    """
    fell = np.log(traj.losses[before] / traj.losses[after])
    if fell < DROP:
        return True
    pair = [before, after]
    power = np.exp(logsumexp(traj.log_power()[pair], axis=1))
    explained = 2.0 * np.max(power / traj.losses[pair]) * (traj.ts[after] - traj.ts[before])
    return after == before + 1 and bool(fell <= explained)
