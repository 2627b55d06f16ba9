"""Algorithm 1 of the 2026 paper from masks alone, in NumPy: for more samples than inputs would fit.

Of orthonormal inputs the limit process knows only M_jk = [<w_j, x_k> > 0 and a_j y_k > 0] and the
labels, so that 2^19 samples need no matrix of inputs; and it is an oracle for `rf.theory`.
"""

from typing import NamedTuple

import numpy as np


class End(NamedTuple):
    """|theta_inf|^2 (2026, eq. 15), its minimum (2022, Prop. 1), whether all are fitted, and after
    how many jumps."""

    squared_norm: float
    minimum: float
    interpolates: bool
    jumps: int


def mask_process(mask: np.ndarray, labels: np.ndarray) -> End:
    """mask: (neurons, samples). All exponents begin at -1."""
    neurons, samples = mask.shape
    squares, unfitted = labels**2, labels != 0.0
    exponent, waiting = -np.ones(neurons), np.ones(neurons, bool)
    time, norm, jumps = 0.0, 0.0, 0
    while True:
        rate = np.sqrt(np.sum(mask[:, unfitted] * squares[unfitted], axis=1)) / samples
        moving = waiting & (rate > 0.0)
        if not moving.any():
            break
        arrival = np.where(moving, time - exponent / np.where(moving, rate, 1.0), np.inf)
        first = int(np.argmin(arrival))
        exponent = np.where(moving, exponent + (arrival[first] - time) * rate, exponent)
        fits = unfitted & mask[first]
        norm += 2.0 * np.sqrt(np.sum(squares[fits]))
        time, waiting[first], unfitted, jumps = arrival[first], False, unfitted & ~fits, jumps + 1
    each = (np.sqrt(np.sum(squares[sign * labels > 0.0])) for sign in (1.0, -1.0))
    return End(float(norm), float(2.0 * sum(each)), not unfitted.any(), jumps)


def random_ends(samples: int, neurons: int, seeds: int) -> list[End]:
    """Labels N(0, 1), neurons of random directions and signs: their masks are coin tosses."""
    random = np.random.default_rng(samples)
    ends = []
    for _ in range(seeds):
        labels, sign = random.standard_normal(samples), random.choice([-1.0, 1.0], neurons)
        active = random.integers(0, 2, (neurons, samples), dtype=np.int8) == 1
        ends.append(mask_process(active & (sign[:, None] * labels > 0.0), labels))
    return ends
