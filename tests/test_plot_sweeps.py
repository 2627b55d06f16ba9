"""Pictures of sweeps: what is drawn is what NumPy and SciPy say of the same numbers."""

import numpy as np
import pytest
from scipy.stats import binomtest
from tolerance import assert_close

pytest.importorskip("matplotlib")
pytest.importorskip("xarray")

import xarray

from reluflow import plot
from reluflow.plot._sweep_curves import thresholds, wilson
from reluflow.plot._sweep_data import failed

SEEDS, WIDTHS, LOGS = 40, [4, 8, 16], [-2.0, -20.0, -200.0, -2000.0]
FLAGS = {"flag_values": np.arange(4), "flag_meanings": "successful loss_reached x rest_reached"}


@pytest.fixture
def ds():
    """Seeds, widths and lambdas; the points of seed 0 failed, those of seed 1 were not run."""
    draws = np.random.default_rng(0)
    dims, shape = ("seed", "neurons", "log_lambda"), (SEEDS, len(WIDTHS), len(LOGS))
    status, result = np.zeros(shape, np.int8), np.zeros(shape, np.int32)
    result[2], result[0], status[1] = 3, 2, -1
    return xarray.Dataset(
        {
            "norm": (dims, np.exp(draws.normal(size=shape)), {"symbol": "the norm"}),
            "holds": (dims, draws.uniform(size=shape) < 0.3),
            "times": ((*dims, "jump"), np.sort(draws.uniform(1.0, 5.0, (*shape, 3)), axis=-1)),
            "result": (dims, result, FLAGS),
            "status": (dims, status),
        },
        {"seed": np.arange(SEEDS), "neurons": WIDTHS, "log_lambda": LOGS},
    )


def points(line):
    return np.stack([line.get_xdata(), line.get_ydata()], axis=1)


def test_points_that_failed(ds):
    bad = failed(ds)
    assert bad.isel(seed=0).all() and not bad.isel(seed=slice(1, None)).any()


def test_median_and_band(ds):
    one = ds.isel(log_lambda=[1])
    ax = plot.sweep_band(one, "norm", "neurons", span=(0.25, 0.75))
    values = ds.norm.values[2:, :, 1]
    (line,) = ax.lines
    assert_close(points(line), np.stack([WIDTHS, np.median(values, axis=0)], axis=1))
    (band,) = ax.collections
    low, high = np.quantile(values, [0.25, 0.75], axis=0)
    drawn = band.get_paths()[0].vertices
    assert {*np.round(low, 9), *np.round(high, 9)} <= set(np.round(drawn[:, 1], 9))
    assert ax.get_ylabel() == "the norm"
    # The control: the points that failed, or were not run, would change the median.
    with pytest.raises(AssertionError):
        assert_close(np.median(ds.norm.values[:, :, 1], axis=0), line.get_ydata(), rtol=1e-5)


def test_a_line_for_each_value_of_the_other_axes(ds):
    ax = plot.sweep_band(ds, "norm", "log_lambda")
    assert len(ax.lines) == len(WIDTHS)
    assert ax.get_xscale() == "log" and ax.get_xlabel() == r"$\ln(1/\lambda)$"
    assert_close(np.sort(ax.lines[0].get_xdata()), -np.sort(LOGS)[::-1])
    assert len({line.get_marker() for line in ax.lines}) == len(WIDTHS)
    assert len({line.get_color() for line in ax.lines}) == len(WIDTHS)
    wide = xarray.concat(
        [ds.assign_coords(neurons=ds.neurons + 100 * k) for k in range(3)], "neurons"
    )
    with pytest.raises(ValueError, match="9 lines"):
        plot.sweep_band(wide, "norm", "log_lambda")


def test_where(ds):
    ax = plot.sweep_band(ds.isel(log_lambda=[0]), "norm", "neurons", where="holds")
    values = np.where(ds.holds, ds.norm, np.nan)[2:, :, 0]
    assert_close(ax.lines[0].get_ydata(), np.nanmedian(values, axis=0))


def test_probability(ds):
    ax = plot.sweep_probability(ds.isel(log_lambda=[0]), "holds", "neurons")
    yes, count = ds.holds.values[2:, :, 0].sum(axis=0), SEEDS - 2
    data, caps, (bars,) = ax.containers[0]
    assert_close(data.get_ydata(), yes / count)
    for k, segment in enumerate(bars.get_segments()):
        interval = binomtest(int(yes[k]), count).proportion_ci(method="wilson")
        assert_close(segment[:, 1], [interval.low, interval.high], rtol=1e-12)
    assert len(caps) == 2
    with pytest.raises(ValueError, match="truth values"):
        plot.sweep_probability(ds, "norm", "neurons")


def test_wilson_at_the_ends():
    low, high = wilson(np.array([0.0, 10.0]), np.array([10.0, 10.0]))
    assert_close(low[0], 0.0, atol=1e-15) and high[0] < 1.0
    assert 0.2 < high[0] < 0.3 and 0.7 < low[1] < 0.8 and abs(high[1] - 1.0) < 1e-12


def test_thresholds():
    values = np.array([-2.0, -4.0, -6.0])
    holds = np.array(
        [[0, 1, 1], [0, 0, 1], [0, 0, 0], [1, 1, 1], [0, np.nan, 1], [1, 0, 1]], dtype=float
    )
    assert_close(thresholds(values, holds)[:2], [-3.0, -5.0])
    assert thresholds(values, holds)[2] == -np.inf and thresholds(values, holds)[3] == np.inf
    assert np.isnan(thresholds(values, holds)[4])
    assert thresholds(values, holds)[5] == -5.0  # the gap counts: from the end on without one
    assert_close(thresholds(-values, holds)[:2], [3.0, 5.0])  # holds for large values


def test_threshold_against_an_axis(ds):
    cut = np.array([-10.0, -100.0, -1000.0])
    ds["holds"] = (ds.log_lambda < xarray.DataArray(cut, dims="neurons")) & (ds.seed >= 0)
    ax = plot.sweep_threshold(ds, "holds", "log_lambda", "neurons")
    assert_close(points(ax.lines[0]), np.stack([WIDTHS, [-11.0, -110.0, -1100.0]], axis=1))


def test_times(ds):
    ax = plot.sweep_times(ds, "times", bins=7)
    filled = [patch for patch in ax.patches if patch.get_fill()]
    heights = [patch.get_data().values for patch in filled]
    kept = ds.times.values[2:].reshape(-1, 3)
    edges = filled[0].get_data().edges
    assert_close([edges[0], edges[-1]], [kept.min(), kept.max()])
    for k, height in enumerate(heights):
        assert_close(height, np.histogram(kept[:, k], edges)[0] / len(kept))
    with pytest.raises(AssertionError):
        assert_close(heights[0], heights[1], rtol=1e-5)
    with pytest.raises(ValueError, match="several times"):
        plot.sweep_times(ds, "norm")


def test_what_is_not_there(ds):
    with pytest.raises(ValueError, match="norm, holds, times, result"):
        plot.sweep_band(ds, "loss", "neurons")
    with pytest.raises(ValueError, match="no axis 'width', only seed, neurons, log_lambda"):
        plot.sweep_band(ds, "norm", "width")
    with pytest.raises(TypeError, match=r"rf\.sweep"):
        plot.sweep_band(ds.norm, "norm", "neurons")
    text = ds.isel(neurons=[0]).assign_coords(neurons=["many"])
    with pytest.raises(ValueError, match="no numbers"):
        plot.sweep_band(text, "norm", "neurons")
