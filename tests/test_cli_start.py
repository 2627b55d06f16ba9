"""The command line answers before it imports JAX, which takes a second or two."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("typer")
pytest.importorskip("matplotlib")

ENDED = 7
PROGRAM = f"""
import sys


class Watch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("jax", "numpy"):
            sys.stderr.flush()
            print("imports", name, file=sys.stderr, flush=True)
            raise SystemExit({ENDED})


sys.meta_path.insert(0, Watch())
from reluflow.__main__ import main

main()
"""


def told(*arguments, cwd):
    """(code, lines) of a program that ends where it would import JAX or NumPy."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, *arguments],
        cwd=cwd,
        env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize(
    "arguments", [["run", "two-points"], ["claims"], ["sweep", "--list"], ["show", "."]]
)
def test_the_first_line_stands_before_jax(arguments, tmp_path):
    code, lines = told(*arguments, cwd=tmp_path)
    assert code == ENDED and lines[0] == "loading JAX ...", lines
    assert lines[1].startswith("imports ") and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "arguments", "word"),
    [
        (0, ["--help"], "claims"),
        (0, ["run", "--help"], "five-points"),
        (0, ["sweep", "--help"], "GRID.toml"),
        (0, ["claims", "--help"], "--quick"),
        (0, ["show", "--help"], "--record"),
        (2, ["run", "three-points"], "two-points"),
        (2, ["run", "two-points", "--scale", "0"], "positive"),
        (2, ["run", "two-points", "--neurons", "many"], "integer"),
        (2, ["run", "two-points", "--integrator", "euler"], "dopri8"),
        (2, ["run", "two-points", "--loss", "hinge"], "there is no 'hinge'"),
        (2, ["run", "two-points", "--activation", "leaky"], "needs its slope"),
        (2, ["run", "five-points", "--loss", "logistic"], "labels 1 and -1"),
        (2, ["run", "two-points", "--samples", "3"], "no such choice"),
        (2, ["run", "two-points", "--nonsense"], "--nonsense"),
        (2, ["sweep", "--no-cache"], "is missing"),
        (2, ["show", "there"], "does not exist"),
    ],
)
def test_help_and_refusals_need_no_jax(code, arguments, word, tmp_path):
    ended, lines = told(*arguments, cwd=tmp_path)
    assert ended == code and any(word in line for line in lines), lines
