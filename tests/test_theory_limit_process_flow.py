"""The limit process against the flow it is the limit of."""

import equinox as eqx
import jax
import numpy as np
import pytest
from limits import NEURONS, SAMPLES, SEEDS, assert_same, balanced, labelled, plain, start
from tolerance import assert_close

import reluflow as rf
from reluflow.theory import limit_process


def flow(net, data, t1, stop_loss=None):
    return rf.flow(
        net, data, t1, integrator=rf.Boost(), rtol=1e-9, stop_loss=stop_loss, throw=False
    )


def flow_jump_times(net, data, process):
    """When the loss has fallen half way from each plateau to the next."""
    times, levels = [], np.asarray(process.losses)
    for i in range(int(process.num_jumps)):
        middle = 0.5 * (levels[i] + levels[i + 1])
        sol = flow(net, data, 1e3 * -float(net.log_scale[0]), middle)
        assert sol.result == rf.RESULTS.loss_reached
        times.append(float(sol.stats["t_final"]))
    return np.array(times)


def end(net, data, process, beyond=3000.0):
    """Long after the last jump: the residuals that are left decay at a rate of O(1)."""
    last = float(process.jump_times[process.num_jumps - 1])
    sol = flow(net, data, (last + 0.5) * -float(net.log_scale[0]) + beyond)
    assert sol.result == rf.RESULTS.successful
    return sol.final


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_jump_times_of_the_flow(seed, lengths):
    """t = s ln(1/lambda) + O(1): in the clock s the distance falls like 1 / ln(1/lambda)."""
    data = labelled(lengths)
    process = limit_process(start(seed), data)
    count = int(process.num_jumps)
    assert count >= 4 and np.min(process.gaps[:count]) > 0.09
    sizes = np.array([1000.0, 3000.0, 10000.0])
    clocks = [flow_jump_times(start(seed, -size), data, process) / size for size in sizes]
    assert_close(clocks[-1], process.jump_times[:count], rtol=2e-3)
    slopes = _slopes(sizes, clocks, process.jump_times[:count])
    assert_close(slopes, -1.0, atol=0.02)
    # Control: times that are off by 1% are not where these converge to.
    wrong = _slopes(sizes, clocks, 1.01 * process.jump_times[:count])
    assert np.all(np.abs(wrong + 1.0) > 0.3)


def _slopes(sizes, clocks, limits):
    distance = np.abs(np.array(clocks) - np.asarray(limits))
    return np.polyfit(np.log(sizes), np.log(distance), 1)[0]


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_final_network_of_the_flow(seed, lengths):
    """Squared norm of every neuron, and the function, to 1e-6 at lambda = e^-10000."""
    data, net = labelled(lengths), start(seed, -10000.0)
    process = limit_process(net, data)
    final, limit = end(net, data, process), jax.tree.map(lambda leaf: leaf[-1], process.saddles())
    assert_close(final.squared_norm(), process.final_squared_norm, rtol=1e-6)
    assert_close(limit.squared_norm(), process.final_squared_norm, rtol=1e-13)
    (a, w), (b, v) = final.weights(), limit.weights()
    assert_close(a, b, atol=1e-6)
    assert_close(w, v, atol=1e-6)
    reached = np.where(process.unfittable, 0.0, data.y)
    assert_close(limit(data.x), reached, atol=1e-13)
    # Control: the process of the network with all a_j reversed ends elsewhere.
    other = eqx.tree_at(lambda n: n.output, net, -net.output)
    assert (
        abs(float(limit_process(other, data).final_squared_norm / final.squared_norm()) - 1) > 0.01
    )


@pytest.mark.parametrize("lengths", [False, True])
def test_exponents_losses_and_saddles_of_the_flow(lengths):
    """Off the jump times (2026, Theorem 2): lambda = e^-10000, in the middle of plateaus."""
    size, seed = 10000.0, SEEDS[0]
    data, net = labelled(lengths), start(seed, -size)
    process = limit_process(net, data)
    count = int(process.num_jumps)
    assert not np.any(process.idle)
    starts = np.append(0.0, process.jump_times[:count])
    middles = np.append(0.5 * (starts[1:] + starts[:-1]), starts[-1] + 0.5)
    saddles, exponents = process.saddles(), process.exponents(middles)
    assert exponents.shape == (count + 1, NEURONS)
    for i, s in enumerate(middles):
        now = flow(net, data, s * size).final
        assert_close(now.log_norm() / size, exponents[i], atol=0.02)
        assert_close(rf.loss(now, data), process.losses[i], rtol=1e-6, atol=1e-12)
        assert_close(now.weights()[1], saddles.hidden[i], atol=1e-3)
        # Control: the neighbouring plateau.
        assert np.max(np.abs(now.weights()[1] - saddles.hidden[i - 1])) > 0.1
    np.testing.assert_array_equal(process.exponents(0.0), -np.ones(NEURONS))


