"""Directions, clusters, kinks and principal components, against closed forms and NumPy."""

import jax
import numpy as np
import pytest
from tolerance import assert_close
from trajectories import RATE_MINUS, RATE_PLUS, on_five_points, on_two_points

import reluflow as rf
from reluflow.analysis import (
    alignment,
    clusters,
    effective_neurons,
    kinks,
    principal_components,
    saddles,
)
from reluflow.analysis._alignment import angle


def network(log_scale, a, w):
    a, w = np.array(a, float), np.array(w, float)
    return rf.Network(np.full(len(a), float(log_scale)), a, w)


def test_small_angles_keep_their_digits():
    for size in (1e-15, 1e-9, 1e-3, 1.0, 3.0):
        turned = np.array([np.cos(size), np.sin(size)])
        assert_close(angle(np.array([1.0, 0.0]), turned), size, rtol=1e-12)
    assert np.arccos(np.cos(1e-9)) == 0.0  # what the formula is there for
    assert angle(np.array([1e-300, 0.0]), np.array([0.0, 1e300])) == np.pi / 2
    assert np.isnan(angle(np.zeros(2), np.ones(2)))


def test_neurons_align_at_the_rate_of_their_boost():
    """The part of w_j across D is constant while the part along it grows like e^{|D| t}."""
    sol, data = on_two_points(-40.0)
    found = alignment(sol, data)
    origin, second = saddles(sol, data)
    window = (found.ts > 4.0) & (found.ts < 14.0)  # beyond, angles are rounding
    for which, rate, angles in (
        (second.active, RATE_PLUS, found.plus),
        (np.arange(60) == second.escaping, RATE_MINUS, found.minus),
    ):
        mine, own = angles[window][:, which], found.own[window][:, which]
        # A neuron at rest on the boundary of the other sample is along this one exactly.
        turning = mine[-1] > 1e-12
        assert turning.any() and np.all(mine[-1, ~turning] < 1e-14)
        fit = np.polyfit(found.ts[window], np.log(mine[:, turning]), 1)
        assert_close(fit[0], -rate, rtol=1e-2)
        assert_close(mine, own, rtol=1e-6, atol=1e-14)
    # The control: neurons of the other kind are at a right angle to it.
    assert_close(found.minus[window][-1, second.active], np.pi / 2, atol=1e-5)
    assert np.any(found.own[0] > 0.3) and not origin.active.any()


def test_a_neuron_that_nothing_pulls_has_no_angle():
    sol, data = on_two_points(-40.0)
    dead = ~np.any(np.asarray(sol.final.preactivations(data.x)) > 0.0, axis=1)
    assert dead.any() and np.all(np.isnan(alignment(sol, data).own[-1][dead]))


@pytest.mark.parametrize("log_scale", [0.0, -10000.0])
def test_clusters_of_known_neurons(log_scale):
    t = 1e-3
    w = [[1.0, 0.0], [np.cos(t), np.sin(t)], [0.0, 2.0], [1.0, 0.0], [0.0, 0.0]]
    net = network(log_scale, [1.0, 2.0, 1.0, -1.0, 1.0], w)
    found = clusters(net)  # exact to the rounding of a logarithm of 20000, 4e-12
    assert [sorted(c.neurons.tolist()) for c in found] == [[0, 1], [2], [3]]
    assert found[0].neurons[0] == 1 and [c.sign for c in found] == [1.0, 1.0, -1.0]
    assert_close([c.share for c in found], [3 / 6, 2 / 6, 1 / 6], rtol=1e-11)
    sizes = 2.0 * log_scale + np.log([3.0, 2.0, 1.0])
    assert_close([c.log_size for c in found], sizes, rtol=1e-12)
    assert_close(found[0].direction, [1.0, 2.0 * t / 3.0], rtol=1e-5)
    assert_close(effective_neurons(net), 36.0 / 14.0, rtol=1e-11)
    # The control: with a tolerance below their angle, the two are two.
    assert len(clusters(net, t / 2.0)) == 4
    assert clusters(network(0.0, [0.0], [[0.0, 0.0]])) == []


