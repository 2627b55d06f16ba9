"""How likely it is that the initialisation is as the limit process needs it (2026, Prop. 2)."""

from typing import Any, NamedTuple

import numpy as np


class UnionBound(NamedTuple):
    """Bounds on the probability that Assumption 4(i) fails, and on each way in which it does.

    Fields: the probability of some sample that no neuron can fit; of some neuron with nothing
    to fit; of two neurons with the same samples to fit, not none; their sum, at most 1.
    """

    unfittable: float
    idle: float
    alike: float
    total: float


def union_bound(neurons: int, positive: int, negative: int) -> UnionBound:
    """P[Assumption 4(i) fails] <= n (3/4)^m + m p_idle + m (m - 1) / 2 p_alike,

        p_idle  = (2^{-n_+} + 2^{-n_-}) / 2,
        p_alike = ((2^{n_+} - 1) 4^{-n_+} + (2^{n_-} - 1) 4^{-n_-}) / 4,

    for orthogonal inputs, n_+ positive and n_- negative labels, w_j with independent symmetric
    components along the inputs (Gaussian), and independent signs of a_j.

    A unit (j, k) is in the mask with probability 1/4; given the sign of a_j, the n_+ or n_-
    units of that sign are so independently with probability 1/2, and the others never. Two
    neurons can only have equal samples, not none, when they have the same sign.

    Source: 2026 paper, Prop. 2 and appendix F.1. Its own formula is not readable in the text at
    hand: these are the probabilities of its three events, not rounded up further.
    """
    for name, count in (("neurons", neurons), ("positive", positive), ("negative", negative)):
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 0:
            raise ValueError(f"Argument `{name}` must be a count, but it is {count!r}.")
    unfittable, idle, alike = terms(neurons, positive, negative)
    return UnionBound(unfittable, idle, alike, min(1.0, unfittable + idle + alike))


def terms(neurons: Any, positive: Any, negative: Any) -> tuple[Any, Any, Any]:
    """Its three terms; of floats that are traced too."""
    half = (0.5**positive, 0.5**negative)
    unfittable = (positive + negative) * 0.75**neurons
    idle = neurons * 0.5 * sum(half)
    alike = 0.5 * neurons * (neurons - 1) * 0.25 * sum(p * (1.0 - p) for p in half)
    return unfittable, idle, alike
