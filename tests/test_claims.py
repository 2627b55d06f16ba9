"""The catalogue of claims: what a finding says, what a blind control does, and all of it (slow)."""

import json
import math

import pytest
from tolerance import assert_close

from reluflow.claims import CATALOGUE, Claim, Finding, Verdict, check
from reluflow.claims._finding import holds_from
from reluflow.claims._sweep import smallest, worst

FAILING = frozenset({"2022-correlated", "2022-figure-4", "2026-figure-5"})  # that do not hold
HOLDS, FAILS = Finding("a", 1.0, "<=", 2.0), Finding("a", 3.0, "<=", 2.0)
OUTSIDE = Finding("a", 3.0, "<=", 2.0, outside="the inputs are parallel")


@pytest.mark.parametrize(
    ("measured", "relation", "tolerance", "verdict", "margin"),
    [
        (1.0, "<=", 0.0, Verdict.holds, 1.0),
        (2.0, "<=", 0.0, Verdict.holds, 0.0),
        (2.5, "<=", 0.0, Verdict.fails, -0.5),
        (2.5, ">=", 0.0, Verdict.holds, 0.5),
        (1.5, ">=", 0.0, Verdict.fails, -0.5),
        (2.0, "==", 0.0, Verdict.holds, 0.0),
        (2.5, "==", 1.0, Verdict.holds, 0.5),
        (3.5, "==", 1.0, Verdict.fails, -0.5),
        (math.inf, "<=", 0.0, Verdict.fails, -math.inf),
    ],
)
def test_a_finding_is_judged_by_its_margin(measured, relation, tolerance, verdict, margin):
    finding = Finding("a", measured, relation, 2.0, tolerance)
    assert finding.verdict is verdict
    assert finding.margin == margin
    assert finding.settled == (verdict is Verdict.holds)


@pytest.mark.parametrize("relation", ["<=", ">=", "=="])
def test_nan_holds_nowhere(relation):
    assert Finding("a", math.nan, relation, 2.0, 1.0).verdict is Verdict.fails


def test_outside_the_assumptions_nothing_is_settled():
    for measured in (1.0, 3.0):
        finding = Finding("a", measured, "<=", 2.0, outside="why")
        assert finding.verdict is Verdict.outside
        assert not finding.settled


def test_holds_from_is_the_largest_lambda_below_which_all_hold():
    lambdas = [-10.0, -1000.0, -100.0, -3.0]
    assert holds_from(lambdas, [True, True, True, False]) == -10.0
    assert holds_from(lambdas, [True, True, True, True]) == -3.0
    # What holds above a lambda at which it fails is by chance.
    assert holds_from(lambdas, [True, True, False, True]) == -1000.0
    assert holds_from(lambdas, [True, False, True, True]) == -math.inf


def test_a_sweep_reports_the_smallest_lambda():
    found = smallest(lambda ln: [Finding("b", -ln, ">=", 50.0)], [-10.0, -1000.0, -100.0])
    assert [(f.measured, f.log_lambda, f.holds_from) for f in found] == [(1000.0, -1000.0, -100.0)]
    never = smallest(lambda ln: [Finding("b", -ln, "<=", 50.0)], [-10.0, -100.0])
    assert never[0].holds_from == -math.inf
    assert never[0].verdict is Verdict.fails


def test_the_worst_draw_is_the_one_that_fails():
    (chosen,) = worst([[HOLDS], [FAILS], [Finding("a", 1.9, "<=", 2.0)]])
    assert chosen.measured == 3.0
    assert "3 draws" in chosen.what
    (chosen,) = worst([[HOLDS], [Finding("a", 1.9, "<=", 2.0)]])
    assert chosen.measured == 1.9


def claim(findings, **controls):
    measures = {name: lambda quick, found=found: found for name, found in controls.items()}
    return Claim("some-claim", "a paper", "something", lambda quick: findings, measures)


