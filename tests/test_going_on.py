"""The parts of a flow are the whole: through a solution, and through bare weights."""

import io

import equinox as eqx
import jax
import numpy as np
import pytest
from problems import BOTH, BOTH_IN_TIME, event_list, five_points, lane, relative_difference
from tolerance import assert_close

import reluflow as rf

END, RTOL = 700.0, 1e-9


def problem(key):
    return five_points(log_lambda=-11.0, seed=key)


@BOTH
@pytest.mark.parametrize("key", [1, 2])
@pytest.mark.parametrize("middle", [100.0, 137.3])
def test_going_on_from_a_solution(integrator, key, middle):
    """Clock, modes, step size and data go with it; the events of both parts are those of all."""
    net, data = problem(key)
    whole = rf.flow(net, data, END, rtol=RTOL, integrator=integrator)
    first = rf.flow(net, data, middle, rtol=RTOL, integrator=integrator)
    second = rf.flow(first, t1=END, rtol=RTOL, integrator=integrator)
    assert relative_difference(second.final, whole.final) < 10 * RTOL
    assert_close(second.stats["t_final"], END)
    parts = event_list(first) + event_list(second)
    assert sorted(event[1:] for event in parts) == sorted(event[1:] for event in event_list(whole))
    assert all(time >= middle for time, *_ in event_list(second))


@BOTH
@pytest.mark.parametrize("key", [1, 2])
@pytest.mark.parametrize("middle", [100.0, 137.3])
def test_going_on_from_weights_in_a_file(integrator, key, middle):
    """A start within rounding of its boundary is a start on it: what slides there goes on."""
    net, data = problem(key)
    whole = rf.flow(net, data, END, rtol=RTOL, integrator=integrator)
    first = rf.flow(net, data, middle, rtol=RTOL, integrator=integrator)
    file = io.BytesIO()
    np.savez(file, *first.final.weights())
    file.seek(0)
    kept = np.load(file)
    start = rf.Network.from_weights(kept["arr_0"], kept["arr_1"])
    second = rf.flow(start, data, END, t0=middle, rtol=RTOL, integrator=integrator)
    assert relative_difference(second.final, whole.final) < 10 * RTOL


@BOTH
def test_control_a_start_beside_the_boundary_is_another_flow(integrator):
    """What slides at the split is moved off its boundary, by 1e-6 of its size."""
    net, data = problem(1)
    whole = rf.flow(net, data, END, rtol=RTOL, integrator=integrator)
    first = rf.flow(net, data, 100.0, rtol=RTOL, integrator=integrator)
    moved = eqx.tree_at(lambda n: n.hidden, first.final, first.final.hidden * (1 + 1e-6) + 1e-6)
    second = rf.flow(moved, data, END, t0=100.0, rtol=RTOL, integrator=integrator)
    assert relative_difference(second.final, whole.final) > 100 * RTOL


@BOTH
def test_many_parts_are_the_whole(integrator):
    net, data = problem(1)
    whole = rf.flow(net, data, 200.0, rtol=RTOL, integrator=integrator)
    sol = rf.flow(net, data, 20.0, rtol=RTOL, integrator=integrator)
    for t1 in np.linspace(20.0, 200.0, 10)[1:]:
        sol = rf.flow(sol, t1=t1, rtol=RTOL, integrator=integrator)
    assert relative_difference(sol.final, whole.final) < 10 * RTOL


@BOTH_IN_TIME
def test_lanes_go_on(integrator):
    """Each of a batch from where it stands."""
    _, data = problem(1)
    first, last = np.array([30.0, 60.0]), np.array([120.0, 150.0])

    def go(key, middle, end):
        net = rf.balanced(key, 60, 2, -11.0)
        sol = rf.flow(net, data, middle, rtol=RTOL, integrator=integrator, throw=False)
        return rf.flow(sol, t1=end, rtol=RTOL, integrator=integrator, throw=False)

    keys = jax.vmap(jax.random.key)(np.array([1, 2]))
    sols = jax.jit(jax.vmap(go), compiler_options=rf.compiler_options())(keys, first, last)
    for i in range(2):
        whole = rf.flow(*problem(i + 1), last[i], rtol=RTOL, integrator=integrator)
        assert relative_difference(lane(sols.final, i), whole.final) < 10 * RTOL


def test_what_goes_with_a_solution_is_not_given_again():
    net, data = problem(1)
    sol = rf.flow(net, data, 20.0)
    with pytest.raises(ValueError, match="data"):
        rf.flow(sol, data, 30.0)
    with pytest.raises(ValueError, match="t0"):
        rf.flow(sol, t1=30.0, t0=20.0)
    with pytest.raises(ValueError, match="t1"):
        rf.flow(sol, t1=10.0)
