"""Which neurons jump, in which order, on random orthonormal problems: the flow as predicted.

50 problems of three shapes, jump times included: benchmarks/limit_process_flow.py.
"""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from tolerance import assert_close

import reluflow as rf
from reluflow.theory import limit_process, masks

SAMPLES, NEURONS, SIZE = 8, 12, 1000.0
APART = 10.0  # e-folds: how small all others are at a jump, for the order to be asked for
SEEDS = range(8)


def problem(seed):
    data = rf.datasets.orthonormal(jax.random.key(seed), SAMPLES)
    return data, rf.balanced(jax.random.key(1000 + seed), NEURONS, SAMPLES, -SIZE)


def log_norms(t, net, data):
    return net.log_norm()


def flow(net, data, t1):
    saveat = diffrax.SaveAt(steps=True, fn=log_norms)
    return rf.flow(net, data, t1, integrator=rf.Boost(), saveat=saveat, max_steps=512)


def flow_jumps(net, data, t1):
    """Neurons of equal masks as one: those that end large, by when ln|w| passes -3."""
    sol = flow(net, data, t1)
    kept = np.isfinite(np.asarray(sol.ts))
    ts, log_norms = np.asarray(sol.ts)[kept], np.asarray(sol.networks)[kept]
    kinds, which = np.unique(np.asarray(masks(net, data)).astype(int), axis=0, return_inverse=True)
    found = []
    for kind in range(len(kinds)):
        mine = np.flatnonzero(which.ravel() == kind)
        size = np.logaddexp.reduce(2.0 * log_norms[:, mine], axis=1) / 2.0
        if size[-1] > -6.0:
            i = int(np.argmax(size > -3.0))
            time = np.interp(-3.0, size[i - 1 : i + 1], ts[i - 1 : i + 1])
            found.append((time, frozenset(mine.tolist()), 2.0 * np.exp(2.0 * size[-1])))
    return sorted(found, key=lambda jump: jump[0])


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
        orders.append([neurons for _, neurons, _ in found])
        processes.append(process)
        if margin(process) >= APART:
            asked += 1
            assert orders[-1] == groups(process)
            # What is beside a jump at ln|w| = -10 or less, and some e-folds more for a flow.
            sizes = [squared_norm for *_, squared_norm in found]
            expected = np.asarray(process.squared_norms)[: len(sizes)]
            assert_close(sizes, expected, rtol=1e-4)
    assert asked >= 6
    # Controls: the process of another start, and of a_j with the other sign.
    for seed, order in zip(SEEDS, orders, strict=True):
        data, net = problem(seed)
        assert order != groups(processes[seed - 1])
        other = rf.Network(net.log_scale, jnp.negative(net.output), net.hidden)
        assert order != groups(limit_process(other, data))
