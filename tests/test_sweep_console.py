"""`reluflow sweep` and `reluflow show`, on a grid that compiles within seconds."""

import re

import numpy as np
import pytest
from tolerance import assert_close

pytest.importorskip("typer")
pytest.importorskip("matplotlib")
pytest.importorskip("zarr")

import jax
from typer.testing import CliRunner

import reluflow as rf
from reluflow.__main__ import app
from reluflow.cli import _sweep, _waiting
from reluflow.cli.grids._records import RECORDS, Record
from reluflow.sweep import load

GRID = """
title = "a small grid"
records = ["assumption_3", "limit_jump_times", "limit_norm_ratio"]
times = 3
[problem]
name = "two-points"
[start]
log_lambda = -1
[axes]
seed = { number = 12 }
neurons = [2, 4, 9]
"""
PICTURE = """
[[pictures]]
kind = "probability"
record = "assumption_3"
against = "neurons"
title = "how often"
"""


def invoke(*arguments, columns=250):
    runner = CliRunner(env={"COLUMNS": str(columns), "NO_COLOR": "1", "TERM": "dumb"})
    return runner.invoke(app, list(map(str, arguments)))


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text(GRID)
    return path


def values(out):
    ds = load(out / "results.zarr")
    return {name: np.asarray(ds[name]) for name in ds.data_vars}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


def test_a_sweep_of_a_file(grid, tmp_path):
    out = tmp_path / "deep" / "out"
    result = invoke("sweep", grid, "--out", out)
    assert result.exit_code == 0, result.output
    for word in ("a small grid", "36 points", "assumption 3", "reluflow show", "36 complete"):
        assert word in result.output
    found = values(out)
    holds = found["assumption_3"]
    # A wider network of the same seed has the neurons of the narrow one, and some more.
    assert np.all(holds[:, :-1] <= holds[:, 1:]) and 0 < holds.sum() < holds.size
    # Where the assumption holds, the limit process ends at the smallest norm, after two jumps.
    assert_close(found["limit_norm_ratio"][holds], 1.0, rtol=1e-12)
    with pytest.raises(AssertionError):
        assert_close(found["limit_norm_ratio"][~holds], 1.0, rtol=1e-5)
    assert np.isfinite(found["limit_jump_times"][holds]).sum(axis=-1).tolist() == [2] * holds.sum()
    assert (out / "grid.toml").read_text() == GRID


