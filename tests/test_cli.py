"""The command line: wrong input is refused before anything is done, a run writes what it says."""

import errno
import json
import os
import re

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from tolerance import assert_close

pytest.importorskip("typer")
pytest.importorskip("matplotlib")

from typer.testing import CliRunner

from reluflow import RESULTS
from reluflow.__main__ import app
from reluflow.cli import _files, _output, _run
from reluflow.cli._settings import log_of

FILES = {"summary.json", "trajectory.npz", "loss.png", "states.png"}


def invoke(*arguments):
    # Wide, so that no word of an error message is broken over two lines.
    return CliRunner(env={"COLUMNS": "250", "NO_COLOR": "1"}).invoke(app, ["run", *arguments])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["three-points"], ["three-points", "two-points", "gaussian-teacher"]),
        (["two-points", "--neurons", "0"], ["--neurons", "1"]),
        (["two-points", "--neurons", "many"], ["--neurons", "integer"]),
        (["two-points", "--neurons", "1000000000"], ["--neurons", "GiB"]),
        (["orthonormal", "--samples", "1000000"], ["--samples", "GiB"]),
        (["two-points", "--scale", "tiny"], ["--scale", "'tiny'"]),
        (["two-points", "--scale", "0"], ["--scale", "positive"]),
        (["two-points", "--scale", "-1e-6"], ["--scale", "positive"]),
        (["two-points", "--scale", "nan"], ["--scale", "finite"]),
        (["two-points", "--scale", "inf"], ["--scale", "finite"]),
        (["two-points", "--scale", "1e400"], ["--scale", "1e+3", "1e400"]),
        (["two-points", "--scale", "1e-1000001"], ["--scale", "1e-1000000"]),
        (["two-points", "--scale", "1e-9" + "9" * 30], ["--scale", "number"]),
        (["two-points", "--seed", "-1"], ["--seed", "-1", "2^63"]),
        (["two-points", "--seed", "9" * 30], ["--seed", "2^63"]),
        (["two-points", "--t1", "0"], ["--t1", "positive"]),
        (["two-points", "--t1", "nan"], ["--t1", "nan"]),
        (["two-points", "--rtol", "1e-20"], ["--rtol", "1e-13", "1e-20"]),
        (["two-points", "--rtol", "1"], ["--rtol", "0.1"]),
        (["two-points", "--integrator", "euler"], ["--integrator", "euler", "dopri8", "kvaerno5"]),
        (["two-points", "--compare-descent", "0"], ["--compare-descent", "step"]),
        (["two-points", "--compare-descent", "0.3", "--t1", "1"], ["--compare-descent", "divide"]),
        (["two-points", "--compare-descent", "0.1", "--scale", "1e-1000"], ["net", "rf.flow"]),
        (["two-points", "--samples", "3"], ["--samples", "two-points"]),
        (["two-points", "--labels", "positive"], ["--labels", "two-points"]),
        (["orthonormal", "--samples", "4", "--dim", "3"], ["dim", "at least", "4"]),
        (["orthonormal", "--labels", "odd"], ["--labels", "odd", "normal", "positive"]),
        (["two-points", "--nonsense"], ["--nonsense"]),
    ],
)
def test_wrong_input(arguments, words, tmp_path):
    result = invoke(*arguments, "--out", str(tmp_path / "out"))
    assert result.exit_code == 2, result.output
    for word in words:
        assert word in result.output
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def computes_nothing(monkeypatch):
    def compute(*args):
        pytest.fail("It computed before it refused.")

    monkeypatch.setattr(_run, "compute", compute)


def test_out_must_not_be_a_file(tmp_path, monkeypatch):
    computes_nothing(monkeypatch)
    (tmp_path / "file").write_text("precious")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        result = invoke("two-points", "--out", str(out))
        assert result.exit_code == 2 and "--out" in result.output
    assert (tmp_path / "file").read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 1


def test_out_is_tried_before_anything_is_computed(tmp_path, monkeypatch):
    computes_nothing(monkeypatch)
    # Rights do not tell: a user who may do all can still not write to a disk that is full.
    monkeypatch.setattr(_files.tempfile, "TemporaryFile", full_disk)
    (tmp_path / "there").mkdir()
    for out in (tmp_path / "there", tmp_path / "deep" / "er"):
        result = invoke("two-points", "--out", str(out))
        assert result.exit_code == 2, result.output
        assert "--out" in result.output and "No space left" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_directory_in_the_place_of_a_file_is_refused(tmp_path, monkeypatch):
    computes_nothing(monkeypatch)
    (tmp_path / "loss.png").mkdir()
    result = invoke("two-points", "--out", str(tmp_path))
    assert result.exit_code == 2 and "loss.png is a directory" in result.output


