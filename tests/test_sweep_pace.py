"""Batches that take minutes are followed by smaller ones; the store keeps how many lanes."""

import json

import pytest
from sweep_measures import AXES, looped
from tolerance import assert_close

import reluflow as rf
from reluflow.sweep import _local
from reluflow.sweep._program import Program

LONG = AXES | {"seed": range(128)}


def swept(axes=LONG, **options):
    return rf.sweep(looped, axes, **({"progress": False, "batch": "auto"} | options))


class Clock:
    """Of which a batch takes as long as it is told; and the lanes of all batches."""

    def __init__(self, monkeypatch, seconds):
        self.now, self.seconds, self.lanes, call = 0.0, seconds, [], Program.__call__

        def timed(program, inputs):
            self.lanes.append(program.lanes)
            self.now += self.seconds(program.lanes)
            return call(program, inputs)

        monkeypatch.setattr(Program, "__call__", timed)
        monkeypatch.setattr(_local, "time", self)

    def monotonic(self):
        return self.now


@pytest.mark.parametrize(("seconds", "lanes"), [(75.0, 32), (200.0, 8), (5000.0, 1)])
def test_a_batch_of_minutes_is_followed_by_smaller_ones(monkeypatch, capsys, seconds, lanes):
    """Nothing is run twice: after the first batch, the other 320 points."""
    whole = swept()
    clock = Clock(monkeypatch, lambda lanes: seconds / 64 * lanes)
    ds = swept()
    assert clock.lanes == [64] + [lanes] * (320 // lanes)
    assert json.loads(ds.attrs["halved"]) == [{"segment": 0, "chunk": 1, "lanes": lanes}]
    assert f"goes on with {lanes} lanes a device" in capsys.readouterr().err
    assert_close(ds.value, whole.value, rtol=1e-12)


@pytest.mark.parametrize(("seconds", "batch"), [(59.0, "auto"), (5000.0, 64)])
def test_some_seconds_change_nothing_and_neither_does_a_batch_that_was_asked_for(
    monkeypatch, seconds, batch
):
    clock = Clock(monkeypatch, lambda lanes: seconds)
    ds = swept(batch=batch)
    assert clock.lanes == [64] * 6 and json.loads(ds.attrs["halved"]) == []


def test_a_chunk_that_was_begun_keeps_its_lanes(monkeypatch):
    clock = Clock(monkeypatch, lambda lanes: 1.2 * lanes)
    swept(chunk=128)
    assert clock.lanes == [64] * 2 + [32] * 8


def test_goes_back_where_smaller_batches_take_as_long(monkeypatch, tmp_path):
    """As on a GPU, where lanes run side by side; for good, also after an interruption."""
    clock = Clock(monkeypatch, lambda lanes: 100.0)
    ds = swept(store=tmp_path / "s")
    assert clock.lanes == [64] + [16] * 4 + [64] * 4
    assert [entry["lanes"] for entry in json.loads(ds.attrs["halved"])] == [16, 64]
    for chunk in (3, 4):
        (tmp_path / "s" / "sweep" / "complete" / f"{chunk}.json").unlink()
    clock.lanes.clear()
    assert swept(store=tmp_path / "s").identical(ds)
    assert clock.lanes == [64] * 2


def test_after_an_interruption_the_store_decides_and_not_the_clock(monkeypatch, tmp_path):
    """The control: a new store, on the fast clock, has 64 lanes."""
    clock = Clock(monkeypatch, lambda lanes: 1.2 * lanes)
    whole = swept(store=tmp_path / "s")
    for chunk in (2, 4):
        (tmp_path / "s" / "sweep" / "complete" / f"{chunk}.json").unlink()
    clock.seconds = lambda lanes: 0.0
    clock.lanes.clear()
    assert swept(store=tmp_path / "s").identical(whole)
    assert clock.lanes == [32] * 4
    clock.lanes.clear()
    swept(store=tmp_path / "t")
    assert set(clock.lanes) == {64}
