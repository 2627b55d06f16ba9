"""What a grid measures is what the rest of the library says of the same flow."""

from pathlib import Path

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from tolerance import assert_close

import reluflow as rf
from reluflow import theory
from reluflow.cli.grids._drops import drops
from reluflow.cli.grids._file import grid_of
from reluflow.sweep._axes import read_axes
from reluflow.sweep._point import Point, base_key
from reluflow.theory._orthogonal import is_one_to_one


def falls(*times):
    """A loss of 1 that falls tenfold at each of these times, within a time of about 1."""
    ts = np.linspace(0.0, 200.0, 801)
    return ts, 10.0 ** -np.sum([1.0 / (1.0 + np.exp(-4.0 * (ts - t))) for t in times], axis=0)


@pytest.mark.parametrize("times", [(50.0,), (50.0, 120.0), (30.0, 90.0, 150.0)])
def test_drops_are_counted(times):
    ts, losses = falls(*times)
    assert int(drops(jnp.asarray(ts), jnp.asarray(losses))) == len(times)
    # Padded as the buffers of a solution are; and two drops at once are one.
    padded = [jnp.concatenate([jnp.asarray(a), jnp.full(50, jnp.inf)]) for a in (ts, losses)]
    assert int(drops(*padded)) == len(times)
    ts, losses = falls(*times, times[-1] + 0.1)
    assert int(drops(jnp.asarray(ts), jnp.asarray(losses))) == len(times)


def test_what_falls_at_once_and_slows_down_has_no_drop():
    ts = np.linspace(0.0, 20.0, 401)
    for losses in (np.exp(-ts), np.exp(-5.0 * ts) + 1e-3 * np.exp(-0.1 * ts), np.ones_like(ts)):
        assert int(drops(jnp.asarray(ts), jnp.asarray(losses))) == 0
    assert int(drops(*map(jnp.asarray, falls(50.0)))) == 1  # the control


@pytest.mark.parametrize(("neurons", "samples"), [(3, 2), (6, 3), (12, 6)])
def test_assumption_4i_is_that_of_the_assumptions(neurons, samples):
    data = rf.Dataset(np.eye(samples), np.where(np.arange(samples) % 2, 1.0, -1.0))
    found = set()
    for seed in range(40):
        net = rf.balanced(jr.key(seed), neurons, samples, -1.0)
        holds = bool(is_one_to_one(theory.masks(net, data), jnp.ones(neurons, bool)))
        assert holds == theory.assumptions(net, data)[2026, "4i"].holds
        wide = rf.balanced(jr.key(seed), 2 * neurons, samples, -1.0, active=neurons)
        counted = wide.output != 0.0
        assert bool(is_one_to_one(theory.masks(wide, data), counted)) == holds
        found.add(holds)
        # The control: as if the inactive ones counted.
        assert not bool(is_one_to_one(theory.masks(wide, data), jnp.ones(2 * neurons, bool)))
    assert False in found


GRID = {
    "records": ["norm_ratio", "drops", "alignment", "grown"],
    "problem": {"name": "identity", "samples": 3, "labels": [2.0, -1.0]},
    "start": {"neurons": 12},
    "flow": {"t1": "rest"},
    "axes": {"seed": [0, 1], "log_lambda": [-2.0, -40.0]},
}


@pytest.mark.slow  # compiles two flows
def test_a_grid_of_flows_is_the_flows():
    """With the keys as they are documented, another integrator, and `rf.analysis`."""
    grid = grid_of(GRID, Path())
    ds = rf.sweep(grid.measure, grid.axes, static=grid.static, progress=False)
    base, impl = base_key(0)
    (axis,) = read_axes({"seed": [0, 1]}, ())
    for place, seed in enumerate([0, 1]):
        words = {"seed": jnp.asarray(axis.words()[place])}
        base_of = jax.random.wrap_key_data(jnp.asarray(base), impl=impl)
        key = Point({"seed": seed}, words, base_of).key("seed")
        data = rf.Dataset(np.eye(3), np.array([2.0, -1.0, 2.0]))
        for log_lambda in (-2.0, -40.0):
            net = rf.balanced(jr.fold_in(key, 1), 12, 3, log_lambda)
            t1 = 3000.0
            ts = jnp.concatenate([jnp.linspace(0.0, 400.0, 1600), jnp.asarray([t1])])
            sol = rf.flow(net, data, t1, saveat=diffrax.SaveAt(ts=ts), rtol=1e-9)
            cell = ds.sel(seed=seed, log_lambda=log_lambda)
            assert_close(cell.norm_ratio, rf.analysis.norm_ratio(sol.final, data), rtol=1e-7)
            left = [p for p in rf.analysis.plateaus(sol) if np.isfinite(p.end)]
            assert int(cell.drops) == len(left)
            assert 0.0 < float(cell.alignment) <= 1.0 + 1e-12
    # The control: lambda matters.
    assert (abs(ds.norm_ratio.isel(log_lambda=0) - ds.norm_ratio.isel(log_lambda=1)) > 1e-3).all()
