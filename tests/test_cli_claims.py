"""`reluflow claims`: what cannot be measured is known at the start, what was measured is kept."""

import errno
import json
import math
import os
import sys
import threading
import time

import numpy as np
import pytest

pytest.importorskip("typer")

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
    assert said[0] == advice and "measuring 1 claims" in said[1]
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


# What is kept


def test_each_result_is_on_disk_as_soon_as_it_is_known(tmp_path, monkeypatch):
    seen = []

    def second(quick):
        for _ in range(200):  # until the other thread's is there
            if (tmp_path / "claims.json").exists():
                break
            time.sleep(0.05)
        seen.extend(one["id"] for one in written(tmp_path)["claims"])
        seen.append("first" in (tmp_path / "claims.md").read_text())
        return [HOLDS]

    catalogue_of(
        monkeypatch,
        claim([HOLDS], "first", broken=[FAILS]),
        claim(second, "second", broken=[FAILS]),
    )
    assert invoke("--out", str(tmp_path)).exit_code == 0
    assert seen == ["first", True]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["claims.json", "claims.md"]


def test_a_claim_that_breaks_off_keeps_nothing_waiting_and_is_tried_again(tmp_path, monkeypatch):
    broken, others = Counted(broken=True), [Counted(), Counted(), Counted()]
    ids = ("one", "two", "three")
    catalogue_of(
        monkeypatch,
        claim(broken, "broken", control=[FAILS]),
        *(claim(one, id, control=[FAILS]) for id, one in zip(ids, others, strict=True)),
    )
    result = invoke("--out", str(tmp_path))
    assert result.exit_code == 1, result.output
    assert "broken: could not be measured: RuntimeError: None of 1000 draws" in result.output
    assert [one["id"] for one in written(tmp_path)["claims"]] == list(ids)
    broken.broken = False
    result = invoke("--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert "3 of 4 are known from before" in result.output
    assert [one.calls for one in (broken, *others)] == [2, 1, 1, 1]


def test_a_disk_that_becomes_full_is_named(tmp_path, monkeypatch):
    def full(path, text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(_claims_store, "_replace", full)
    catalogue_of(monkeypatch, claim([HOLDS], broken=[FAILS]))
    result = invoke("--out", str(tmp_path))
    assert result.exit_code == 1
    assert "No space left" in result.output and "Traceback" not in result.output


def test_what_is_read_again_is_what_was_measured(tmp_path, monkeypatch):
    """Numbers that are not finite too, on which a verdict can hang."""
    findings = [
        Finding("a", math.inf, "<=", 2.0, log_lambda=-10.0, holds_from=-math.inf),
        Finding("b", math.inf, ">=", 2.0),
        Finding("c", math.nan, "==", 2.0, 0.5),
        Finding("of NumPy", np.int64(3), "==", np.float64(3.0)),
        Finding("d | e", 0.1 + 0.2, "==", 0.3, 1e-15, outside="the inputs are parallel"),
    ]
    catalogue_of(monkeypatch, claim(findings, broken=[FAILS]))
    first = invoke("--out", str(tmp_path))
    kept = written(tmp_path), (tmp_path / "claims.md").read_text()
    again = invoke("--out", str(tmp_path))
    assert first.exit_code == again.exit_code == 0
    assert again.stdout == first.stdout
    assert (written(tmp_path), (tmp_path / "claims.md").read_text()) == kept
    found = kept[0]["claims"][0]["findings"]
    assert [one["verdict"] for one in found] == [
        "fails",
        "holds",
        "fails",
        "holds",
        "outside its assumptions",
    ]
    assert [one["measured"] for one in found[:3]] == ["inf", "inf", "nan"]
    for text in (first.stdout, kept[1], json.dumps(kept[0])):
        assert "holds_from" not in text and "from lambda" not in text


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--quick"], {}, ["quick was False and is True"]),
        ([], {"code": "other"}, ["code was ", " and is other"]),
        ([], {"reluflow": "9.9"}, ["reluflow was ", " and is 9.9"]),
    ],
)
def test_what_was_measured_in_another_way_is_not_mixed_in(
    arguments, code, words, tmp_path, monkeypatch
):
    measure = Counted()
    catalogue_of(monkeypatch, claim(measure, broken=[FAILS]))
    assert invoke("--out", str(tmp_path)).exit_code == 0
    kept = written(tmp_path)
    now = _claims_store._code() | code
    monkeypatch.setattr(_claims_store, "_code", lambda: now)
    result = invoke(*arguments, "--out", str(tmp_path))
    assert result.exit_code == 2, result.output
    for word in [*words, "--out", "--fresh"]:
        assert word in result.output
    assert measure.calls == 1 and written(tmp_path) == kept
    assert invoke(*arguments, "--fresh", "--out", str(tmp_path)).exit_code == 0
    assert measure.calls == 2 and written(tmp_path)["made_by"] != kept["made_by"]


def test_fresh_measures_again_what_is_asked_for(tmp_path, monkeypatch):
    one, two = Counted(), Counted()
    catalogue_of(monkeypatch, claim(one, "one", broken=[FAILS]), claim(two, "two", broken=[FAILS]))
    assert invoke("--out", str(tmp_path)).exit_code == 0
    assert invoke("--out", str(tmp_path), "--claim", "two", "--fresh").exit_code == 0
    assert (one.calls, two.calls) == (1, 2)
    assert [found["id"] for found in written(tmp_path)["claims"]] == ["one", "two"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"claims": []}', '{"quick": true}'])
def test_a_file_of_something_else_is_not_overwritten(text, tmp_path, monkeypatch):
    catalogue_of(monkeypatch, claim([HOLDS], broken=[FAILS]))
    (tmp_path / "claims.json").write_text(text)
    result = invoke("--out", str(tmp_path))
    assert result.exit_code == 2, result.output
    assert "another program" in result.output
    assert (tmp_path / "claims.json").read_text() == text


def test_the_code_is_known_by_its_content(tmp_path, monkeypatch):
    package = tmp_path / "reluflow"
    for name in ("_flow.py", "cli/_run.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("a = 1\n")
    monkeypatch.setattr(_claims_store.reluflow, "__file__", str(package / "__init__.py"))
    first = _claims_store._code()
    (package / "cli" / "_run.py").write_text("a = 2\n")
    assert _claims_store._code() == first  # no part of a measurement
    (package / "_flow.py").write_text("a = 2\n")
    assert _claims_store._code()["code"] != first["code"]


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
    assert convex["margin"] == pytest.approx(1e-6 - abs(convex["measured"]))
    text = (tmp_path / "out" / "claims.md").read_text()
    assert "## 2022-prop-1: holds" in text
    assert text.count("does not hold, as it must") == len(one["controls"])
    for finding in one["findings"]:
        assert finding["what"].replace("|", "\\|") in text
    assert one["id"] in {claim.id for claim in CATALOGUE}