def _alike(net, data, of, which):
    """The network whose neuron `which` has the mask of neuron `of`, but another direction."""
    rng = np.random.default_rng(0)
    p = np.asarray(net.preactivations(data.x))[of]
    w = (np.sign(p) * rng.uniform(0.5, 1.5, SAMPLES)) @ np.asarray(data.x)
    hidden, output = np.array(net.hidden), np.array(net.output)
    hidden[which], output[which] = w, output[of]
    return balanced(rf.Network(net.log_scale, output, hidden), hidden)


def test_neurons_of_equal_masks_act_as_one():
    data = labelled()
    first = int(limit_process(start(SEEDS[0]), data).neuron[0])
    second = 4
    net = _alike(start(SEEDS[0], -10000.0), data, first, second)
    process = limit_process(net, data)
    assert set(np.flatnonzero(process.group[0]).tolist()) == {first, second}
    assert not np.any(process.tied)
    squares = 2.0 * np.exp(2.0 * np.asarray(end(net, data, process).log_norm()))
    assert_close(squares[[first, second]].sum(), process.squared_norms[0], rtol=1e-6)
    assert np.all(squares[[first, second]] > 0.1)
    assert_same(process, [j for j in plain(net, data) if j[1] != max(first, second)])


def test_different_sizes():
    """A neuron of size lambda^2 comes later, as its exponent says."""
    data, size = labelled(), 10000.0
    first = int(limit_process(start(SEEDS[0]), data).neuron[0])
    scale = np.full(NEURONS, -size)
    scale[first] *= 1.2
    net = rf.Network(scale, *(getattr(start(SEEDS[0]), name) for name in ("output", "hidden")))
    process = limit_process(net, data, initial_exponents=net.log_norm() / size)
    assert int(process.neuron[0]) != first
    times = flow_jump_times(net, data, process)
    # The log-norms are those of this lambda: only the time for turning is left, O(1).
    limits = process.jump_times[: int(process.num_jumps)]
    assert_close(times / size, limits, rtol=2e-3)
    final = end(net, data, process)
    assert_close(final.squared_norm(), process.final_squared_norm, rtol=1e-6)
    # Control: without the exponents, another final network.
    blind = limit_process(net, data)
    assert abs(float(blind.final_squared_norm / final.squared_norm()) - 1.0) > 1e-3


def test_a_unit_on_its_boundary_never_fits():
    """As in the flow: sigma'(0) = 0."""
    data = rf.Dataset(np.eye(SAMPLES), labelled().y)
    net = start(SEEDS[0], -1000.0)
    process = limit_process(net, data)
    first, sample = int(process.neuron[0]), int(np.flatnonzero(process.fits[0])[0])
    hidden = np.array(net.hidden)
    hidden[:, sample] = np.where(np.arange(NEURONS) == first, 0.0, -1.0)
    net = balanced(net, hidden)
    assert np.flatnonzero(limit_process(net, data).unfittable).tolist() == [sample]
    final = end(net, data, limit_process(net, data))
    assert float(final(data.x)[sample]) == 0.0
    # Control: a hair off the boundary, it does.
    hidden[first, sample] = 1e-9
    net = balanced(net, hidden)
    assert not np.any(limit_process(net, data).unfittable)
    final = end(net, data, limit_process(net, data))
    assert_close(final(data.x)[sample], data.y[sample], rtol=1e-6)


def test_idle_neurons_do_not_grow():
    """They stay, or, with nothing but active components of the wrong sign, they shrink.

    Not for long: |a_j| = |w_j| is unstable there, and holds to rounding.
    """
    data = rf.Dataset(np.eye(SAMPLES), -np.abs(np.asarray(labelled().y)))
    size, hidden = 1000.0, np.abs(np.asarray(start(0).hidden))
    hidden[1::2, 3] *= -1.0
    net = balanced(rf.Network(np.full(NEURONS, -size), np.ones(NEURONS), hidden), hidden)
    process = limit_process(net, data)
    assert np.all(process.idle) and int(process.num_jumps) == 0
    np.testing.assert_array_equal(process.exponents([0.0, 5.0]), -np.ones((2, NEURONS)))
    begin, soon, late = (
        np.asarray(n.log_norm()) for n in (net, *(flow(net, data, t).final for t in (150.0, 5e3)))
    )
    assert_close(late[1::2] / size, -1.0, atol=0.01)
    # What is inactive stays (Lemma 6), so the norm is at least that.
    assert np.all(late[1::2] >= np.log(-hidden[1::2, 3]) - size - 1e-9)
    assert np.all(soon[::2] < begin[::2] - 1.9)
