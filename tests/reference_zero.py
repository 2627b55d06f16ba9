"""What comes after w = 0 (in the span of the inputs), where all boundaries of a neuron meet.

With the residuals frozen the field about 0, w' = a D(pattern of w), is constant on every cone of
the arrangement. So the neuron goes on from the velocity v it arrives with: along w = v s, and
then from cone to cone, crossing boundaries or sliding on them, until it leaves for good along a
ray, a D(pattern of v) = c v with c > 0, or comes back to 0. All of this happens at once.

A ray exists if and only if sign(a) E(u) > 0 for some u, E(u) = 1/n sum_k r_k relu(<u, x_k>), which
is linear on each cone: so it is enough to ask the edges of the cones.
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from reference_modes import choose_modes
from reference_smooth import ACTIVE, INACTIVE, REAL, RESTING, SLIDING, orthonormal

LEAVES, RETURNS, DEAD = "leaves", "returns", "dead"
PIECES = 200  # cones that a neuron may visit before it leaves or returns


class Passage(NamedTuple):
    """outcome: `LEAVES` with the modes of the ray, `RETURNS` to 0, or `DEAD` where nothing moves
    it; ambiguous: choices of modes that had several solutions."""

    outcome: str
    modes: np.ndarray
    ambiguous: int


def pass_zero(inputs, residual, sign, velocity) -> Passage:
    """Where a neuron goes that arrives at w = 0 with these velocities of its preactivations."""
    q, ambiguous, arrived = velocity.copy(), 0, None
    modes = np.where(q > 0, ACTIVE, INACTIVE)
    for _ in range(PIECES):
        boundary = np.flatnonzero(q == 0)
        if len(boundary):
            modes[boundary], several = choose_modes(
                inputs, residual, modes, sign, boundary, arrived
            )
            ambiguous += several
        beta = np.dot(inputs.response(modes), residual)
        rate = sign * np.dot(beta, inputs.gram) * (modes < SLIDING)
        if not np.any(rate):
            return Passage(DEAD, np.full(inputs.n, RESTING), ambiguous)
        with np.errstate(divide="ignore", invalid="ignore"):
            times = np.where(q * rate < 0, -q / rate, np.inf)
        if np.all(np.isinf(times)):
            unmoved = (rate == 0) & (modes == INACTIVE)
            return Passage(LEAVES, np.where(unmoved, RESTING, modes), ambiguous)
        if inputs.span(np.flatnonzero(q == 0)) >= inputs.rank - 1:
            return Passage(RETURNS, np.full(inputs.n, RESTING), ambiguous)
        arrived = int(np.argmin(times))
        q = q + times[arrived] * rate
        q[arrived] = 0
    raise RuntimeError("a neuron at w = 0 does not come to a decision")


def edges(inputs):
    """Preactivations (edges, n) of a unit vector on each edge of the cones: orthogonal to rank - 1
    of the inputs, in their span. Exactly zero on the inputs that it is orthogonal to."""
    coordinates, found = np.dot(inputs.x, inputs.basis.T), []
    for units in combinations(range(inputs.n), inputs.rank - 1):
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
