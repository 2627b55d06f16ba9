"""How the oracle chooses the modes of a neuron's units that stand on a boundary."""

from itertools import combinations, product

import numpy as np
from reference_inputs import ACTIVE, EPS, INACTIVE, REAL, RESTING, SLIDING

MARGIN = 1e4 * EPS  # by which a choice must satisfy its inequalities to count as certain
ENUMERATED = 6  # units on a boundary of which all 3^6 choices are tried


def choose_modes(inputs, residual, modes, sign, boundary, arrived=None):
    """Modes of the units `boundary` of a neuron, all at p = 0, and whether it was ambiguous.

    The complementarity problem of Filippov: off where the velocity z < 0, on where z > 0,
    sliding where z = 0 with alpha in (0, 1). All choices are tried, the nearest to what is first.
    Where all boundaries attract there is one solution at most. Of several, the one in which
    `arrived` goes on to the other side, or with no unit arrived the one with the least that is on.

    Arguments:
        modes: of all units of the neuron. sign: of a_j, or of a_j' where a_j = 0.
    """
    before, crossing = modes[boundary], boundary == arrived
    jump = inputs.jump(residual)[boundary]
    attractive = np.all(sign * jump < 0)
    certain, best = [], (-np.inf, None)
    for choice in _choices(before, crossing):
        worst, velocity = margin(inputs, residual, modes, sign, boundary, choice)
        if worst > best[0]:
            best = worst, choice
        if worst > MARGIN:
            certain.append((choice, velocity))
            if attractive:
                break
    if not certain:
        if best[0] < -1e-9:
            raise RuntimeError(f"no choice of modes for the units {boundary}, margin {best[0]}")
        certain = [(best[1], None)]

    def rank(found):
        choice, repelled = found[0], sign * jump > 0
        onwards = np.any((choice == 1 - before)[crossing])
        unstable = np.sum(repelled & (choice == SLIDING))
        return onwards, -unstable, arrived is not None or -np.sum(choice)

    choice, velocity = max(certain, key=rank)
    others = [v for _, v in certain if v is not velocity]
    several = any(np.any(np.abs(v - velocity) > 1e-10) for v in others)
    trial = modes.copy()
    trial[boundary] = choice
    alone = ~np.any(inputs.coupled[boundary] & inputs.pulled(trial), axis=1)
    alone &= ~inputs.two_sided[boundary]
    return np.where((choice == INACTIVE) & alone, RESTING, choice), several


def _choices(before, crossing):
    """All choices of modes, by the number of units that differ from the most likely one: the unit
    that arrived goes on to the other side, the others stay as they are."""
    likely = np.where(before == RESTING, INACTIVE, before)
    likely[crossing] = 1 - likely[crossing]
    size = len(likely)
    for changes in range(size + 1 if size <= ENUMERATED else 3):
        for places in combinations(range(size), changes):
            for steps in product((1, 2), repeat=changes):
                choice = likely.copy()
                choice[list(places)] = (choice[list(places)] + steps) % 3
                yield choice


def margin(inputs, residual, modes, sign, boundary, choice):
    """The worst of the normalised inequalities of one choice of modes, negative if violated; and
    the velocity of the preactivations, normalised."""
    trial = modes.copy()
    trial[boundary] = choice
    response = inputs.response(trial)
    if response is None:
        return -np.inf, None
    beta, pull = np.dot(response, residual), np.dot(residual, inputs.motion(trial)[0])
    near = (inputs.slope(modes) != 0) | np.isin(inputs.line, boundary)
    effort = np.dot(np.abs(residual) * near, inputs.size)
    velocity = sign * pull / (inputs.length * max(effort, np.finfo(REAL).tiny))
    held, margins = inputs.pulled(trial), [REAL(1)]
    low, jump = inputs.low(residual), inputs.jump(residual)
    for k, mode in zip(boundary, choice, strict=True):
        if mode == SLIDING:
            alpha = (beta[k] - low[k]) / jump[k] if jump[k] != 0 else REAL(-1)
            margins += [alpha, 1 - alpha]
        elif mode == ACTIVE:
            margins.append(velocity[k])
        elif inputs.two_sided[k] or np.any(inputs.coupled[k] & held):
            margins.append(-velocity[k])
    return min(margins), velocity