@pytest.mark.parametrize(
    ("findings", "verdict"),
    [
        ([HOLDS], Verdict.holds),
        ([HOLDS, FAILS], Verdict.fails),
        ([HOLDS, OUTSIDE], Verdict.outside),
        ([OUTSIDE, FAILS, HOLDS], Verdict.fails),
    ],
)
def test_the_verdict_of_a_claim_is_its_worst(findings, verdict):
    assert check(claim(findings)).verdict is verdict


def test_a_control_is_blind_where_all_of_it_holds():
    outcome = check(claim([HOLDS], sees=[HOLDS, FAILS], blind=[HOLDS, HOLDS], outside=[OUTSIDE]))
    assert outcome.blind == ["blind"]


def test_a_claim_that_measures_nothing_is_refused():
    with pytest.raises(ValueError, match="some-claim measured nothing"):
        check(claim([]))
    with pytest.raises(ValueError, match="some-claim measured nothing"):
        check(claim([HOLDS], empty=[]))


def test_the_catalogue_has_controls_and_ids_of_its_own():
    assert len({one.id for one in CATALOGUE}) == len(CATALOGUE)
    for one in CATALOGUE:
        assert one.controls, f"{one.id} has no control"
        assert not set(one.id) - set("abcdefghijklmnopqrstuvwxyz0123456789-"), one.id


# The command


def invoke(*arguments):
    pytest.importorskip("typer")
    from typer.testing import CliRunner

    from reluflow.__main__ import app

    return CliRunner(env={"COLUMNS": "250", "NO_COLOR": "1"}).invoke(app, ["claims", *arguments])


def catalogue_of(monkeypatch, *claims):
    from reluflow.cli import _claims

    monkeypatch.setattr(_claims, "CATALOGUE", claims)


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
    written = json.loads((tmp_path / "out" / "claims.json").read_text())
    assert written["claims"][0]["controls"]["broken"]["fails_as_it_must"] == (not code)


def test_what_is_not_finite_is_written_as_null(tmp_path, monkeypatch):
    never = Finding("a", math.inf, "<=", 2.0, log_lambda=-10.0, holds_from=-math.inf)
    catalogue_of(monkeypatch, claim([never], broken=[FAILS]))
    result = invoke("--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    (finding,) = json.loads((tmp_path / "out" / "claims.json").read_text())["claims"][0]["findings"]
    assert finding["measured"] is None
    assert finding["holds_from"] is None
    assert "at no lambda tried" in (tmp_path / "out" / "claims.md").read_text()


def test_a_claim_from_the_command_line_to_its_files(tmp_path):
    """The convex solve: the cheapest of the catalogue, since nothing is integrated for it."""
    pytest.importorskip("cvxpy")
    result = invoke("--claim", "2022-prop-1", "--quick", "--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert "2022-prop-1" in result.output
    summary = json.loads((tmp_path / "out" / "claims.json").read_text())
    assert summary["quick"] is True
    (written,) = summary["claims"]
    assert (written["id"], written["verdict"]) == ("2022-prop-1", "holds")
    assert all(control["fails_as_it_must"] for control in written["controls"].values())
    convex = written["findings"][0]
    assert abs(convex["measured"]) < 1e-6
    assert_close(convex["margin"], 1e-6 - abs(convex["measured"]))
    text = (tmp_path / "out" / "claims.md").read_text()
    assert "## 2022-prop-1: holds" in text
    assert text.count("does not hold, as it must") == len(written["controls"])
    for finding in written["findings"]:
        assert finding["what"].replace("|", "\\|") in text


# All of it


@pytest.mark.slow
@pytest.mark.parametrize("one", CATALOGUE, ids=lambda one: one.id)
def test_every_claim_comes_out_and_its_controls_otherwise(one):
    outcome = check(one, quick=True)
    assert not outcome.blind
    # A claim that fails is a result, and known by now.
    assert (outcome.verdict is Verdict.fails) == (one.id in FAILING), outcome.findings
