"""Sweeps of the flow itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerance import assert_close

import reluflow as rf

WIDTH, T1 = 6, 20.0
AXES = {"seed": [0, 3], "scale": [np.exp(-3.0), 0.0, -1.0], "neurons": [4, 6]}


def measure(point):
    net = rf.balanced(point.key("seed"), WIDTH, 2, jnp.log(point.scale), active=point.neurons)
    data = rf.datasets.two_points()
    sol = rf.flow(net, data, t1=T1, integrator=rf.RungeKutta(), throw=False)
    return {"loss": sol.stats["loss_final"], "result": sol.result, "a": sol.final.weights()[0]}


@pytest.mark.slow  # compiles three flows
def test_a_sweep_of_flows_is_the_flows(tmp_path):
    """All widths in one program. The control: the widths differ from each other. A lambda of 0 or
    below has a code, and so fails at its points alone."""
    ds = rf.sweep(measure, AXES, store=tmp_path / "s", progress=False)
    good = ds.sel(scale=np.exp(-3.0))
    assert (good.result == 0).all()
    names = ds.result.attrs["flag_meanings"].split()
    bad = ds.sel(scale=[0.0, -1.0]).result.values
    assert {names[code] for code in np.unique(bad)} <= {"not_finite", "invalid_argument"}
    assert (good.a.sel(neurons=4)[:, 4:] == 0.0).all()
    for seed in AXES["seed"]:
        for neurons in AXES["neurons"]:
            net = rf.balanced(keys(seed), neurons, 2, -3.0)
            sol = rf.flow(net, rf.datasets.two_points(), t1=T1, integrator=rf.RungeKutta())
            cell = good.sel(seed=seed, neurons=neurons)
            assert_close(cell.a[:neurons], sol.final.weights()[0], atol=1e-12)
            assert_close(cell.loss, rf.loss(sol.final, rf.datasets.two_points()), atol=1e-12)
    with pytest.raises(AssertionError):
        assert_close(good.a.sel(neurons=4), good.a.sel(neurons=6), atol=1e-3)


def keys(seed):
    """The key of these points, as a sweep of nothing else makes it."""
    ds = rf.sweep(
        lambda point: {"data": jax.random.key_data(point.key("seed"))},
        {"seed": [seed]},
        progress=False,
    )
    return jax.random.wrap_key_data(jnp.asarray(ds.data.values[0]))
