"""`reluflow claims`: what cannot be measured is known at the start; a table that can be read."""

import json
import sys
import threading

import pytest

pytest.importorskip("typer")

from tolerance import assert_close
from typer.testing import CliRunner

from reluflow.__main__ import app
from reluflow.claims import CATALOGUE, Claim, Finding
from reluflow.cli import _claims, _claims_store

HOLDS, FAILS = Finding("a", 1.0, "<=", 2.0), Finding("a", 3.0, "<=", 2.0)


def invoke(*arguments, columns=250):
    runner = CliRunner(env={"COLUMNS": str(columns), "NO_COLOR": "1"})
    return runner.invoke(app, ["claims", *arguments])


def claim(findings, id="some-claim", needs=(), **controls):
    measures = {name: lambda quick, found=found: found for name, found in controls.items()}
    measure = findings if callable(findings) else lambda quick: findings
    return Claim(id, "a paper", "something", measure, measures, needs)


def catalogue_of(monkeypatch, *claims):
    for module in (_claims, _claims_store):
        monkeypatch.setattr(module, "CATALOGUE", claims)


def written(out):
    """claims.json, as strict JSON."""

    def refuse(constant):
        pytest.fail(f"{constant} is no JSON.")

    return json.loads((out / "claims.json").read_text(), parse_constant=refuse)


class Counted:
    """A measurement that counts how often it is made; or fails, as long as `broken`."""

    def __init__(self, broken=False):
        self.calls, self.broken = 0, broken

    def __call__(self, quick):
        self.calls += 1
        if self.broken:
            raise RuntimeError("None of 1000 draws is as wanted.")
        return [HOLDS]


def test_an_unknown_id_is_refused_before_anything_is_done(tmp_path):
    result = invoke("--claim", "2022-lemma-99", "--out", str(tmp_path / "out"))
    assert result.exit_code == 2, result.output
    for word in ("--claim", "2022-lemma-99", "2022-lemma-1"):
        assert word in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("findings", "control", "code"),
    [([HOLDS], FAILS, 0), ([FAILS], FAILS, 0), ([HOLDS], HOLDS, 1)],
)
def test_only_a_blind_control_ends_with_code_1(findings, control, code, tmp_path, monkeypatch):
    catalogue_of(monkeypatch, claim(findings, broken=[control]))
    result = invoke("--out", str(tmp_path / "out"))
    assert result.exit_code == code, result.output
    assert ("some-claim is blind" in result.output) == bool(code)
    (one,) = written(tmp_path / "out")["claims"]
    assert one["controls"]["broken"]["fails_as_it_must"] == (not code)


# What is missing


def test_what_is_missing_is_named_first_and_the_others_are_measured(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cvxpy", None)
    needy, able = Counted(), Counted()
    catalogue_of(
        monkeypatch,
        claim(able, "able", broken=[FAILS]),
        claim(needy, "needy", needs=("cvxpy",), broken=[FAILS]),
    )
    result = invoke("--out", str(tmp_path))
    assert result.exit_code == 3, result.output
    assert (needy.calls, able.calls) == (0, 1)
    said = result.stderr.splitlines()
    advice = "needy needs cvxpy: pip install 'reluflow[theory]'"
    assert said[:3] == ["loading JAX ...", advice, "measuring 1 claim ..."]
    assert "pip install 'reluflow[theory]'" in result.stdout  # at the end, where one looks
    assert [one["id"] for one in written(tmp_path)["claims"]] == ["able"]
    assert "needy" in written(tmp_path)["not_measured"]
    assert "needs cvxpy" in (tmp_path / "claims.md").read_text()
    # Once it is installed, the same command goes on.
    monkeypatch.delitem(sys.modules, "cvxpy")
    monkeypatch.setattr(Claim, "missing", [])
    result = invoke("--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert (needy.calls, able.calls) == (1, 1)
    assert [one["id"] for one in written(tmp_path)["claims"]] == ["able", "needy"]
    assert written(tmp_path)["not_measured"] == {}


def test_the_real_catalogue_without_cvxpy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cvxpy", None)
    result = invoke("--claim", "2022-prop-1", "--quick", "--out", str(tmp_path))
    assert result.exit_code == 3, result.output
    assert "2022-prop-1 needs cvxpy: pip install 'reluflow[theory]'" in result.output
    assert "Traceback" not in result.output and written(tmp_path)["claims"] == []


def test_out_is_tried_before_anything_is_measured(tmp_path, monkeypatch):
    measure = Counted()
    catalogue_of(monkeypatch, claim(measure, broken=[FAILS]))
    (tmp_path / "file").write_text("precious")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        result = invoke("--out", str(out))
        assert result.exit_code == 2 and "--out" in result.output
    assert measure.calls == 0


# What is shown


def test_the_table_fits_80_columns(tmp_path, monkeypatch):
    what = "ln of the largest other |w_j| at t_2, against [2 c lambda^eps] (worst of 4 draws)"
    findings = [
        Finding(what, -1.23456e-05, "==", -1.23456e-05, 1.2e-06),
        Finding(what, 1.23456e-300, ">=", 2.0, outside="the inputs are parallel"),
    ]
    catalogue_of(monkeypatch, claim(findings, "2022-overparameterisation", broken=[FAILS]))
    result = invoke("--out", str(tmp_path), columns=80)
    *lines, last = result.stdout.splitlines()
    assert last.startswith("wrote ")  # which is as long as the path
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    for whole in ("2022-overparameterisation", "-1.2346e-05", "1.2346e-300", "± 1.2e-06"):
        assert whole in text
    assert "…" not in text and "outside" in text and "holds" in text
    words = " ".join(line[:33].strip() for line in lines).split()
    for word in what.split():
        assert word in words, f"{word!r} is cut"


def test_two_are_measured_at_a_time(tmp_path, monkeypatch):
    together = threading.Barrier(2, timeout=20.0)

    def meets(quick):
        together.wait()
        return [HOLDS]

    catalogue_of(
        monkeypatch, claim(meets, "one", broken=[FAILS]), claim(meets, "two", broken=[FAILS])
    )
    assert invoke("--out", str(tmp_path)).exit_code == 0


def test_a_claim_from_the_command_line_to_its_files(tmp_path):
    """The convex solve: the cheapest of the catalogue, since nothing is integrated for it."""
    pytest.importorskip("cvxpy")
    result = invoke("--claim", "2022-prop-1", "--quick", "--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert "2022-prop-1" in result.output
    summary = written(tmp_path / "out")
    assert summary["made_by"]["quick"] is True
    (one,) = summary["claims"]
    assert (one["id"], one["verdict"]) == ("2022-prop-1", "holds")
    assert all(control["fails_as_it_must"] for control in one["controls"].values())
    convex = one["findings"][0]
    assert abs(convex["measured"]) < 1e-6
    assert_close(convex["margin"], 1e-6 - abs(convex["measured"]), rtol=1e-12)
    text = (tmp_path / "out" / "claims.md").read_text()
    assert "## 2022-prop-1: holds" in text
    assert text.count("does not hold, as it must") == len(one["controls"])
    for finding in one["findings"]:
        assert finding["what"].replace("|", "\\|") in text
    assert one["id"] in {claim.id for claim in CATALOGUE}
