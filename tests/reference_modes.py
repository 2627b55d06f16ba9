"""How the oracle chooses the modes of a neuron's units that stand on a boundary."""

from itertools import product

import numpy as np
from reference_smooth import ACTIVE, INACTIVE, RESTING, SLIDING
from scipy.optimize import lsq_linear

MARGIN = 1e-12  # by which a choice of modes must satisfy its inequalities to count as certain


def choose_modes(flow, j, boundary, arrived):
    """Modes of the units `boundary` of neuron j, all at p = 0, and whether it was ambiguous.

    The complementarity problem of Filippov: off where the velocity z < 0, on where z > 0,
    sliding where z = 0 with alpha in (0, 1). All 3^B choices are tried (more than four units:
    `_minimal_norm`). Of several solutions, the one in which `arrived` goes on to the other side,
    or with no unit arrived (a start on the boundary) the one with the least that is on.
    """
    residual, before = flow.look(flow.start())[2], flow.modes[j, boundary]
    on = flow.modes[j] == ACTIVE
    on[boundary] = False

    def margin(choice):
        return _margin(flow, flow.a[j], boundary, choice, on, residual)

    def rank(choice):
        worst = margin(choice)
        prefer = -sum(choice) if arrived is None else np.any((choice == 1 - before)[crossing])
        return worst > MARGIN, prefer, worst

    crossing = boundary == arrived
    if len(boundary) > 4:
        choice, certain = _minimal_norm(flow, j, boundary, on, residual), 1
        if margin(choice) < -1e-8:
            raise RuntimeError("more than four units on a boundary, not all of them attractive")
    else:
        options = [np.array(c) for c in product((INACTIVE, ACTIVE, SLIDING), repeat=len(boundary))]
        ranks = [rank(choice) for choice in options]
        choice, certain = options[ranks.index(max(ranks))], sum(r[0] for r in ranks)
    on[boundary[choice != INACTIVE]] = True
    alone = ~np.any(flow.coupled[boundary] & on, axis=1)
    return np.where((choice == INACTIVE) & alone, RESTING, choice), certain > 1


def _minimal_norm(flow, j, boundary, on, residual):
    """min |D_j| over alpha in [0, 1]^B, by bounded least squares with active sets.

    It decides for attractive units; others are put on the side that they did not come from.
    """
    modes = 1 - np.minimum(flow.modes[j, boundary], 1)
    attractive = flow.a[j] * residual[boundary] < 0
    on = on.copy()
    on[boundary[~attractive & (modes == ACTIVE)]] = True
    units, size = boundary[attractive], np.sum(np.abs(residual) * flow.length)
    columns, fixed = (residual[units, None] * flow.x[units]).T, (residual * on) @ flow.x
    fit = lsq_linear(columns / size, -fixed / size, (0, 1), method="bvls", tol=1e-15)
    low, high = fit.x < 1e-10, fit.x > 1 - 1e-10
    modes[attractive] = np.select([low, high], [INACTIVE, ACTIVE], SLIDING)
    return modes


def _margin(flow, a, boundary, choice, on, residual):
    """The worst of the normalised inequalities of one choice of modes; negative if violated."""
    n, gram, s = flow.n, flow.gram, boundary[choice == SLIDING]
    held = on.copy()
    held[boundary[choice == ACTIVE]] = True
    beta = np.where(held, residual / n, 0.0)
    margin = [1.0]
    if len(s):
        block = gram[np.ix_(s, s)] / np.outer(flow.length[s], flow.length[s])
        if np.linalg.cond(block) > 1e12:
            return -np.inf
        push = gram[s] @ beta
        beta[s] = -np.linalg.solve(block, push / flow.length[s]) / flow.length[s]
        alpha = n * beta[s] / np.where(residual[s] == 0, np.finfo(float).tiny, residual[s])
        margin += [np.min(alpha), np.min(1 - alpha)]
        held[s] = True
    velocity = a * (gram @ beta) / (flow.length * np.sum(np.abs(residual) * flow.length) / n)
    for k, mode in zip(boundary, choice, strict=True):
        if mode == INACTIVE:
            margin.append(-velocity[k] if np.any(flow.coupled[k] & held) else 1.0)
        elif mode == ACTIVE:
            margin.append(velocity[k])
    return min(margin)
