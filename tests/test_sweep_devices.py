"""Running a sweep: devices, memory, Ctrl-C, progress."""

import json
import os
import signal
import time
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest
from processes import fresh_python
from sweep_measures import AXES, looped, quick
from tolerance import assert_close

import reluflow as rf
from reluflow.sweep import StoppedAfterFailures
from reluflow.sweep._program import Program

HERE = Path(__file__).parent


def swept(measure=looped, axes=AXES, **options):
    return rf.sweep(measure, axes, **({"progress": False, "batch": 8, "chunk": 16} | options))


def test_eight_devices_have_a_loop_each_and_give_the_numbers_of_one(monkeypatch):
    """The control: automatic sharding puts a collective into the loop."""
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
    found = json.loads(fresh_python("sweep_devices.py", cwd=HERE))
    assert found["collectives of automatic sharding"] and not found["collectives"]
    assert found["loops"] > 0 and found["shards"] == [8] * 8
    assert found["same lanes"] == [True, True] and found["draws"] == [True, True]
    assert max(found["other lanes"]) < 1e-12


class Failing:
    """The program of a batch, which runs out of memory when it is called the third time."""

    def __init__(self, monkeypatch, calls=(3,), error=jax.errors.JaxRuntimeError):
        self.count, self.lanes, call = 0, [], Program.__call__

        def counted(program, inputs):
            self.count += 1
            self.lanes.append(program.lanes)
            if self.count in calls:
                raise error("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")
            return call(program, inputs)

        monkeypatch.setattr(Program, "__call__", counted)


def test_out_of_memory_halves_the_batch_and_goes_on(tmp_path, monkeypatch, capsys):
    whole = swept()
    failing = Failing(monkeypatch, calls=(4,))
    ds = swept(store=tmp_path / "s")
    assert failing.lanes == [8] * 4 + [4] * 26  # the second chunk had been begun
    assert_close(ds.value, whole.value, rtol=1e-12)
    assert (ds["count"] == whole["count"]).all() and not ds.status.values.any()
    assert json.loads(ds.attrs["halved"]) == [{"segment": 0, "chunk": 1, "lanes": 4}]
    assert "goes on with 4 lanes a device" in capsys.readouterr().err
    records = [json.loads((tmp_path / f"s/sweep/complete/{k}.json").read_text()) for k in range(8)]
    assert [record["lanes"] for record in records] == [8] + [4] * 7


def test_resumes_with_the_halved_batch(tmp_path, monkeypatch):
    failing = Failing(monkeypatch, calls=(4,))
    with pytest.raises(StoppedAfterFailures):
        swept(quick, store=tmp_path / "s", stop_after_failures=6)
    begun = failing.count
    swept(quick, store=tmp_path / "s")
    assert set(failing.lanes[begun:]) == {4}
    with pytest.raises(StoppedAfterFailures):
        swept(quick, store=tmp_path / "t", devices=1, stop_after_failures=6)
    begun = failing.count
    swept(quick, store=tmp_path / "t", batch=6)  # the control
    assert set(failing.lanes[begun:]) == {6}


def test_a_single_point_that_is_too_large_is_an_error(monkeypatch):
    Failing(monkeypatch, calls=range(100))
    with pytest.raises(MemoryError, match="too small for a single point"):
        swept(batch=2)


def interrupting(times):
    """A measure that presses Ctrl-C while the points of the second batch are run."""

    def press(seed):
        if seed == 12:
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.3)
        return np.asarray(0.0)

    def measure(point):
        kind = jax.ShapeDtypeStruct((), float)
        return {"a": jax.pure_callback(press, kind, point.seed, vmap_method="sequential")}

    return measure


@pytest.mark.parametrize(("times", "kept"), [(1, [0]), (2, [])])
def test_ctrl_c_ends_after_the_batch_in_flight_and_twice_at_once(tmp_path, times, kept, capsys):
    """A chunk is two batches, of which the second is interrupted."""
    axes, before = {"seed": range(64)}, signal.getsignal(signal.SIGINT)
    measure = interrupting(times)
    with pytest.raises(KeyboardInterrupt, match="The same call goes on where it stopped"):
        swept(measure, axes, store=tmp_path / "s")
    assert signal.getsignal(signal.SIGINT) is before
    assert "ends after the batch in flight" in capsys.readouterr().err
    complete = sorted(path.stem for path in (tmp_path / "s/sweep/complete").glob("*.json"))
    assert complete == [str(k) for k in kept]
    time.sleep(0.5)  # the batch that was left alone ends


def test_goes_on_after_ctrl_c(tmp_path):
    axes, pressed = {"seed": range(64)}, []

    def press(seed):
        if seed == 20 and not pressed:
            pressed.append(True)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
        return np.asarray(float(seed))

    class Measure:
        def __call__(self, point):
            kind = jax.ShapeDtypeStruct((), float)
            return {"a": jax.pure_callback(press, kind, point.seed, vmap_method="sequential")}

    with pytest.raises(KeyboardInterrupt):
        swept(Measure(), axes, store=tmp_path / "s")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the function refers to has changed: it was pressed
        ds = swept(Measure(), axes, store=tmp_path / "s")
    assert (ds.a == ds.seed).all()


def test_progress_is_shown_on_a_terminal_alone(monkeypatch, capsys):
    swept(quick, progress=True)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    swept(quick, progress=True)
    shown = capsys.readouterr().err
    assert "120/120" in shown and "/s" in shown and "points failed: chattering" in shown
    swept(quick, progress=False)
    assert capsys.readouterr().err == ""
