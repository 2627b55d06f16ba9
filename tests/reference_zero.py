"""What comes after w = 0 (in the span of the inputs), where all boundaries of a neuron meet.

With the residuals frozen the field about 0, w' = a D(pattern of w), is constant on every cone of
the arrangement. There are two ways out: a ray, a D(pattern of v) = c v with c > 0, and the cone
in which all units are off, where nothing moves a neuron any more; where a line has inputs on both
sides, that is no cone, but an edge along which the two cancel. If there is none the neuron
rests at 0; if there is one it takes it, wherever it comes from: gradient descent jumps about 0
until it has found it. If there are several the neuron goes on from the velocity v it arrives with,
along w = v s, and then from cone to cone, crossing boundaries or sliding on them, until it is on a
way out or comes back to 0; but gradient descent may then take either, so this is ambiguous.

A ray exists if and only if sign(a) E(u) > 0 for some u, E(u) = 1/n sum_k r_k phi(<u, x_k>), which
is linear on each cone: so a neuron that rests at 0 asks the edges of the cones.
"""

from itertools import combinations, product
from typing import NamedTuple

import numpy as np
from reference_inputs import ACTIVE, INACTIVE, REAL, RESTING, SLIDING, orthonormal
from reference_modes import MARGIN, choose_modes, margin

LEAVES, RESTS, DEAD = "leaves", "rests", "is off for good"
HELD = "is held on an edge"  # until the two no longer cancel: till then it is as good as at w = 0
PIECES = 200  # cones that a neuron may visit before it is on a way out


class Passage(NamedTuple):
    """What a neuron does that arrives at 0, its modes then, and whether it could do otherwise."""

    outcome: str
    modes: np.ndarray
    ambiguous: bool


def pass_zero(inputs, residual, modes, sign, velocity) -> Passage:
    """For a neuron of these modes that arrives at w = 0 with these velocities of its
    preactivations."""
    free = _free(inputs, modes)
    exits = rays(inputs, residual, sign, free)
    if _all_off(inputs, free):
        exits.append(Passage(DEAD, np.full(inputs.lines, RESTING), False))
    exits += _held_edges(inputs, residual, sign, free)
    if not exits:
        return Passage(RESTS, np.full(inputs.lines, RESTING), False)
    if len(exits) == 1:
        return _waiting(exits[0])
    onwards = _from_cone_to_cone(inputs, residual, modes, sign, np.where(free, velocity, 0))
    for found in exits:
        if onwards is not None and np.all((onwards == found.modes)[free]):
            return _waiting(found._replace(ambiguous=True))
    return _waiting(exits[0]._replace(ambiguous=True))


def _waiting(passage):
    """A neuron that is held on an edge waits for a ray, as one at w = 0 does."""
    if passage.outcome != HELD:
        return passage
    return passage._replace(outcome=RESTS, modes=np.full(passage.modes.shape, RESTING))


def _free(inputs, modes):
    """Units that can move: not those at rest that no moving one pushes, whatever its mode."""
    free = modes != RESTING
    while np.any(more := ~free & np.any(inputs.coupled & free, axis=1)):
        free |= more
    return free


def rays(inputs, residual, sign, free):
    """All rays, the fastest first. A boundary that repels carries none."""
    units, found, jump = np.flatnonzero(free), [], inputs.jump(residual)
    for choice in product((INACTIVE, ACTIVE, SLIDING), repeat=len(units)):
        choice = np.array(choice)
        if np.any((choice == SLIDING) & (sign * jump[units] > 0)):
            continue
        modes = np.full(inputs.lines, RESTING)
        worst, velocity = margin(inputs, residual, modes, sign, units, choice)
        if worst > MARGIN and np.any(velocity):
            modes[units] = choice
            force = np.dot(residual, inputs.motion(modes)[1])
            found.append((np.dot(force, force), modes))
    found.sort(key=lambda ray: -ray[0])
    return [Passage(LEAVES, _at_rest(inputs, modes), False) for _, modes in found]