def test_it_goes_on_where_it_was(grid, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert invoke("sweep", grid, "--out", whole).exit_code == 0
    result = invoke("sweep", grid, "--out", parts, "--first", "seed=5")
    assert result.exit_code == 0 and "15 points" in result.output
    assert load(parts / "results.zarr").sizes["seed"] == 5
    assert invoke("sweep", grid, "--out", parts).exit_code == 0
    assert_same(values(whole), values(parts))
    # The control: another seed of all keys is another sweep.
    grid.write_text("seed = 1\n" + GRID)
    other = tmp_path / "other"
    assert invoke("sweep", grid, "--out", other).exit_code == 0
    assert not np.array_equal(values(whole)["assumption_3"], values(other)["assumption_3"])
    result = invoke("sweep", grid, "--out", parts)
    assert result.exit_code == 2 and "seed" in result.output and "Traceback" not in result.output
    assert (parts / "grid.toml").read_text() == GRID


def test_parts_make_a_whole(grid, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert invoke("sweep", grid, "--out", whole).exit_code == 0
    result = invoke("sweep", grid, "--out", parts, "--part", "2/2")
    assert result.exit_code == 0, result.output
    done = int(re.search(r"(\d+) of 36 points", result.output)[1])
    assert 0 <= done < 36
    assert invoke("sweep", grid, "--out", parts, "--part", "1/2").exit_code == 0
    assert_same(values(whole), values(parts))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--part", "3"], ["--part", "3/8"]),
        (["--part", "9/8"], ["--part", "9/8"]),
        (["--part", "0/8"], ["--part", "0/8"]),
        (["--batch", "0"], ["--batch"]),
        (["--first", "seed"], ["--first", "seed=5"]),
        (["--first", "sed=5"], ["--first", "seed, neurons"]),
        (["--dask", "nonsense://here"], ["--dask", "nonsense://here"]),
    ],
)
def test_wrong_options(arguments, words, grid, tmp_path):
    result = invoke("sweep", grid, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 2, result.output
    for word in words:
        assert word in result.output
    assert "Traceback" not in result.output and not (tmp_path / "out").exists()


def test_wrong_files(grid, tmp_path):
    out = tmp_path / "out"
    for text, word in ((GRID.replace("times", "tims"), "Did you mean 'times'?"), ("]", "no TOML")):
        grid.write_text(text)
        result = invoke("sweep", grid, "--out", out)
        assert result.exit_code == 2 and word in result.output and not out.exists()
    assert invoke("sweep", tmp_path / "none.toml").exit_code == 2
    (tmp_path / "file").write_text("precious")
    grid.write_text(GRID)
    assert invoke("sweep", grid, "--out", tmp_path / "file").exit_code == 2


def test_points_that_fail_end_with_code_1(grid, tmp_path, monkeypatch):
    """They are kept, counted, and run again when asked for."""
    bad = {"code": rf.RESULTS.chattering}

    def measure(here):
        return rf.RESULTS.where(here.neurons > 4, bad["code"], rf.RESULTS.successful)

    monkeypatch.setitem(RECORDS, "ending", Record("how it ended", measure, "start", "the end"))
    grid.write_text(GRID.replace('"limit_norm_ratio"', '"ending"'))
    out = tmp_path / "out"
    result = invoke("sweep", grid, "--out", out)
    assert result.exit_code == 1, result.output
    for word in ("12 points failed", "12 chattering", "24 successful", "--rerun-failed"):
        assert word in result.output
    assert invoke("show", out).exit_code == 0
    bad["code"] = rf.RESULTS.successful
    jax.clear_caches()
    result = invoke("sweep", grid, "--out", out, "--rerun-failed")
    assert result.exit_code == 0, result.output
    assert "failed" not in result.output and "36 successful" in result.output


def test_stop_after_failures(grid, tmp_path, monkeypatch):
    record = Record("how it ended", lambda here: rf.RESULTS.diverged, "start", "the end")
    monkeypatch.setitem(RECORDS, "ending", record)
    grid.write_text(GRID.replace('"limit_norm_ratio"', '"ending"'))
    result = invoke("sweep", grid, "--out", tmp_path / "out", "--stop-after-failures", "1")
    assert result.exit_code == 1 and "diverged" in result.output and "goes on" in result.output


def test_ctrl_c_ends_with_130(grid, tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    def ended():
        raise SystemExit(_waiting.INTERRUPTED)

    monkeypatch.setattr(_sweep, "run", interrupted)
    monkeypatch.setattr(_waiting, "_exit_now", ended)
    result = invoke("sweep", grid, "--out", tmp_path / "out")
    assert result.exit_code == 130
    assert "the same command goes on" in result.output


def test_show(grid, tmp_path):
    out = tmp_path / "out"
    grid.write_text(GRID + PICTURE)
    assert invoke("sweep", grid, "--out", out).exit_code == 0
    result = invoke("show", out)
    assert result.exit_code == 0, result.output
    (only,) = (out / "pictures").iterdir()
    assert only.name == "probability-assumption_3-neurons.png"
    assert only.read_bytes().startswith(b"\x89PNG") and str(only) in result.output
    share = values(out)["assumption_3"].mean(axis=0)
    for value in share:
        assert f"{value:.6g}" in result.output
    assert invoke("show", out, "--against", "neurons").exit_code == 0
    assert {path.name for path in (out / "pictures").iterdir()} == {
        "probability-assumption_3-neurons.png",
        "band-limit_norm_ratio-neurons.png",
        "times-limit_jump_times.png",
    }
    along = invoke(
        "show", out, "--record", "assumption_3", "--against", "seed", "--along", "neurons"
    )
    assert along.exit_code == 2  # the seeds are what a threshold is taken over
    some = invoke("show", out, "--record", "limit_jump_times", "--select", "neurons=8", "--where",
                  "assumption_3", "--out", tmp_path / "elsewhere")  # fmt: skip
    assert some.exit_code == 0, some.output
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == [
        "times-limit_jump_times.png"
    ]


def test_show_of_a_bare_store(grid, tmp_path):
    out = tmp_path / "out"
    assert invoke("sweep", grid, "--out", out).exit_code == 0
    (out / "results.zarr").rename(tmp_path / "bare.zarr")
    before = {path.name for path in (tmp_path / "bare.zarr").iterdir()}
    result = invoke("show", tmp_path / "bare.zarr", "--record", "assumption_3")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "bare.zarr-pictures").is_dir()
    assert {path.name for path in (tmp_path / "bare.zarr").iterdir()} == before


def test_show_of_what_is_none(grid, tmp_path):
    result = invoke("show", tmp_path)
    assert result.exit_code == 2 and "holds no sweep" in result.output
    out = tmp_path / "out"
    assert invoke("sweep", grid, "--out", out).exit_code == 0
    for arguments, word in (
        (["--record", "norm"], "limit_norm_ratio"),
        (["--against", "width"], "no axis 'width'"),
        (["--where", "norm"], "'norm'"),
        (["--select", "neurons"], "--select"),
        (["--select", "neurons=many"], "no number"),
    ):
        result = invoke("show", out, *arguments)
        assert result.exit_code == 2 and word in result.output, result.output
        assert "Traceback" not in result.output


def test_names_are_explained():
    result = invoke("sweep", "--list")
    assert result.exit_code == 0
    for name in (*RECORDS, "two-points", "he-uniform"):
        assert name in result.output
    lines = invoke("sweep", "--list", columns=80).output.splitlines()
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("command", ["sweep", "show"])
def test_help_at_80_columns(command):
    lines = invoke(command, "--help", columns=80).output.splitlines()
    assert len(lines) > 10 and max(map(len, lines)) <= 80
    assert {"sweep": "--list", "show": "--against"}[command] in " ".join(lines)
