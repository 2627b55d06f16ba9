"""`reluflow run --loss` and `--activation`: what is refused, predicted, integrated and drawn."""

import json
import math

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("matplotlib")

from test_cli import FILES, invoke
from test_cli_forecast import settings
from tolerance import assert_close

from reluflow.cli import _output, _run
from reluflow.cli._choices import Activation
from reluflow.cli._experiments import Name
from reluflow.cli._forecast import early_growths, forecast

LOGISTIC = ["two-points", "--loss", "logistic"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["two-points", "--loss", "logistc"], ["--loss", "'logistc'", "Did you mean logistic?"]),
        (["two-points", "--loss", "Square"], ["--loss", "Did you mean square?"]),
        (["two-points", "--loss", ""], ["--loss", "square, logistic and exponential."]),
        (["five-points", "--loss", "logistic"], ["--loss", "labels 1 and -1", "two-points"]),
        (["OTHER.csv", "--loss", "exponential"], ["--loss", "labels 1 and -1", "OTHER"]),
        ([*LOGISTIC, "--until-rest"], ["--until-rest", "no flow comes to rest", "logistic"]),
        ([*LOGISTIC, "--t1", "inf"], ["--t1", "no flow comes to rest"]),
        (["two-points", "--activation", "abs"], ["--activation", "Did you mean absolute?"]),
        (["two-points", "--activation", "leaky_relu:0.1"], ["Did you mean leaky:SLOPE?"]),
        (["two-points", "--activation", "tanh"], ["relu, absolute, linear and leaky:SLOPE."]),
        (["two-points", "--activation", "leaky"], ["--activation", "leaky:0.1"]),
        (["two-points", "--activation", "leaky:"], ["--activation", "leaky:0.1"]),
        (["two-points", "--activation", "leaky:much"], ["--activation", "'leaky:much'"]),
        (["two-points", "--activation", "leaky:nan"], ["--activation", "between"]),
        (["two-points", "--activation", "leaky:1e300"], ["between -100 and 100"]),
        (["two-points", "--activation", "relu:0.1"], ["relu has no slope", "leaky:SLOPE"]),
    ],
)
def test_what_is_refused(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "OTHER.csv").write_text("a,b,y\n1,0,1\n0,1,-0.5\n")
    result = invoke(*arguments, "--out", "out")
    assert result.exit_code == 2, result.output
    for word in words:
        assert word in result.output
    assert "Traceback" not in result.output and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("loss", "activation", "rate"),
    [
        # |D| of a > 0 on two points, x = (-1/2, 1) and (2, 1): by the residuals at h = 0, which are
        # the labels or, of the logistic loss, their halves, and by the slopes.
        ("square", Activation("relu"), math.sqrt(5.0) / 2.0),
        ("exponential", Activation("relu"), math.sqrt(5.0) / 2.0),
        ("logistic", Activation("relu"), math.sqrt(5.0) / 4.0),
        # It slides along the boundary of the other input.
        ("square", Activation("absolute"), math.sqrt(5.0) / 2.0),
        ("square", Activation("linear"), math.sqrt(5.0 + 1.25) / 2.0),
        ("square", Activation("leaky", 0.5), math.sqrt(5.0 + 0.25 * 1.25) / 2.0),
    ],
)
def test_the_first_growth_is_that_of_the_loss_and_the_activation(loss, activation, rate):
    times = []
    for scale in ("1e-500", "1e-1000"):
        one = settings(Name.two_points, scale, loss=loss, activation=activation)
        problem = (*one.problem(), one.made_loss())
        assert_close(max(found for _, found in early_growths(*problem)), rate, rtol=1e-3)
        ahead = forecast(one.experiment, *problem)
        assert ahead.first_growth < ahead.t1 < math.inf
        assert ("is a guess" in _run.announcement(one, problem[1], ahead)) != one.as_in_papers
        times.append(ahead.first_growth)
    assert_close(times[1] - times[0], 500.0 * math.log(10.0) / rate, rtol=2e-3)


def test_a_run_tells_its_loss_and_activation(tmp_path, monkeypatch):
    figures, figure_of = [], _output.figure_of
    monkeypatch.setattr(
        _output, "figure_of", lambda ax: figures.append(figure_of(ax)) or figures[-1]
    )
    result = invoke(
        *(*LOGISTIC, "--activation", "leaky:0.25", "--neurons", "4", "--scale", "1e-1"),
        *("--t1", "1000", "--out", str(tmp_path)),
    )
    assert result.exit_code == 0, result.output
    heading = "two-points, logistic loss, activation leaky:0.25"
    assert f"gradient flow of {heading}" in result.output
    assert {path.name for path in tmp_path.iterdir()} == FILES
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["settings"]["loss"] == "logistic" and "logistic" in summary["normalisation"]
    assert summary["settings"]["activation"] == "leaky:0.25"
    assert summary["minimal_squared_norm"] is None  # it is of ReLU and the square loss
    curve, panels = figures
    assert curve.axes[0].get_title() == heading and "logistic" in curve.axes[0].get_ylabel()
    assert panels.get_suptitle() == heading
    with np.load(tmp_path / "trajectory.npz") as file:
        trajectory = dict(file)
    expected = logistic_losses(trajectory, slope=0.25)
    assert_close(trajectory["losses"], expected, rtol=1e-9)
    assert_close(float(panels.axes[0].get_title().split()[-1]), expected[0], rtol=1e-3)
    # Long after the drops, which fall like 1/t: all of it is shown.
    assert curve.axes[0].get_xscale() == "log" and expected[-1] < 1e-3 * expected[0]
    assert curve.axes[0].get_ylim()[0] < expected[-1]


def logistic_losses(trajectory, slope):
    scale = np.exp(trajectory["log_scale"])
    a, w = scale * trajectory["output"], scale[..., None] * trajectory["hidden"]
    p = w @ trajectory["x"].T
    h = np.einsum("tj,tjk->tk", a, np.where(p > 0.0, p, slope * p))
    return np.mean(np.log1p(np.exp(-trajectory["y"] * h)), axis=1)


def test_slopes_of_opposite_signs_slide_on_orthogonal_inputs(tmp_path):
    """Where the integrators alone leave no room for it."""
    result = invoke(
        *("two-points", "--activation", "absolute", "--neurons", "6", "--t1", "60"),
        *("--out", str(tmp_path)),
    )
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["events"]["slide"] > 0 and summary["loss_final"] < 1e-10
