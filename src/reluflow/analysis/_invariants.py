"""What the flow keeps, what it never does, and what it ends with: checks of the papers' lemmas."""

import numpy as np
from scipy.special import logsumexp

from .._events._event_buffers import Events
from .._integration._solution import Solution
from .._model import _modes
from .._model._dataset import Dataset
from .._model._network import Network, check_as_in_papers, check_pair
from .._support._checks import as_number, shortened
from ..theory import minimal_squared_norm
from ._phases import phases
from ._plateaus import FLOOR
from ._trajectory import Trajectory, networks, saved_times


def balance_drift(sol: Solution) -> float:
    """max over neurons and saved times of |b_j(t) - b_j(0)| / |theta_j|^2,  b_j = a_j^2 - |w_j|^2,

    which the exact flow keeps at 0 (2022, Lemma 1). |theta_j|^2 = a_j^2 + |w_j|^2 is the larger
    of the neuron's own squared norms at t and at the first save: neurons of e^-10000 count
    like others. Exact to the rounding of their logarithms, 1e-16 |log_scale|.

    Raises:
        ValueError: several trajectories at once, or saves that are no networks.
    """
    kept, nets = saved_times(sol), networks(sol)
    output, hidden = np.asarray(nets.output)[kept], np.asarray(nets.hidden)[kept]
    log_scale = 2.0 * np.asarray(nets.log_scale)[kept]
    squared = np.sum(hidden**2, axis=-1)
    with np.errstate(divide="ignore"):
        log_size = log_scale + np.log(output**2 + squared)
    reference = np.maximum(log_size, log_size[0])
    alive = np.isfinite(reference)
    reference = np.where(alive, reference, 0.0)
    now = np.exp(log_scale - reference) * (output**2 - squared)
    start = np.exp(log_scale[0] - reference) * (output[0] ** 2 - squared[0])
    return float(np.max(np.abs(now - start), where=alive, initial=0.0))


def local_pl(sol: Solution, data: Dataset, begin: float | None = None) -> float:
    """inf |grad L|^2 / L over the saved times from `begin` on: the rate at which L ends.

    2022, Lemma 5: at least |D_-| near the limit, where |D_+| > |D_-|. -d ln L / dt is this
    quotient, which is computed from the states, not by differences.

    Arguments:
        begin: the beginning of the convergence phase (`phases`) where not given. Losses below
            1e-12 of the first are left out: there, errors of an integrator are as large.

    Raises:
        ValueError: no such phase, or no save in it.
    """
    if begin is None:
        tail = phases(sol, data).named("convergence")
        if not tail:
            raise ValueError(
                "Argument `sol` must converge to zero loss for a tail to exist, but it has no "
                "convergence phase: give `begin`, or integrate further."
            )
        begin = tail[0].begin
    begin = as_number("begin", begin)
    traj = Trajectory.of(sol, data)
    kept = (traj.ts >= begin) & (traj.losses > FLOOR * traj.losses[0])
    if not kept.any():
        raise ValueError(
            "Argument `begin` must have saves with a loss above 1e-12 of the first after it, but "
            f"it is {begin}."
        )
    log_power = logsumexp(traj.log_power()[kept], axis=1)
    return float(np.exp(np.min(log_power - np.log(traj.losses[kept]))))


def reactivations(sol: Solution) -> int:
    """How often a unit that was inactive, or at rest on its boundary, became active or slid.

    0 for orthogonal inputs and sigma'(0) = 0: an inactive (j, k) never becomes active (2022,
    Lemma 6). From `sol.events`, of one trajectory or of all lanes.
    """
    if not isinstance(getattr(sol, "events", None), Events):
        raise TypeError(f"Argument `sol` must be of type rf.Solution, but it is {shortened(sol)}.")
    before, after = np.asarray(sol.events.before), np.asarray(sol.events.after)
    off = (before == _modes.INACTIVE) | (before == _modes.RESTING)
    return int(np.sum(off & ((after == _modes.ACTIVE) | (after == _modes.SLIDING))))


def norm_ratio(net: Network, data: Dataset) -> np.ndarray:
    """|theta|^2 over the smallest of all interpolators (2022, Prop. 1), for orthogonal inputs.

    1 at the limit of lambda -> 0 where the paper's Theorem 1 holds. Leading axes are kept.

    Raises:
        ValueError: inputs that are not orthogonal.
    """
    check_pair(net, data)
    check_as_in_papers(net, data)
    return np.asarray(np.asarray(net.squared_norm()) / np.asarray(minimal_squared_norm(data)))