def full_disk(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_no_experiment_lists_them():
    result = invoke()
    assert result.exit_code == 2 and "five-points" in result.output


@pytest.mark.parametrize("arguments", [[], ["run"], ["claims"]])
def test_help_at_80_columns(arguments):
    runner = CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"})
    lines = runner.invoke(app, [*arguments, "--help"]).output.splitlines()
    assert len(lines) > 5 and max(map(len, lines)) <= 80
    words = " ".join(line.strip("│ ") for line in lines)
    expected = {
        "": ["run", "claims"],
        "run": ["two-points, five-points, orthonormal or gaussian-teacher", "1e-1000", "dopri8"],
        "claims": ["claims.json", "--quick", "where the first ended"],
    }
    for word in expected["".join(arguments)]:
        assert word in re.sub(r"\s+", " ", words)


def test_a_scale_no_float_can_hold():
    assert_close(log_of("1e-1000"), -1000 * np.log(10.0), rtol=1e-15)
    assert_close(log_of("2.5e-6"), np.log(2.5e-6), rtol=1e-15)


def test_two_points_end_to_end(tmp_path):
    out = tmp_path / "deep" / "two-points"
    result = invoke(
        "two-points",
        "--neurons",
        "12",
        "--seed",
        "3",
        "--out",
        str(out),
        "--compare-descent",
        "1e-2",
        "--rtol",
        "1e-7",
    )
    assert result.exit_code == 0, result.output
    assert {path.name for path in out.iterdir()} == FILES
    assert [path.name for path in out.parent.iterdir()] == ["two-points"]  # no drafts left
    for name in ("loss.png", "states.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    summary = json.loads((out / "summary.json").read_text())
    with np.load(out / "trajectory.npz") as file:
        trajectory = dict(file)
    check_consistency(summary, trajectory)
    for word in ("plateau 1", "plateau 2", "squared norm", "stop", "descent", "error of drops"):
        assert word in result.output
    check_costs(summary, result.output)


def check_consistency(summary, trajectory):
    """The numbers of summary.json, computed again from trajectory.npz."""
    assert summary["result"]["successful"] and 30.0 < summary["t_final"] < 50.0
    ts, losses = trajectory["ts"], trajectory["losses"]
    assert ts[0] == 0.0 and ts[-1] == summary["t_final"]
    assert_close(losses[-1], summary["loss_final"], rtol=1e-6)
    scale = np.exp(trajectory["log_scale"])
    a, w = scale * trajectory["output"], scale[..., None] * trajectory["hidden"]
    assert_close(np.sum(a[-1] ** 2) + np.sum(w[-1] ** 2), summary["squared_norm"], rtol=1e-12)
    h = np.einsum("tj,tjk->tk", a, np.maximum(w @ trajectory["x"].T, 0.0))
    expected = np.mean((h - trajectory["y"]) ** 2, axis=1) / 2.0
    assert_close(losses, expected, rtol=1e-6, atol=1e-20)
    minimum = 2.0 * (1.0 / np.sqrt(5.0) + 1.0 / np.sqrt(1.25))
    assert_close(summary["minimal_squared_norm"], minimum, rtol=1e-14)
    assert_close(summary["squared_norm_ratio"], summary["squared_norm"] / minimum, rtol=1e-14)
    first, second = summary["plateaus"]
    assert_close([first["loss"], second["loss"]], [0.5, 0.25], rtol=1e-3)
    assert first["left"] < first["half"] < second["reached"] < second["left"]
    assert len(trajectory["event_time"]) == summary["stats"]["num_events"]
    assert sum(summary["events"].values()) == summary["stats"]["num_events"]
    assert summary["events"]["stop"] > 0 and summary["events"]["switch on"] == 0
    beside = summary["descent"]
    assert beside["num_field_evaluations"] == 100 * summary["t_final"]
    assert 1e-4 < beside["error"]["function_max"] < 0.2 and len(beside["error"]["drops"]) == 2


def check_costs(summary, output):
    """Which evaluations are those of the run that stops at 501 times, and which are not."""
    saving = summary["stats"]["num_field_evaluations"]
    bare = summary["descent"]["stats_flow"]["num_field_evaluations"]
    assert saving > 2 * bare
    assert f"{saving} field evaluations (a step ends at each saved time)" in output
    assert f"with the end alone saved the flow takes {bare} field evaluations, and the" in output


@pytest.mark.parametrize(
    "arguments",
    [
        ["five-points", "--neurons", "8", "--t1", "60", "--scale", "1e-2"],
        [
            "orthonormal",
            "--samples",
            "3",
            "--dim",
            "4",
            "--neurons",
            "5",
            "--t1",
            "20",
            "--labels",
            "positive",
            "--integrator",
            "tsit5",
        ],
        [
            "gaussian-teacher",
            "--samples",
            "3",
            "--dim",
            "6",
            "--neurons",
            "4",
            "--t1",
            "5",
            "--scale",
            "1e-400",
        ],
    ],
)
def test_the_other_experiments_small(arguments, tmp_path):
    result = invoke(*arguments, "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert {path.name for path in tmp_path.iterdir()} == FILES
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["settings"]["experiment"] == arguments[0]


def test_a_run_again_replaces_its_files_and_no_others(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "summary.json").write_text("old")
    result = invoke("two-points", "--neurons", "3", "--t1", "1", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert {path.name for path in tmp_path.iterdir()} == FILES | {"notes.txt"}
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert json.loads((tmp_path / "summary.json").read_text())["t_final"] == 1.0


def test_a_run_that_fails_on_its_way_says_so(tmp_path, monkeypatch):
    flow = _run.flow

    def impatient(*args, **kwargs):
        return flow(*args, max_steps=12, **kwargs)

    monkeypatch.setattr(_run, "flow", impatient)
    result = invoke("two-points", "--neurons", "3", "--out", str(tmp_path / "out"))
    assert result.exit_code == 1 and "max_steps" in result.output
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert not summary["result"]["successful"] and "max_steps" in summary["result"]["message"]
    with np.load(tmp_path / "out" / "trajectory.npz") as file:
        assert file["ts"][-1] <= summary["t_final"] < 30.0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_run_that_fails_at_its_start_leaves_no_older_files(tmp_path, monkeypatch):
    flow = _run.flow

    def nothing_saved(*args, **kwargs):
        sol = flow(*args, **kwargs)
        never = jnp.full_like(sol.ts, jnp.inf)
        failed = RESULTS.where(jnp.array(True), RESULTS.not_finite, RESULTS.not_finite)
        return eqx.tree_at(lambda s: (s.ts, s.losses, s.result), sol, (never, never, failed))

    monkeypatch.setattr(_run, "flow", nothing_saved)
    for name in (*FILES, "notes.txt"):
        (tmp_path / name).write_text("of an earlier run")
    result = invoke("two-points", "--neurons", "3", "--t1", "1", "--out", str(tmp_path))
    assert result.exit_code == 1 and "NaN" in result.output
    assert {path.name for path in tmp_path.iterdir()} == {"summary.json", "notes.txt"}
    assert not json.loads((tmp_path / "summary.json").read_text())["result"]["successful"]


def test_a_disk_that_is_full_at_the_end_leaves_what_was_there(tmp_path, monkeypatch):
    monkeypatch.setattr(_output.np, "savez", full_disk)
    for name in FILES:
        (tmp_path / name).write_text("of an earlier run")
    result = invoke("two-points", "--neurons", "3", "--t1", "1", "--out", str(tmp_path))
    assert result.exit_code == 1 and "No space left" in result.output
    assert "plateau" in result.output or "end" in result.output  # the numbers at least
    assert {path.name for path in tmp_path.iterdir()} == FILES
    assert all(path.read_text() == "of an earlier run" for path in tmp_path.iterdir())


def test_progress_says_what_is_done_from_the_start(tmp_path):
    result = invoke("two-points", "--neurons", "3", "--t1", "1", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    said = result.stderr.splitlines()
    assert [line for line in said if line.endswith("...")] == [
        "loading JAX ...",
        "preparing the problem ...",
        "compiling the flow ...",
        "computing the flow ...",
    ]
    assert "preparing" not in result.stdout  # which holds the table alone
    assert "gradient flow of two-points" in result.stdout