def test_two_points_end_as_two_neurons():
    """One for each label, of |a| |w| = |y| / |x| (2022, Prop. 1)."""
    sol, data = on_two_points(-40.0)
    first, second = clusters(sol.final)[:2]
    lengths = np.linalg.norm(np.asarray(data.x), axis=1)
    for cluster, k in ((first, 0), (second, 1)):
        assert_close(np.exp(cluster.log_size), 1.0 / lengths[k], rtol=1e-6)
        assert_close(cluster.direction, data.x[k] / lengths[k], atol=1e-6)
        assert cluster.sign == np.sign(data.y[k])
    shares = (1.0 / lengths) / np.sum(1.0 / lengths)
    assert_close(effective_neurons(sol.final), 1.0 / np.sum(shares**2), rtol=1e-6)
    start = jax.tree.map(lambda leaf: leaf[0], sol.networks)
    assert effective_neurons(start, 1e-6) > 10.0


def test_kinks_are_where_the_function_bends():
    """Against second differences of u -> h((u, 1)) on a fine grid."""
    sol, data = on_five_points()
    for net in (sol.final, jax.tree.map(lambda leaf: leaf[500], sol.networks)):
        found = kinks(net, data, 1e-9)
        u = np.linspace(-3.0, 3.0, 6001)
        values = np.asarray(net(np.stack([u, np.ones_like(u)], axis=1)))
        bend = np.diff(values, 2) / (u[1] - u[0])  # integrates to the change of the slope
        inside = [kink for kink in found if -3.0 < kink.position < 3.0]
        assert_close(sum(kink.change for kink in inside), bend.sum(), rtol=1e-8)
        moment = sum(kink.change * kink.position for kink in inside)
        assert_close(moment, np.sum(bend * u[1:-1]), rtol=1e-8)
        for kink in inside:
            near = np.abs(u[1:-1] - kink.position) < 2e-3
            others = [k for k in inside if abs(k.position - kink.position) < 4e-3]
            total = sum(k.change for k in others)
            assert_close(bend[near].sum(), total, atol=0.02 * abs(total) + 1e-3)
    assert [kink.position for kink in found] == sorted(kink.position for kink in found)


def test_two_points_end_with_two_kinks():
    """2022, Fig. 2d: one at each of u = -c w_b / w_u for w along x_1 and x_2."""
    sol, data = on_two_points(-40.0)
    found = kinks(sol.final, data)
    assert_close([kink.position for kink in found], [-0.5, 2.0], rtol=1e-14)


def test_equal_kinks_are_merged_and_opposite_ones_cancel():
    data = rf.datasets.two_points()
    net = network(0.0, [1.0, 2.0, 1.0, -3.0], [[1, -1], [-2, 2], [1, 0.5], [1, 0.5]])
    found = kinks(net, data)
    assert_close([kink.position for kink in found], [-0.5, 1.0], rtol=1e-15)
    assert_close([kink.change for kink in found], [-2.0, 5.0], rtol=1e-15)
    net = network(0.0, [1.0, -1.0, 1.0, 1.0], [[1, 0.5], [1, 0.5], [0, 1], [1, 0]])
    assert [kink.position for kink in kinks(net, data)] == [0.0]


@pytest.mark.parametrize("log_scale", [0.0, -10000.0])
@pytest.mark.parametrize("dim", [1, 2, 7])
def test_principal_components(dim, log_scale):
    rng = np.random.default_rng(dim)
    w = rng.normal(size=(9, dim)) * np.linspace(1.0, 3.0, dim)
    found = principal_components(network(log_scale, np.ones(9), w))
    values, vectors = np.linalg.eigh(w.T @ w)
    shares = np.append(values[::-1], 0.0)[:2] / values.sum()
    assert_close(found.explained, shares, rtol=1e-10)
    for index in range(min(dim, 2)):
        assert_close(abs(found.components[index] @ vectors[:, -1 - index]), 1.0, rtol=1e-14)
    planar = w @ found.components.T
    log_radius = np.log(np.linalg.norm(planar, axis=1)) + log_scale
    assert_close(found.log_radius, log_radius, rtol=1e-14)
    horizontal = np.cos(found.angle) * np.linalg.norm(planar, axis=1)
    assert_close(horizontal, planar[:, 0], rtol=1e-14)
    # Not centred: the first component of neurons around a mean is that mean.
    far = principal_components(network(log_scale, np.ones(9), w + 1e3 * np.eye(dim)[0]))
    assert far.components[0, 0] > 0.999


def test_arguments():
    sol, data = on_two_points(-40.0)
    for function in (clusters, principal_components, lambda net: kinks(net, data)):
        with pytest.raises(ValueError, match="`net`"):
            function(sol.networks)
    with pytest.raises(ValueError, match="`tolerance`"):
        clusters(sol.final, 0.0)
    plane = rf.datasets.orthonormal(jax.random.key(0), 2)
    with pytest.raises(ValueError, match="`data`"):
        kinks(sol.final, plane)
