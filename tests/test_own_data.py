"""Data of one's own for `reluflow run` and for grids: what is read, and what is refused."""

import json

import numpy as np
import pytest
from tolerance import assert_close

pytest.importorskip("typer")
pytest.importorskip("matplotlib")

from typer.testing import CliRunner

from reluflow.__main__ import app
from reluflow.cli import _own_data, _run, _settings
from reluflow.cli._experiments import Shape
from reluflow.cli._forecast import forecast

X, Y = np.array([[1.0, 0.5, 0.0], [-0.5, 1.0, 2.0]]), np.array([1.0, -0.5])
CSV = "a, y, b, c\n1,1,0.5,0\n-0.5,-0.5,1,2\n"


def written(tmp_path, text, name="data.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def invoke(*arguments):
    return CliRunner(env={"COLUMNS": "250", "NO_COLOR": "1"}).invoke(app, ["run", *arguments])


def test_csv_and_npz_are_the_same_data(tmp_path):
    np.savez(tmp_path / "data.npz", x=X, y=Y)
    for path in (written(tmp_path, CSV), written(tmp_path, "\ufeff" + CSV), tmp_path / "data.npz"):
        data = _own_data.read(path)
        np.testing.assert_array_equal(data.x, X)
        np.testing.assert_array_equal(data.y, Y)
    other = _own_data.read(written(tmp_path, CSV.replace("2\n", "3\n")))
    assert not np.array_equal(other.x, X)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["is empty", "header"]),
        ("a,b\n1,2\n", ["columns a, b", "the column y"]),
        ("y\n1\n", ["columns y", "one column for each coordinate"]),
        ("a,y,y\n1,2,3\n", ["columns a, y, y"]),
        ("1,2\n3,4\n", ["columns 1, 2", "header"]),
        ("a,y\n", ["no samples"]),
        ("a,y\n1,2,3\n", ["line 2", "3 entries", "header has 2"]),
        ("a,y\n1,2\n\n3,four\n", ["line 4", "column y", "'four'"]),
        ("a,b,y\n1,2,nan\n", ["sample 1", "NaN"]),
        ("a,b,y\n1,0,2\ninf,1,2\n", ["sample 2", "infinite"]),
        ("a,b,y\n\x001,2,1\n", ["data.csv"]),
    ],
)
def test_csv_that_is_no_data(text, words, tmp_path):
    assert _own_data.read(written(tmp_path, CSV)).samples == 2  # the control
    result = invoke(str(written(tmp_path, text)), "--out", str(tmp_path / "out"))
    assert result.exit_code == 2, result.output
    for word in (*words, "data.csv"):
        assert word in result.output
    assert "Traceback" not in result.output and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": X}, "has the arrays x, but"),
        ({"inputs": X, "labels": Y}, "has the arrays inputs, labels, but"),
        ({"x": X, "y": Y[:, None]}, r"y of shape \(2, 1\)"),
        ({"x": X[0], "y": Y}, r"x of shape \(3,\)"),
        ({"x": X, "y": Y[:1]}, "one label per row"),
        ({"x": X, "y": np.array([1.0, np.nan])}, "sample 2 holds NaN"),
        ({"x": np.array([["a", "b"]]), "y": Y[:1]}, "of real numbers"),
        ({"x": X.astype(object), "y": Y}, "cannot be read"),
    ],
)
def test_npz_that_is_no_data(arrays, words, tmp_path):
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(ValueError, match=words):
        _own_data.read(tmp_path / "data.npz")


def test_files_that_are_not_there_or_no_data(tmp_path):
    with pytest.raises(ValueError, match="There is no file"):
        _own_data.read(tmp_path / "data.csv")
    with pytest.raises(ValueError, match="cannot be read"):
        _own_data.read(written(tmp_path, "no zip", "data.npz"))
    with pytest.raises(ValueError, match=r"neither \.csv nor \.npz"):
        _own_data.read(written(tmp_path, CSV, "data.txt"))
    result = invoke("three-points")
    assert result.exit_code == 2 and ".csv or .npz" in result.output


@pytest.mark.parametrize("orthogonal", [True, False])
def test_the_forecast_says_what_it_can(orthogonal, tmp_path):
    """ln(1/lambda) / |D| for the first neuron in any case; it is a guess where nothing predicts the
    later ones."""
    text = "a,b,y\n2,0,1\n0,1,-1\n" if orthogonal else "a,b,y\n2,0,1\n0.5,1,-1\n"
    _, own = _settings.named(str(written(tmp_path, text)))
    assert own is not None
    settings = _settings.Settings(
        "data", 40, "1e-300", 0, None, 1e-8, None, tmp_path, None, Shape(None, None, None), own
    )
    net, data = settings.problem()
    ahead = forecast(own, net, data)
    assert ("is a guess" in _run.announcement(settings, data, ahead)) != orthogonal
    # Orthogonal: the neurons of a > 0 grow at |D_+| = 1, those of a < 0 at |D_-| = 1/2.
    if orthogonal:
        assert_close(ahead.first_growth, 300.0 * np.log(10.0), rtol=0.02)
        assert ahead.t1 > 2.0 * 300.0 * np.log(10.0)
    assert ahead.first_growth < ahead.t1 < np.inf


@pytest.mark.slow  # compiles a flow
def test_a_run_of_data_of_ones_own(tmp_path):
    path = written(tmp_path, "a,b,y\n1,0,1\n0,1,-0.5\n", "mine.csv")
    out = tmp_path / "out"
    result = invoke(
        str(path), "--neurons", "8", "--scale", "1e-3", "--integrator", "dopri8", "--seed", "2",
        "--out", str(out),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    names = {"summary.json", "trajectory.npz", "loss.png", "states.png"}
    assert {file.name for file in out.iterdir()} == names
    summary = json.loads((out / "summary.json").read_text())
    assert summary["settings"]["experiment"] == "mine" and summary["settings"]["samples"] == 2
    assert_close(summary["minimal_squared_norm"], 2.0 * (1.0 + 0.5), rtol=1e-14)
    with np.load(out / "trajectory.npz") as file:
        np.testing.assert_array_equal(file["y"], [1.0, -0.5])
