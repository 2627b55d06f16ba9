"""When neurons jump, on flows whose times are known in closed form."""

import diffrax
import jax
import numpy as np
import pytest
from problems import given, logistic_time
from tolerance import assert_close

import reluflow as rf
from reluflow.analysis import jumps

LABELS = np.array([2.0, 1.0])
SIZE = np.exp(-20.0)
# Neurons 0 and 2 share the first sample, 1 has the second, and 3 has the wrong sign for either.
SHARES = np.sqrt(np.array([0.8, 1.0, 0.2, 1.0]))
DIRECTIONS = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
SIGNS = np.array([1.0, 1.0, 1.0, -1.0])
DENSE = diffrax.SaveAt(t0=True, steps=True, dense=True)
NET, DATA = given(np.eye(2), LABELS, SIGNS * SHARES, SHARES[:, None] * DIRECTIONS, np.log(SIZE))


def flow(t1, saveat, net=NET):
    return rf.flow(net, DATA, t1, integrator=rf.Boost(), saveat=saveat, rtol=1e-10)


def half_times():
    """Of balanced neurons along x_k: u = sum a^2 obeys u' = (y_k - u) u, from SIZE^2 to y_k."""
    return [logistic_time(SIZE**2, y, 1.0, y / 2.0) for y in LABELS]


def test_times_of_a_dense_solution():
    sol = flow(80.0, DENSE)
    first, second = half_times()
    found = jumps(sol)
    assert sorted(jump.neurons for jump in found[:2]) == [(0,), (2,)]
    assert found[2].neurons == (1,) and len(found) == 3
    assert_close([jump.time for jump in found], [first, first, second], rtol=1e-9)
    norms = {jump.neurons[0]: jump.squared_norm for jump in found}
    assert_close([norms[0], norms[1], norms[2]], [3.2, 2.0, 0.8], rtol=1e-8)
    # As one: of both, in the order of time whatever the order of the groups.
    both, other = jumps(sol, [[1], [2, 0]])
    assert (both.neurons, other.neurons) == ((2, 0), (1,))
    assert_close([both.time, other.time], [first, second], rtol=1e-9)
    assert_close([both.squared_norm, other.squared_norm], [4.0, 2.0], rtol=1e-8)
    # Control: another size of the start has other times.
    larger = rf.Network(NET.log_scale + 0.1, NET.output, NET.hidden)
    assert abs(jumps(flow(80.0, DENSE, larger))[2].time - second) > 0.1


def test_without_dense_output_times_are_between_saves():
    """The logarithm bends at the half: off by the second order of the distance of saves."""
    errors = []
    for count in (161, 321):
        found = jumps(flow(80.0, diffrax.SaveAt(ts=np.linspace(0.0, 80.0, count))))
        errors.append(abs(found[0].time - half_times()[0]))
    assert 1e-4 < errors[0] < 0.05
    assert errors[1] < 0.5 * errors[0]


def test_what_is_small_or_large_all_along_does_not_jump():
    first, _ = half_times()
    between = first + 2.0  # the second has e^-36 of its squared norm by then
    assert [jump.neurons for jump in jumps(flow(between, DENSE), [[0, 2], [1], [3]])] == [(0, 2)]
    assert jumps(flow(0.5 * first, DENSE)) == []
    late = rf.flow(flow(between, DENSE), t1=80.0, saveat=DENSE)
    assert [jump.neurons for jump in jumps(late)] == [(1,)]
    assert jumps(late, []) == []


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("groups", "message"),
    [([[0], [0, 1]], "no neuron twice"), ([[4]], "indices of the 4"), ([[]], "none of them empty")],
)
def test_groups_are_of_different_neurons(groups, message):
    with pytest.raises(ValueError, match=f"Argument `groups` must hold .*{message}"):
        jumps(flow(1.0, DENSE), groups)


def test_several_trajectories_are_refused():
    lanes = jax.tree.map(lambda leaf: np.asarray(leaf)[None], flow(1.0, DENSE))
    with pytest.raises(ValueError, match="`sol` must be a single trajectory"):
        jumps(lanes)
