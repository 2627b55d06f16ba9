"""What the flow tends to as lambda goes to 0, for orthonormal inputs: a process of jumps.

Algorithm 1 of the 2026 paper. Its clock is s = t / ln(1/lambda), and the state of neuron j is its
exponent q_j = ln|w_j| / ln(1/lambda), which starts at -1 and grows at the rate

    v_j = 1/n (sum_{k in U, M_jk} y_k^2)^(1/2),

U the samples not fitted yet, M_jk whether <w_j(0), x_k> > 0 and a_j y_k > 0. The neuron that comes
to 0 first jumps: it fits its samples of U, e = sum y_k x_k over them, and ends with
a_j^2 + |w_j|^2 = 2 |e|. Then the others go on, without those samples.
"""

from typing import NamedTuple

import numpy as np

import reluflow as rf


class Jump(NamedTuple):
    """clock: s; rate: v_j just before; squared_norm: a_j^2 + |w_j|^2 after it."""

    neuron: int
    clock: float
    rate: float
    squared_norm: float


def limit_process(net: rf.Network, data: rf.Dataset) -> list[Jump]:
    """The jumps, in their order, of a flow from `net` on orthonormal inputs."""
    y = np.asarray(data.y)
    pulled = np.asarray(net.output)[:, None] * y > 0.0
    mask = (np.asarray(net.preactivations(data.x)) > 0.0) & pulled
    exponent, unfitted = -np.ones(net.neurons), np.ones(data.samples, bool)
    waiting, clock, jumps = np.ones(net.neurons, bool), 0.0, []
    while True:
        rate = np.sqrt((mask & unfitted) @ y**2) / data.samples
        moving = waiting & (rate > 0.0)
        if not moving.any():
            return jumps
        arrival = np.full(net.neurons, np.inf)
        arrival[moving] = clock - exponent[moving] / rate[moving]
        first = int(np.argmin(arrival))
        exponent += np.where(waiting, (arrival[first] - clock) * rate, 0.0)
        clock = float(arrival[first])
        speed = float(rate[first])
        jumps.append(Jump(first, clock, speed, 2.0 * data.samples * speed))
        unfitted &= ~mask[first]
        waiting[first] = False
