"""What is written as JSON is JSON: no NaN, no infinity, by whatever part of the project."""

import ast
import json
import math
from pathlib import Path

import numpy as np
import pytest

from reluflow._json import json_text

ROOT = Path(__file__).resolve().parents[1]
RECORDED = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
WITHOUT = [math.nan, math.inf, -math.inf, np.float64(math.nan)]
# The stores of sweeps write their plans by `json` itself: shapes, names and settings.
OF_SWEEPS = ROOT / "src" / "reluflow" / "sweep"


def strict(text):
    def refuse(constant):
        raise ValueError(f"{constant} is no JSON.")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
def test_a_recorded_result_is_json(path):
    assert strict(path.read_text())


def test_there_are_recorded_results():
    assert len(RECORDED) >= 10


@pytest.mark.parametrize("value", WITHOUT)
def test_what_is_not_finite_becomes_null(value):
    document = {"a": [1.5, value, {"b": (value, "NaN", True)}], "c": value}
    expected = {"a": [1.5, None, {"b": [None, "NaN", True]}], "c": None}
    for indent in (None, 1):
        assert strict(json_text(document, indent)) == expected
    # Controls: as Python writes it, it is refused; and where it cannot become null it raises.
    with pytest.raises(ValueError, match="is no JSON"):
        strict(json.dumps(document))
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text({value: 1.0})


def test_nothing_else_writes_json():
    """Of what a reader might get. The control is `_json` itself, which is found."""
    found = set()
    for folder in ("src", "benchmarks", "examples"):
        for path in (ROOT / folder).rglob("*.py"):
            if OF_SWEEPS not in path.parents and _writers(path.read_text()):
                found.add(path.relative_to(ROOT).as_posix())
    assert found == {"src/reluflow/_json.py"}


def _writers(text):
    """The lines that call json.dump or json.dumps, whatever they were imported as."""
    tree, names = ast.parse(text), {"dump", "dumps"}
    taken = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and node.module == "json"
        and any(alias.name in names for alias in node.names)
    ]
    called = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in names
        and isinstance(node.value, ast.Name)
        and node.value.id == "json"
    ]
    return [node.lineno for node in (*taken, *called)]


def test_rows_of_a_benchmark_come_back(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import _common
    import _targets

    monkeypatch.setattr(_targets, "RESULTS", tmp_path)
    rows = [_targets.Row("fails", math.nan, 1.0), _targets.Row("good", 0.5, 1.0, note="NaN")]
    environment = _common.environment() | {"load": math.nan}
    _targets.write("some", {"one": _targets.Group(environment, rows)}, ["one", "two"])
    kept = strict((tmp_path / "some.json").read_text())
    assert kept["one"]["environment"]["load"] is None
    assert [row["measured"] for row in kept["one"]["rows"]] == [None, 0.5]
    _targets.write("some", {"two": _targets.Group(environment, rows[1:])}, ["one", "two"])
    assert strict((tmp_path / "some.json").read_text())["one"] == kept["one"]
    assert [row["verdict"] for row in kept["one"]["rows"]] == ["missed", "met"]
