"""The numbered examples run as they are, each in a fresh interpreter, and say what they should."""

import itertools
import re
from pathlib import Path

import pytest
from processes import fresh_python

pytest.importorskip("matplotlib")

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("[0-9]*.py"))


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Runs an example once, and keeps what it printed and where it ran."""
    done = {}

    def run(name):
        if name not in done:
            (path,) = (example for example in EXAMPLES if example.name.startswith(name))
            place = tmp_path_factory.mktemp(name)
            done[name] = fresh_python(str(path), cwd=place), place
        return done[name]

    return run


def test_all_examples_are_tested():
    assert [example.name[:2] for example in EXAMPLES] == ["01", "02", "03"]


def test_two_points(outputs):
    text, place = outputs("01")
    assert (place / "two_points.png").read_bytes().startswith(b"\x89PNG")
    saddles = [float(loss) for loss in re.findall(r"^loss (\S+) until", text, re.MULTILINE)]
    assert saddles == [0.5, 0.25]


@pytest.mark.slow
def test_sweep(outputs):
    text, _ = outputs("02")
    rows = re.findall(r"^\s+(-\d+)\s+median\s+(\S+), worst\s+(\S+)\s+(\S+)$", text, re.MULTILINE)
    assert len(rows) == 5 and all(float(row[3]) < 2e-12 for row in rows)
    # A loss of 1e-12 leaves residuals of 1e-6, and these the norm.
    assert float(rows[0][1]) > 1e-2 and abs(float(rows[-1][2])) < 1e-5


def test_sliding(outputs):
    text, _ = outputs("03")
    errors = [float(e) for e in re.findall(r"^\S+\s+(\d\.\d+e-\d+)$", text, re.MULTILINE)]
    assert len(errors) == 3
    for coarse, fine in itertools.pairwise(errors):
        assert 3.8 < coarse / fine < 4.2
