"""Lambda = 1e-20, 1e-300, e^-1000 and e^-10000: one code, one relative accuracy per neuron."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import (
    boost,
    boost_root,
    event_list,
    five_points,
    oracle,
    oracle_network,
    relative_difference,
    scaled_weights,
    two_points,
)
from scipy.integrate import solve_ivp
from tolerance import assert_close

import reluflow as rf
from reluflow._dynamics._field import Problem
from reluflow._integration._flow_state import FlowState
from reluflow._model._modes import ACTIVE, INACTIVE, RESTING

LOG_LAMBDAS = [np.log(1e-20), np.log(1e-300), -1000.0, -10000.0]
RTOL = 1e-12


def run(net, data, t1, rtol=RTOL, **options):
    return rf.flow(net, data, t1, rtol=rtol, **{"integrator": rf.RungeKutta(), **options})


@functools.cache
def orthonormal_data():
    return rf.datasets.orthonormal(jax.random.key(1), 12)


def orthonormal_net(log_lambda):
    return rf.balanced(jax.random.key(0), 16, 12, log_lambda)


@functools.cache
def orthonormal(log_lambda):
    """Past both drops of the loss, at |log lambda| / |D+-| = 4.8 and 5.4 |log lambda|."""
    net, data = orthonormal_net(log_lambda), orthonormal_data()
    return run(net, data, 6.0 * -log_lambda, rtol=1e-8, integrator=rf.Boost())


@pytest.mark.parametrize("log_lambda", LOG_LAMBDAS)
@pytest.mark.parametrize("problem", [two_points, five_points])
def test_early_phase_is_a_boost_at_every_size(problem, log_lambda):
    """Until t = 3 no neuron is felt: the first event of each and its time are closed forms."""
    net, data = problem(log_lambda)
    sol = run(net, data, 3.0)
    a, w, x, y = map(np.asarray, (net.output, net.hidden, data.x, data.y))
    first = {}
    for event in event_list(sol):
        first.setdefault(event[1], event)
    for j in range(60):
        active = w[j] @ x.T > 0.0
        force = (active * y) @ x / len(y)
        if not active.any():
            assert j not in first
            continue
        times = [boost_root(a[j], w[j], force, row) for row in x]
        if min(times) > 3.0:
            assert j not in first
            got_a, got_w = (leaf[j] for leaf in scaled_weights(sol.final, np.full(60, log_lambda)))
            want_a, want_w = boost(a[j], w[j], force, 3.0)
            size = np.sqrt(want_a**2 + want_w @ want_w)
            assert_close(got_a, want_a, atol=1e-10 * size)
            assert_close(got_w, want_w, atol=1e-10 * size)
        else:
            assert first[j][2] == int(np.argmin(times))
            assert_close(first[j][0], min(times), rtol=1e-10)


@pytest.mark.parametrize("log_lambda", LOG_LAMBDAS[:3])
def test_against_the_oracle(log_lambda):
    """To the end of the first drop, neuron by neuron relative to its own size."""
    net, data = two_points(log_lambda)
    t1 = 1.8 * -log_lambda
    sol, ref = run(net, data, t1), oracle(net, data, t1)
    assert float(sol.stats["loss_final"]) < 0.1 and ref.final_loss < 0.1
    final = oracle_network(ref.final)
    # An error of the exponent: |D| t is about |log lambda|, and its rounding is what is left.
    assert relative_difference(sol.final, final) < 1e-9 * max(1.0, -log_lambda / 100.0)


def test_sizes_agree_through_the_shift_in_time():
    """The plateau at zero only lasts longer: the flow after it is the same at every lambda.

    A neuron aligned with D grows as e^{|D| t}: e^-1000 to e^-10000 is a shift of 9000 / |D| in
    time. The drop is centred at the same place behind it, to the order of the smaller lambda.
    """
    data = rf.Dataset(np.eye(2), [1.0, 0.5])
    force = np.array([0.5, 0.25])
    rate = np.linalg.norm(force)
    w = np.array([[2.0, 1.0], [-1.0, -0.3]])
    finals = []
    for log_lambda in LOG_LAMBDAS:
        net = rf.Network([log_lambda] * 2, np.linalg.norm(w, axis=1), w)
        finals.append(run(net, data, -log_lambda / rate + 1.0, rtol=1e-13).final)
    weights = [np.asarray(final.weights()[0][0]) for final in finals]
    assert 0.1 < weights[0] < 2.0
    for log_lambda, weight in zip(LOG_LAMBDAS, weights, strict=True):
        assert_close(weight, weights[0], rtol=1e-11 * -log_lambda)


@pytest.mark.parametrize("log_lambda", LOG_LAMBDAS)
def test_no_inactive_unit_is_ever_activated(log_lambda):
    """2022, Lemma 6: with orthogonal inputs the count is 0, not small."""
    sol = orthonormal(log_lambda)
    assert float(sol.stats["loss_final"]) < 0.1
    events = event_list(sol)
    assert sum(event[4] == ACTIVE for event in events) == 0
    # Every event is a unit that stops at its boundary, and it does so once.
    assert {event[3:] for event in events} == {(ACTIVE, RESTING)}
    assert len({event[1:3] for event in events}) == len(events) >= 40


@functools.cache
def prepared():
    """`init` and `step` of an integrator, compiled once."""
    integrator = rf.RungeKutta().prepare(orthonormal_data())
    return jax.jit(integrator.init), jax.jit(integrator.step)


@pytest.mark.parametrize("log_lambda", LOG_LAMBDAS)
def test_inactive_preactivations_are_constant_to_the_bit(log_lambda):
    """But for powers of two, by which neurons are rescaled."""
    log_lambda = np.float64(log_lambda)  # one type of number: one compilation
    net, data = orthonormal_net(log_lambda), orthonormal_data()
    init, step = prepared()
    problem = Problem.of(data, rf.relu)
    tolerances = (jnp.asarray(1e-6), jnp.asarray(0.0))
    start = FlowState.of(problem, net, jnp.asarray(0.0), 0)
    state = init(problem, start, tolerances, jnp.asarray(-1.0))
    start = np.ldexp(np.asarray(state.preactivation), np.asarray(state.exponent)[:, None])
    for _ in range(400):
        state, _ = step(problem, state, jnp.asarray(-6.0 * log_lambda))
    inactive = (np.asarray(state.pattern.mode) == INACTIVE) & (start < 0.0)
    assert np.sum(inactive) > 80
    now, shift = np.asarray(state.preactivation), np.asarray(state.exponent)[:, None]
    np.testing.assert_array_equal(now[inactive], np.ldexp(start, -shift)[inactive])


def test_control_plain_runge_kutta_activates():
    """The trap: in normalised w coordinates an inactive preactivation is noise in the end."""
    net, data = orthonormal_net(-100.0), orthonormal_data()
    x, y = np.asarray(data.x), np.asarray(data.y)
    a, w = np.asarray(net.output), np.asarray(net.hidden)
    inactive = w @ x.T < 0.0
    m, n = inactive.shape

    def field(_, state):  # the plateau, r = y, where every neuron is alone
        a, w = state[:m], state[m:].reshape(m, -1)
        on = w @ x.T > 0.0
        force = (on * y) @ x / n
        return np.concatenate([np.sum(force * w, axis=1), (a[:, None] * force).ravel()])

    switched = np.zeros_like(inactive)
    state, span = np.concatenate([a, w.ravel()]), 10.0
    for _ in range(40):
        state = solve_ivp(field, (0.0, span), state, rtol=1e-10, atol=1e-10).y[:, -1]
        size = np.sqrt(state[:m] ** 2 + np.sum(state[m:].reshape(m, -1) ** 2, axis=1))
        w = state[m:].reshape(m, -1) / size[:, None]
        state = np.concatenate([state[:m] / size, w.ravel()])
        switched |= inactive & (state[m:].reshape(m, -1) @ x.T > 0.0)
    assert np.sum(switched) > 0
