"""What a run is predicted to do, and how long it goes on for it."""

import dataclasses
import json
import math
from pathlib import Path

import jax
import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("matplotlib")

from test_cli import invoke
from tolerance import assert_close

import reluflow as rf
from reluflow.cli._choices import RELU
from reluflow.cli._experiments import EXPERIMENTS, Integrator, Name, Shape
from reluflow.cli._forecast import early_growths, forecast
from reluflow.cli._settings import Settings, log_of


def settings(name, scale, seed=0, loss="square", activation=RELU, **shape):
    asked = Shape(shape.get("samples"), shape.get("dim"), None)
    neurons = EXPERIMENTS[name].neurons
    options = {"loss": loss, "activation": activation}
    return Settings(name, neurons, scale, seed, None, 1e-8, None, Path(), None, asked, **options)


def foretold(name, scale, seed=0, **shape):
    one = settings(name, scale, seed, **shape)
    return forecast(one.experiment, *one.problem())


@pytest.mark.parametrize(
    ("name", "scale", "t1"),
    [
        # The ends of the paper's figures, by its iterations.
        (Name.two_points, "1e-6", 40.0),
        (Name.five_points, "1e-4", 700.0),
        (Name.gaussian_teacher, "1e-20", 400.0),
    ],
)
def test_at_the_papers_scale_a_run_ends_where_the_papers_do(name, scale, t1):
    assert_close(foretold(name, scale).t1, t1, rtol=0.05)


@pytest.mark.parametrize("name", list(Name))
def test_the_first_growth_is_ln_lambda_over_the_rate(name):
    shape = {"samples": 8, "dim": 16} if name is Name.gaussian_teacher else {}
    tiny, tinier = foretold(name, "1e-500", **shape), foretold(name, "1e-1000", **shape)
    one = settings(name, "1e-500", **shape)
    rate = max(rate for _, rate in early_growths(*one.problem()))
    later = tinier.first_growth - tiny.first_growth
    assert_close(later, 500.0 * math.log(10.0) / rate, rtol=0.02)
    assert_close(tinier.t1, 2.0 * tiny.t1, rtol=0.1)
    assert tinier.t1 > tinier.first_growth


def test_the_rate_on_two_points_is_that_of_the_paper():
    """|D_+| = |x_2| / 2 and |D_-| = |x_1| / 2."""
    for sign, (time, rate) in zip(
        (1, -1), early_growths(*settings(Name.two_points, "1e-100").problem()), strict=True
    ):
        norm = {1: math.sqrt(5.0), -1: math.sqrt(1.25)}[sign] / 2.0
        assert_close(rate, norm, rtol=1e-3)
        assert_close(time, 100.0 * math.log(10.0) / norm, rtol=0.02)


@pytest.mark.parametrize("integrator", [rf.Boost(), rf.RungeKutta()])
def test_the_loss_begins_to_fall_when_it_is_foretold(integrator):
    """On the smallest of the problems, by both integrators."""
    one = settings(Name.two_points, "1e-20")
    net, data = dataclasses.replace(one, neurons=6).problem()
    time, rate = early_growths(net, data)[0]
    sol = rf.flow(net, data, 2.0 * time, stop_loss=0.45, integrator=integrator)
    # A tenth of the first drop is done when the neurons' squares are a tenth of what they become.
    assert_close(float(sol.stats["t_final"]), time, atol=3.0 / rate)


@pytest.mark.parametrize("scale", ["1", "10", "1e3"])
@pytest.mark.parametrize("name", list(Name))
def test_a_large_start_has_no_growth_to_wait_for(name, scale):
    shape = {"samples": 8, "dim": 16} if name is Name.gaussian_teacher else {}
    found = foretold(name, scale, **shape)
    assert 0.0 <= found.first_growth < found.t1 < math.inf
    if scale != "1":
        assert found.first_growth == 0.0


def test_neurons_that_see_nothing_never_grow():
    data = rf.Dataset(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1.0, 1.0]))
    dead = rf.Network.from_weights([1e-3, 1e-3], [[-1e-3, -1e-4], [-1e-4, -1e-3]])
    found = forecast(EXPERIMENTS[Name.five_points], dead, data)
    assert found.first_growth == math.inf and 0.0 < found.t1 < math.inf
    zero = rf.Network.from_weights([0.0, 0.0], [[0.0, 0.0], [0.0, 0.0]])
    assert forecast(EXPERIMENTS[Name.five_points], zero, data).first_growth == math.inf
    nothing = rf.Dataset(data.x, np.zeros(2))
    net = rf.balanced(jax.random.key(0), 3, 2, -5.0)
    assert forecast(EXPERIMENTS[Name.five_points], net, nothing).first_growth == math.inf


