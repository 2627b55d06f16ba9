"""Programs are compiled for few numbers of saved times, and the user gets as many as were asked."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import lane, relative_difference, small, two_points
from tolerance import assert_close

import reluflow as rf
from reluflow import _flow
from reluflow._support._padding import padded_length


def at_times(count, t1):
    return diffrax.SaveAt(ts=np.linspace(0.0, t1, count))


def between_the_ends(count, t1):
    return diffrax.SaveAt(ts=np.linspace(0.0, t1, count - 2), t0=True, t1=True)


# What other tests compile too (trajectories.py, test_transforms.py), and numbers of times of it.
CASES = {
    "boost": (rf.Boost(), lambda seed: two_points(seed=seed), at_times, (1001, 700, 600)),
    "runge-kutta": (rf.RungeKutta(), small, between_the_ends, (16, 9, 11)),
}


def programs():
    return _flow._integrate.outermost()._cached._cache_size()


def saved(case, count, seed=0, t1=10.0, **options):
    integrator, problem, saveat, _ = CASES[case]
    return rf.flow(*problem(seed), t1, saveat=saveat(count, t1), integrator=integrator, **options)


@pytest.mark.parametrize("case", CASES)
def test_one_compilation_serves_every_number_of_times(case):
    """And every t1, rtol and network."""
    counts = CASES[case][-1]
    sols = [saved(case, counts[0])]
    compiled = programs()
    sols += [saved(case, counts[1], rtol=1e-6), saved(case, counts[2], seed=1, t1=5.0)]
    assert programs() == compiled
    for sol, count, t1 in zip(sols, counts, (10.0, 10.0, 5.0), strict=True):
        assert sol.ts.shape == sol.losses.shape == (count,)
        assert sol.networks.hidden.shape == (count, *sol.final.hidden.shape)
        assert np.all(np.isfinite(sol.losses)) and sol.ts[-1] == t1
        assert relative_difference(lane(sol.networks, -1), sol.final) < 1e-12
    # The control: what is saved depends on when.
    many, few = (sol.networks for sol in sols[:2])
    assert relative_difference(lane(few, 0), lane(many, 0)) == 0.0
    assert relative_difference(lane(few, 5), lane(many, 5)) > 1e-3


def test_a_number_beyond_the_size_is_another_program():
    """The control of the test above; on one integrator, since the length is the loop's."""
    saved("runge-kutta", 16)
    compiled = programs()
    assert saved("runge-kutta", 17).ts.shape == (17,)
    assert programs() == compiled + 1


def test_under_vmap_and_jit():
    """On one integrator, since what is saved is the loop's."""

    def run(shift):
        net, data = small()
        net = rf.Network(net.log_scale + shift, net.output, net.hidden)
        saveat = between_the_ends(11, 10.0)
        return rf.flow(net, data, 10.0, integrator=rf.RungeKutta(), saveat=saveat, throw=False)

    shifts = jnp.array([0.0, -1.0])
    lanes, inside = jax.vmap(run)(shifts), jax.eval_shape(jax.vmap(run), shifts)
    assert lanes.networks.hidden.shape == inside.networks.hidden.shape == (2, 11, 6, 3)
    for i in range(2):
        assert_close(lanes.losses[i], run(shifts[i]).losses, rtol=1e-12)
    assert abs(lanes.losses[0, 0] - lanes.losses[1, 0]) > 1e-3  # the control


def test_where_nothing_is_added():
    """To what is a size, to none, in a program of the user's, and where it takes much memory."""
    one, large = (lambda: 16), (lambda: 2**23)
    sizes = {0: 0, 1: 1, 2: 2, 3: 4, 90: 128, 100: 128, 128: 128}
    assert {count: padded_length(count, one) for count in sizes} == sizes
    assert padded_length(3, one, least=8) == padded_length(8, one, least=8) == 8
    lengths = []
    jax.jit(lambda x: lengths.append(padded_length(90, one)) or x)(1.0)
    assert lengths == [90]
    assert padded_length(121, large) == 128  # 7 more of 8 MiB
    assert padded_length(119, large) == 119
