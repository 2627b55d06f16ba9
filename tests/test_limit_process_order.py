"""Which neurons jump, in which order, on random orthonormal problems: the flow as predicted.

50 problems of three shapes, jump times included: benchmarks/limit_process_flow.py.
"""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from tolerance import assert_close

import reluflow as rf
from reluflow.analysis import jumps
from reluflow.theory import limit_process, masks

SAMPLES, NEURONS, SIZE = 8, 12, 1000.0
APART = 10.0  # e-folds: how small all others are at a jump, for the order to be asked for
SEEDS = range(8)


def problem(seed):
    data = rf.datasets.orthonormal(jax.random.key(seed), SAMPLES)
    return data, rf.balanced(jax.random.key(1000 + seed), NEURONS, SAMPLES, -SIZE)


def flow_jumps(net, data, t1):
    """Neurons of equal masks as one: they share what they fit as their directions happen to be."""
    saveat = diffrax.SaveAt(t0=True, steps=True, dense=True)
    sol = rf.flow(net, data, t1, integrator=rf.Boost(), saveat=saveat, max_steps=512)
    kinds, which = np.unique(np.asarray(masks(net, data)).astype(int), axis=0, return_inverse=True)
    alike = [np.flatnonzero(which.ravel() == kind).tolist() for kind in range(len(kinds))]
    return jumps(sol, alike)


def groups(process):
    return [
        frozenset(np.flatnonzero(process.group[i]).tolist()) for i in range(int(process.num_jumps))
    ]


def margin(process):
    """The e-folds below size 1 of the largest neuron that has not jumped, at any jump."""
    jumped = np.cumsum(np.asarray(process.group), axis=0) > 0
    exponents = np.where(jumped, -np.inf, np.asarray(process.plateau_exponents)[1:])
    return -SIZE * np.max(exponents[: int(process.num_jumps)])


def test_order_and_sizes_of_the_jumps():
    asked, orders, processes = 0, [], []
    for seed in SEEDS:
        data, net = problem(seed)
        assert np.any(data.y > 0.0) and np.any(data.y < 0.0)
        process = limit_process(net, data)
        last = process.jump_times[process.num_jumps - 1]
        found = flow_jumps(net, data, (SIZE + 100.0) * last)
        orders.append([frozenset(jump.neurons) for jump in found])
        processes.append(process)
        if margin(process) >= APART:
            asked += 1
            assert orders[-1] == groups(process)
            # What is beside a jump at ln|w| = -10 or less, and some e-folds more for a flow.
            sizes = [jump.squared_norm for jump in found]
            expected = np.asarray(process.squared_norms)[: len(sizes)]
            assert_close(sizes, expected, rtol=1e-4)
    assert asked >= 6
    # Controls: the process of another start, and of a_j with the other sign.
    for seed, order in zip(SEEDS, orders, strict=True):
        data, net = problem(seed)
        assert order != groups(processes[seed - 1])
        other = rf.Network(net.log_scale, jnp.negative(net.output), net.hidden)
        assert order != groups(limit_process(other, data))