def test_a_random_label_near_0_does_not_set_the_end():
    """Its jump is 100 times as late as the others, and invisible: seed 13 of four samples."""
    key = jax.random.split(jax.random.key(13))
    data = rf.datasets.orthonormal(key[0], 4)
    net = rf.balanced(key[1], 40, 4, -20.0)
    times = np.asarray(rf.theory.limit_process(net, data).times(-20.0))
    last = times[np.isfinite(times)].max()
    assert last > 2000.0
    assert forecast(EXPERIMENTS[Name.orthonormal], net, data).t1 < 0.1 * last


def test_long_plateaus_are_for_boost():
    for scale, expected in (("1e-1000", Integrator.dopri8), ("1e-100000", Integrator.boost)):
        assert settings(Name.two_points, scale).complete(1.0).integrator is expected
    for scale, expected in (("1e-4", Integrator.dopri8), ("1e-1000", Integrator.boost)):
        assert settings(Name.five_points, scale).complete(1.0).integrator is expected
    asked = dataclasses.replace(settings(Name.two_points, "1e-100000"), integrator=Integrator.tsit5)
    assert asked.complete(1.0).integrator is Integrator.tsit5


# From the command line


def test_a_tiny_scale_shows_the_whole_story(tmp_path):
    result = invoke(
        "two-points", "--scale", "1e-1000", "--neurons", "12", "--out", str(tmp_path / "out")
    )
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    first, second = summary["plateaus"]
    size = -log_of("1e-1000") + 0.5 * math.log(24.0)
    # To the distance of two saved times.
    assert_close(first["half"], size / (math.sqrt(5.0) / 2.0), atol=12.0)
    assert_close(second["half"], size / (math.sqrt(1.25) / 2.0), atol=12.0)
    assert_close(first["half"], summary["predicted"]["first_growth"], atol=12.0)
    assert summary["loss_final"] < 1e-6 and "Warning" not in result.output
    assert summary["settings"]["t1"] == summary["t_final"] == summary["predicted"]["t1"]


def test_the_pictured_times_follow_the_run(tmp_path, monkeypatch):
    from reluflow.cli import _output

    pictured = []
    states = _output.states
    monkeypatch.setattr(
        _output,
        "states",
        lambda nets, data, times, loss: (
            pictured.append(np.asarray(times)) or states(nets, data, times=times, loss=loss)
        ),
    )
    for scale in ("1e-6", "1e-60"):
        result = invoke("two-points", "--scale", scale, "--neurons", "12", "--out", str(tmp_path))
        assert result.exit_code == 0, result.output
    papers, tiny = pictured
    assert_close(papers, [0.0, 8.0, 16.0, 30.0], rtol=0.0, atol=0.05)
    # Aligned and small, on the second plateau, at the end.
    size = -log_of("1e-60") + 0.5 * math.log(24.0)
    first, second = size / (math.sqrt(5.0) / 2.0), size / (math.sqrt(1.25) / 2.0)
    assert tiny[0] == 0.0 < tiny[1] < 0.9 * first < 1.1 * first < tiny[2] < 0.9 * second < tiny[3]


@pytest.mark.parametrize("t1", ["40", "2000"])
def test_a_t1_before_the_first_growth_is_named(t1, tmp_path):
    result = invoke(
        *("two-points", "--scale", "1e-1000", "--neurons", "3", "--t1", t1),
        *("--out", str(tmp_path / "out")),
    )
    assert result.exit_code == 0, result.output
    assert "Warning" in result.output and f"--t1 {t1}" in result.output
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    time, end = summary["predicted"]["first_growth"], summary["predicted"]["t1"]
    assert f"{time:.4g}" in result.output and f"{end:g}" in result.output
    assert summary["t_final"] == float(t1) < time < end


def test_until_rest(tmp_path):
    """Where the predicted end is too early or too late, too: at scale 1 the loss is gone by 40."""
    problem = ("two-points", "--neurons", "3", "--scale", "1")
    result = invoke(*problem, "--until-rest", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert "the run ends at rest" in result.output and ", at rest" in result.output
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["result"]["at_rest"] and summary["settings"]["t1"] == summary["t_final"]
    twice = invoke(*problem, "--until-rest", "--t1", "5", "--out", str(tmp_path))
    assert twice.exit_code == 2 and "--until-rest" in twice.output and "--t1" in twice.output
