"""`reluflow claims` keeps each result at once, and goes on where it ended, with no other code."""

import errno
import json
import math
import os
import time

import numpy as np
import pytest

pytest.importorskip("typer")

from test_cli_claims import FAILS, HOLDS, Counted, catalogue_of, claim, invoke, written

from reluflow.claims import Finding
from reluflow.cli import _claims_store


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