def _at_rest(inputs, modes):
    """These modes, with the units off at rest that nothing moves."""
    held = inputs.pulled(modes)
    still = (modes == INACTIVE) & ~inputs.two_sided & ~np.any(inputs.coupled & held, axis=1)
    return np.where(still, RESTING, modes)


def _all_off(inputs, free):
    """Whether there is a cone in which all units are off."""
    if np.any(inputs.two_sided & free):
        return False
    below = [edge for edge in edges(inputs) if np.all(edge <= 0)]
    return len(below) > 0 and bool(np.all(np.sum(below, axis=0)[free] < 0))


def _held_edges(inputs, residual, sign, free):
    """Edges on which nothing moves a neuron: it slides along lines with inputs on both sides, which
    cancel, and all others are off."""
    if not np.any(inputs.two_sided & free):
        return []
    low, jump, found = inputs.low(residual), inputs.jump(residual), []
    with np.errstate(divide="ignore", invalid="ignore"):
        alpha = np.where(jump != 0, -low / jump, -1)
    cancels = inputs.two_sided & (sign * jump < 0) & (alpha > MARGIN) & (alpha < 1 - MARGIN)
    for edge in edges(inputs):
        slides = (edge == 0) & inputs.two_sided
        off = (edge < 0) & ~inputs.two_sided
        if np.any(slides) and np.all(((slides & cancels) | off)[free]):
            modes = np.where(slides, SLIDING, np.full(inputs.lines, RESTING))
            found.append(Passage(HELD, modes, False))
    return found


def _from_cone_to_cone(inputs, residual, modes, sign, velocity):
    """The modes with which a neuron ends that goes on from w = v s; None where it returns to 0."""
    q, arrived = velocity.copy(), None
    modes = np.select([q > 0, q < 0], [ACTIVE, INACTIVE], modes)
    for _ in range(PIECES):
        boundary = np.flatnonzero((q == 0) & _free(inputs, modes))
        if len(boundary):
            modes[boundary] = choose_modes(inputs, residual, modes, sign, boundary, arrived)[0]
        rate = sign * np.dot(residual, inputs.motion(modes)[0]) * (modes < SLIDING)
        with np.errstate(divide="ignore", invalid="ignore"):
            times = np.where(q * rate < 0, -q / rate, np.inf)
        if np.all(np.isinf(times)):
            return _at_rest(inputs, modes) if np.any(rate) else np.full(inputs.lines, RESTING)
        if inputs.span(np.flatnonzero(q == 0)) >= inputs.rank - 1:
            return None
        arrived = int(np.argmin(times))
        q = q + times[arrived] * rate
        q[arrived] = 0
    raise RuntimeError("a neuron at w = 0 does not come to a decision")


def edges(inputs):
    """Preactivations (edges, lines) of a unit vector on each edge of the cones: orthogonal to
    rank - 1 of the u_b, in their span. Exactly zero on those that it is orthogonal to."""
    coordinates, found = np.dot(inputs.u, inputs.basis.T), []
    for units in combinations(range(inputs.lines), inputs.rank - 1):
        held = orthonormal(coordinates[list(units)])
        if held is None:
            continue
        rest = np.eye(inputs.rank, dtype=REAL)
        for _ in range(2):
            rest = rest - np.dot(np.dot(rest, held[0].T), held[0])
        normal = rest[np.argmax(np.sum(rest**2, axis=1))]
        p = np.dot(coordinates, normal / np.sqrt(np.dot(normal, normal)))
        p[list(units)] = 0
        found += [p, -p]
    return np.array(found)


def leaves_along(inputs, residual, sign, edge):
    """Modes of a neuron that leaves w = 0 along an edge, on which a ray has just appeared."""
    modes = np.where(edge > 0, ACTIVE, INACTIVE)
    boundary = np.flatnonzero(edge == 0)
    if len(boundary):
        modes[boundary], _ = choose_modes(inputs, residual, modes, sign, boundary)
    return modes
