"""What the flow conserves and its symmetries, at random problems of one shape."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import BOTH, balance, event_list, relative_difference, small

import reluflow as rf


@functools.cache
def random_problem(seed):
    net, data = small(seed % 1000, log_lambda=-1.0, unbalanced=bool(seed % 2))
    return net, data


def end(integrator, net, data, t1=4.0):
    return rf.flow(net, data, t1, rtol=1e-11, integrator=integrator)


def unit_events(sol, neurons=None, samples=None):
    neurons = np.arange(6) if neurons is None else neurons
    samples = np.arange(4) if samples is None else samples
    return sorted((int(neurons[j]), int(samples[k]), b, a) for _, j, k, b, a in event_list(sol))


@BOTH
@pytest.mark.parametrize("unbalanced", [False, True])
def test_balance_drifts_less_than_1e_9_of_a_neurons_own_size(integrator, unbalanced):
    net, data = small(unbalanced=unbalanced)
    final = rf.flow(net, data, 30.0, rtol=1e-10, integrator=integrator).final
    # Of a balanced start it is rounding, which in a neuron that shrinks becomes large.
    start = balance(net, final) if unbalanced else 0.0
    assert np.max(np.abs(balance(final, final) - start)) < 1e-9


SEEDS = st.integers(0, 10**6)


@BOTH
@given(SEEDS)
def test_permuting_neurons_and_data(integrator, seed):
    net, data = random_problem(seed)
    rng = np.random.default_rng(seed)
    j, k = rng.permutation(6), rng.permutation(4)
    here = end(integrator, net, data)
    there = end(
        integrator,
        rf.Network(net.log_scale[j], net.output[j], net.hidden[j]),
        rf.Dataset(data.x[k], data.y[k]),
    )
    final = here.final
    expected = rf.Network(final.log_scale[j], final.output[j], final.hidden[j])
    assert relative_difference(there.final, expected) < 1e-8
    assert unit_events(there, j, k) == unit_events(here)


@BOTH
@given(SEEDS)
def test_rotating(integrator, seed):
    net, data = random_problem(seed)
    q = jnp.asarray(np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0])
    here = end(integrator, net, data)
    there = end(
        integrator,
        rf.Network(net.log_scale, net.output, net.hidden @ q),
        rf.Dataset(data.x @ q, data.y),
    )
    expected = rf.Network(here.final.log_scale, here.final.output, here.final.hidden @ q)
    assert relative_difference(there.final, expected) < 1e-8
    assert unit_events(there) == unit_events(here)


@BOTH
@given(SEEDS)
def test_changing_the_sign_of_labels_and_outputs(integrator, seed):
    net, data = random_problem(seed)
    here = end(integrator, net, data)
    there = end(
        integrator, rf.Network(net.log_scale, -net.output, net.hidden), rf.Dataset(data.x, -data.y)
    )
    expected = rf.Network(here.final.log_scale, -here.final.output, here.final.hidden)
    assert relative_difference(there.final, expected) < 1e-12
    assert unit_events(there) == unit_events(here)


@BOTH
@given(SEEDS, st.floats(-3.0, 3.0))
def test_homogeneity(integrator, seed, log_factor):
    """y times c and theta times sqrt(c): time runs c times faster."""
    net, data = random_problem(seed)
    c = float(np.exp(log_factor))
    here = end(integrator, net, data)
    there = end(
        integrator,
        rf.Network(net.log_scale + log_factor / 2.0, net.output, net.hidden),
        rf.Dataset(data.x, c * data.y),
        4.0 / c,
    )
    final = here.final
    expected = rf.Network(final.log_scale + log_factor / 2.0, final.output, final.hidden)
    assert relative_difference(there.final, expected) < 1e-8
    assert unit_events(there) == unit_events(here)


@BOTH
@settings(max_examples=5)
@given(SEEDS)
def test_control_what_is_no_symmetry(integrator, seed):
    """(y, a) -> (-y, a) is none: the comparison tells."""
    net, data = random_problem(seed)
    assert (
        relative_difference(
            end(integrator, net, rf.Dataset(data.x, -data.y)).final,
            end(integrator, net, data).final,
        )
        > 1e-3
    )


@BOTH
@given(SEEDS)
def test_two_halves_make_a_whole(integrator, seed):
    """The flow to 2, then from 2 to 4 by bare weights, is the flow to 4."""
    net, data = random_problem(seed)
    middle = end(integrator, net, data, 2.0)
    resumed = rf.flow(middle.final, data, 4.0, t0=2.0, rtol=1e-11, integrator=integrator)
    assert relative_difference(resumed.final, end(integrator, net, data).final) < 1e-7
