"""Pictures of an analysis: what is drawn is what was found."""

import jax
import numpy as np
import pytest
from tolerance import assert_close

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure
from trajectories import lazy, on_five_points, on_two_points

import reluflow as rf
from reluflow import analysis, plot


def png_size(ax, tmp_path):
    ax.figure.savefig(tmp_path / "picture.png")
    return (tmp_path / "picture.png").stat().st_size


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_phases(tmp_path):
    sol, data = on_two_points(-40.0)
    found = analysis.phases(sol, data)
    ax = plot.phases(sol, found)
    bands = sorted(patch.get_x() for patch in ax.patches)
    assert_close(bands, [phase.begin for phase in found])
    assert {"growth", "plateau", "convergence"} <= set(texts(ax))
    # Every name is on its band or in the legend, and in one of them only.
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert set(legend) | set(texts(ax)) == {phase.name for phase in found}
    assert not set(legend) & set(texts(ax)) and png_size(ax, tmp_path) > 5000
    given = Figure().add_subplot()
    assert plot.phases(sol, found, given) is given
    part = Figure().subfigures(1, 2)[0].add_subplot()  # has no size in inches of its own
    assert plot.phases(sol, found, part) is part
    curve = plot.phases(*(lambda sol, data: (sol, analysis.phases(sol, data)))(*lazy())).lines[0]
    low, high = curve.axes.get_ylim()  # in the lazy regime too, the curve is in view
    assert np.sum((curve.get_ydata() > low) & (curve.get_ydata() < high)) > 100


def test_saddles(tmp_path):
    sol, data = on_two_points(-40.0)
    found = analysis.saddles(sol, data)
    ax = plot.saddles(sol, found)
    assert [text.split(",")[0] for text in texts(ax)] == [f"index {s.index}" for s in found]
    levels = [line for line in ax.lines if line.get_linewidth() == 4.0]
    for line, saddle in zip(levels, found, strict=True):
        assert_close(line.get_ydata(), saddle.loss)
        assert line.get_xdata()[1] == saddle.leaving > line.get_xdata()[0]
    assert png_size(ax, tmp_path) > 5000
    bad = plot.saddles(sol, [found[0]._replace(stationary=False, reached=False)])
    assert "not stationary" in texts(bad)[0] and "not reached" in texts(bad)[0]
    given = Figure().add_subplot()
    assert plot.saddles(sol, [], given) is given


@pytest.mark.parametrize("log_lambda", [None, -1000.0])
def test_log_norms(log_lambda, tmp_path):
    sol, _ = on_two_points(-1000.0)
    ax = plot.log_norms(sol, log_lambda=log_lambda)
    unit = 1.0 if log_lambda is None else 1000.0
    drawn = np.sort([line.get_ydata()[-1] for line in ax.lines[:60]])
    assert_close(drawn, np.sort(sol.final.log_norm()) / unit, rtol=1e-15)
    assert_close(ax.lines[0].get_xdata()[-1], float(sol.ts[-1]) / unit)
    assert "lambda" in ax.get_xlabel() or log_lambda is None
    assert png_size(ax, tmp_path) > 5000
    with pytest.raises(ValueError, match="`log_lambda`"):
        plot.log_norms(sol, log_lambda=1.0)
    with pytest.raises(ValueError, match="`sol`"):
        plot.log_norms(jax.tree.map(lambda leaf: np.asarray(leaf)[None], sol))


def test_kinks(tmp_path):
    sol, data = on_two_points(-40.0)
    ax = plot.kinks(sol.final, data)
    stems = [line for line in ax.lines if line.get_marker() == "D"]
    drawn = sorted((*line.get_data(),) for line in stems)
    found = analysis.kinks(sol.final, data)
    assert_close(np.sort([x for line in drawn for x in line[0]]), [kink.position for kink in found])
    assert ax.get_title() == "2 kinks" and png_size(ax, tmp_path) > 5000
    five, line = on_five_points()
    assert "further out" in plot.kinks(five.final, line).get_title()
    given = Figure().add_subplot()
    assert plot.kinks(sol.final, data, given) is given


@pytest.mark.parametrize("index", [0, -1])  # e^-1000, and of size 1
def test_principal_components(index, tmp_path):
    sol, _ = on_two_points(-1000.0)
    net = jax.tree.map(lambda leaf: leaf[index], sol.networks)
    ax = plot.principal_components(net)
    assert ax.name == "polar" and png_size(ax, tmp_path) > 5000
    radii = np.concatenate([line.get_ydata() for line in ax.lines])
    assert_close(radii.max(), 1.0, rtol=1e-15)
    assert "%" in ax.get_title() and ("e^" in ax.get_title()) == (index == 0)
    with pytest.raises(ValueError, match="polar"):
        plot.principal_components(net, Figure().add_subplot())
    assert plot.principal_components(rf.Network.from_weights([0.0], [[0.0, 0.0]])).name == "polar"


def test_bands(tmp_path):
    sizes = np.array([16, 32, 64])
    values = np.array([[1.0, 3.0], [2.0, np.nan], [np.nan, np.nan]])
    known = np.ones((3, 1))
    ax = plot.bands(sizes, {"measured": values, "known": known}, dashed=("known",), xlabel="$n$")
    line, dashed = ax.lines
    np.testing.assert_array_equal(line.get_xydata(), [[16.0, 2.0], [32.0, 2.0]])  # no NaN is drawn
    assert dashed.get_linestyle() == "--" and ax.get_xlabel() == "$n$"
    edge = ax.collections[0].get_paths()[0].vertices
    assert {(16.0, 1.0), (16.0, 3.0)} <= {tuple(point) for point in edge.tolist()}
    assert png_size(ax, tmp_path) > 5000
    given = Figure().add_subplot()
    assert plot.bands(sizes, {"known": known}, given) is given
    with pytest.raises(ValueError, match="`curves` must have the shape"):
        plot.bands(sizes, {"measured": values.T})
