"""Grids from TOML files: what is read, and what is refused with the nearest name."""

import math
import pickle
import tomllib
from pathlib import Path

import numpy as np
import pytest
from tolerance import assert_close

from reluflow.cli.grids._expression import Expression
from reluflow.cli.grids._file import grid_of, read_grid
from reluflow.cli.grids._ranges import values_of
from reluflow.cli.grids._records import RECORDS
from reluflow.cli.grids._refusals import GridError

EXAMPLES = sorted((Path(__file__).parents[1] / "examples" / "sweeps").glob("*.toml"))

GRID = """
records = ["norm_ratio"]
[problem]
name = "orthonormal"
samples = 4
[start]
neurons = 8
log_lambda = -10
[flow]
t1 = "2 * ln(1/lambda) / D_minus + 40"
[axes]
seed = { number = 3 }
"""


def read(text, folder=Path()):
    return grid_of(tomllib.loads(text), folder)


def test_the_grid_that_the_refusals_change_is_read():
    grid = read(GRID)
    assert grid.axes == {"seed": [0, 1, 2]} and grid.static == ()
    assert grid.measure.records == ("norm_ratio", "result")  # how a flow ended is always kept
    assert grid.settings["t1"] == "2 * ln(1/lambda) / D_minus + 40"
    assert pickle.loads(pickle.dumps(grid.measure)).records == grid.measure.records


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("records", "recods", ["'recods'", "Did you mean 'records'?"]),
        ('["norm_ratio"]', '["norm_ration"]', ["record", "Did you mean 'norm_ratio'?"]),
        ('["norm_ratio"]', "[]", ["records", "--list"]),
        ('["norm_ratio"]', '"norm_ratio"', ["records must be a list"]),
        ('"orthonormal"', '"ortonormal"', ["problem", "Did you mean 'orthonormal'?"]),
        ('"orthonormal"', '"five-points"', ["five-points has no choice of samples"]),
        ('"orthonormal"\nsamples = 4', '"five-points"', ["norm_ratio", "orthogonal"]),
        ('name = "orthonormal"', 'file = "missing.csv"', ["missing.csv"]),
        ("samples = 4", "", ["needs samples"]),
        ("samples = 4", "sample = 4", ["[problem]", "Did you mean 'samples'?"]),
        ("samples = 4", "samples = 0", ["problem.samples", "positive integer"]),
        ("samples = 4", "samples = 4\ndim = 3", ["dim must be at least samples"]),
        ("samples = 4", 'samples = 4\nlabels = "odd"', ["problem.labels", "positive"]),
        ("samples = 4", 'samples = 4\ndraws = ["sed"]', ["Did you mean 'seed'?"]),
        ("neurons = 8", "", ["width is missing"]),
        ("neurons = 8", "neurons = true", ["start.neurons", "positive integer"]),
        ("neurons = 8", 'neurons = "ceil(ln(n))"', ["start.neurons", "There is no number 'n'"]),
        ("log_lambda = -10", "", ["one of log_lambda and scale"]),
        ("log_lambda = -10", "log_lambda = -10\nscale = 1", ["one of log_lambda and scale"]),
        ("log_lambda = -10", "scale = -1.0", ["start.scale", "positive"]),
        ("log_lambda = -10", 'name = "he-uniform"', ["flow.t1 holds lambda"]),
        ("log_lambda = -10", "log_lamda = -10", ["Did you mean 'log_lambda'?"]),
        ("log_lambda = -10", 'log_lambda = -10\nname = "balance"', ["Did you mean 'balanced'?"]),
        ("2 * ln(1/lambda)", "2 * lambda", ["flow.t1", "ln(1/lambda) or ln(lambda) only"]),
        ("D_minus", "D_mins", ["Did you mean 'D_minus'?"]),
        ("2 * ln", "2 * lnn", ["There is no function 'lnn'", "'ln'"]),
        ("+ 40", "+ 40)", ["no formula"]),
        ("+ 40", "+ __import__('os').getpid()", ["flow.t1", "something else"]),
        ('[flow]\nt1 = "', '[flow]\nrtol = 1\nt1 = "', ["rtol must be between"]),
        ('[flow]\nt1 = "', '[flow]\nintegrator = "bost"\nt1 = "', ["Did you mean 'boost'?"]),
        ("seed = { number = 3 }", "", ["no axis"]),
        ("seed = {", "sead = {", ["[axes]", "Did you mean 'seed'?"]),
        ("seed = { number", "seed = { numbr", ["[axes.seed]", "Did you mean 'number'?"]),
        ("seed = {", "neurons = [4]\nseed = {", ["start.neurons", "in both"]),
        ("seed = {", "log_lambda = [-1, -2]\nseed = {", ["start.log_lambda", "in both"]),
        ("seed = {", 'rtol = ["small"]\nseed = {', ["axes.rtol", "numbers", "'small'"]),
        ("records", 'static = ["neuron"]\nrecords', ["static", "There are: seed"]),
        ("records", "seed = -1\nrecords", ["seed must be an integer from 0 on"]),
        ("[axes]", '[[pictures]]\nkind = "bnd"\n[axes]', ["Did you mean 'band'?"]),
        (
            "[axes]",
            '[[pictures]]\nkind = "band"\nrecord = "norm_ration"\n[axes]',
            ["Did you mean 'norm_ratio'?"],
        ),
    ],
)
def test_refusals(old, new, words):
    assert old in GRID
    with pytest.raises(GridError) as caught:
        read(GRID.replace(old, new, 1))
    for word in words:
        assert word in str(caught.value)


