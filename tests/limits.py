"""What the tests of the limit process share: data, starts, and a plain loop of its own."""

import functools

import jax
import numpy as np
from tolerance import assert_close

import reluflow as rf

SAMPLES, NEURONS = 16, 10  # one shape for all flows: one compilation
SEEDS = (6, 23)  # all jumps are apart by 0.09 or more; with 23, nobody fits two samples


@functools.cache
def labelled(lengths=False):
    data = rf.datasets.orthonormal(jax.random.key(0), SAMPLES)
    if not lengths:
        return data
    stretch = np.linspace(0.5, 2.0, SAMPLES)[np.random.default_rng(0).permutation(SAMPLES)]
    return rf.Dataset(np.asarray(data.x) * stretch[:, None], data.y)


def start(seed, log_lambda=-1.0):
    return rf.balanced(jax.random.key(seed), NEURONS, SAMPLES, log_lambda)


def balanced(net, hidden):
    """`net` with these directions, and |a_j| = |w_j| again."""
    output = np.sign(np.asarray(net.output)) * np.linalg.norm(hidden, axis=1)
    return rf.Network(net.log_scale, output, hidden)


def plain(net, data, exponents=None, signs=True, lengths=True):
    """Algorithm 1 as a loop over sets: [(s, neuron, samples, squared norm)]."""
    x, y = np.asarray(data.x), np.asarray(data.y)
    a, length = np.asarray(net.output), np.linalg.norm(x, axis=1) if lengths else np.ones(len(y))
    p = np.asarray(net.hidden) @ x.T
    can = {
        j: {k for k in range(len(y)) if p[j, k] > 0.0 and (a[j] * y[k] > 0.0 or not signs)}
        for j in range(len(a))
    }
    q = dict.fromkeys(can, -1.0) if exponents is None else dict(enumerate(exponents))
    left, s, jumps = {k for k in range(len(y)) if y[k] != 0.0}, 0.0, []
    while True:
        v = {j: np.sqrt(sum((y[k] * length[k]) ** 2 for k in can[j] & left)) / len(y) for j in can}
        v = {j: rate for j, rate in v.items() if rate > 0.0}
        if not v:
            return jumps
        tau = {j: s - q[j] / v[j] for j in v}
        first = min(tau, key=tau.get)
        q = {j: q[j] + (tau[first] - s) * v.get(j, 0.0) for j in q if j != first}
        s, fitted = tau[first], can.pop(first) & left
        size = np.sqrt(sum((y[k] / length[k]) ** 2 for k in fitted))
        jumps.append((s, first, fitted, 2.0 * size))
        left -= fitted


def assert_same(process, jumps, rtol=1e-13):
    assert int(process.num_jumps) == len(jumps)
    for i, (s, neuron, fitted, squared_norm) in enumerate(jumps):
        assert_close(process.jump_times[i], s, rtol=rtol)
        assert int(process.neuron[i]) == neuron
        assert set(np.flatnonzero(process.fits[i]).tolist()) == fitted
        assert_close(process.squared_norms[i], squared_norm, rtol=rtol)
    assert np.all(np.isinf(process.jump_times[len(jumps) :]))
    assert np.all(np.asarray(process.neuron[len(jumps) :]) == -1)