def test_a_formula_is_arithmetic_and_knows_any_lambda():
    t1 = Expression("t1", "2 * ln(1/lambda) / max(n, 4) - -3**2", ("log_lambda", "n"))
    assert t1.names == {"log_lambda", "n"}
    assert t1({"log_lambda": -1e6, "n": 2}) == 2e6 / 4 + 9
    other = Expression("t1", "ceil(ln(lambda) + sqrt(exp(0.5)))", ("log_lambda",))
    assert other({"log_lambda": -1.0}) == math.ceil(-1.0 + math.exp(0.25))
    with pytest.raises(GridError, match="has no value"):
        Expression("t1", "1 / n", ("n",))({"n": 0})


@pytest.mark.parametrize(
    "text",
    [
        "n.real",
        "n[0]",
        "(lambda n: n)(1)",
        "n if n else 1",
        "'a'",
        "1j",
        "True",
        "n < 1",
        "ln(n, n)",
    ],
)
def test_a_formula_is_nothing_else(text):
    Expression("t1", "n + 1", ("n",))  # the control
    with pytest.raises(GridError, match="t1 must be a formula"):
        Expression("t1", text, ("n",))


def test_ranges():
    assert values_of("seed", {"number": 3}) == [0, 1, 2]
    assert values_of("seed", {"from": 5, "number": 2}) == [5, 6]
    assert values_of("neurons", {"from": 1, "to": 100, "number": 3, "spacing": "log"}) == [
        1,
        10,
        100,
    ]
    assert values_of("samples", {"from": 4, "to": 13, "step": 4}) == [4, 8, 12]
    assert_close(
        values_of("log_lambda", {"from": -1, "to": -2, "step": -0.1}), np.linspace(-1, -2, 11)
    )
    assert values_of("log_lambda", {"from": -1, "to": -4, "number": 3, "spacing": "log"}) == [
        -1,
        -2,
        -4,
    ]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"from": 1, "to": 2}, "one of `step` and `number`"),
        ({"from": 1, "to": 2, "step": 1, "number": 2}, "one of `step` and `number`"),
        ({"from": 1, "to": 2, "step": -1}, "its step is -1"),
        ({"from": 1, "to": 2, "step": 0}, "its step is 0"),
        ({"from": -1, "to": 2, "number": 3, "spacing": "log"}, "one sign"),
        ({"to": 2, "number": 3}, "from must be a number"),
        ({"from": 1, "to": 2, "number": 2.5}, "positive integer"),
        ({"from": 1, "to": 2, "number": 2, "spacing": "logg"}, "Did you mean 'log'"),
        ([], "empty"),
        ([0], "from 1 on"),
        ([1.5], "integer"),
        ("1, 2", "must be a list"),
    ],
)
def test_ranges_that_are_none(given, words):
    with pytest.raises(GridError, match=words):
        values_of("neurons", given)


def test_a_scale_that_no_float_holds_is_kept_by_its_logarithm():
    text = GRID.replace("log_lambda = -10\n", "").replace(
        "[axes]", '[axes]\nscale = ["1e-1000", 1]'
    )
    assert_close(read(text).axes["log_scale"], [-1000.0 * math.log(10.0), 0.0], rtol=1e-15)


def test_widths_share_a_program_unless_they_are_static():
    text = GRID.replace("neurons = 8\n", "").replace("[axes]", "[axes]\nneurons = [4, 16, 8]")
    assert read(text).measure.width == 16 and read(text).static == ()
    static = read('static = ["neurons"]\n' + text)
    assert static.measure.width is None and static.static == ("neurons",)
    assert read(text.replace("[start]", "[start]\nwidth = 32")).measure.width == 32
    with pytest.raises(GridError, match=r"start\.width is 8"):
        read(text.replace("[start]", "[start]\nwidth = 8"))


def test_samples_and_dim_are_static():
    text = GRID.replace("samples = 4\n", "").replace("[axes]", "[axes]\nsamples = [4, 5]")
    assert read(text).static == ("samples",)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_grids(path):
    grid = read_grid(path)
    assert grid.pictures and grid.title
    assert f"reluflow sweep examples/sweeps/{path.name}" in path.read_text()


def test_there_are_examples():
    assert len(EXAMPLES) >= 5


def test_files_that_are_no_grids(tmp_path):
    path = tmp_path / "grid.toml"
    with pytest.raises(GridError, match="cannot be read"):
        read_grid(path)
    path.write_text("records = [")
    with pytest.raises(GridError, match="no TOML"):
        read_grid(path)
    path.write_text(GRID)
    assert read_grid(path).axes


def test_every_record_is_explained():
    for name, record in RECORDS.items():
        assert name.isidentifier() and record.described and record.symbol
        assert len(record.described) < 100 and "\n" not in record.described
