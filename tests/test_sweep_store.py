"""The store of a sweep: what is found in it after any interruption is what a whole run gives."""

import json
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from sweep_measures import AXES, looped, quick
from tolerance import assert_close

import reluflow as rf
from reluflow.sweep import StoppedAfterFailures, load
from reluflow.sweep import _store as store_module
from reluflow.sweep._code import code_of

HERE = Path(__file__).parent


def swept(store, measure=quick, axes=AXES, **options):
    options = {"batch": 8, "chunk": 16} | options
    return rf.sweep(measure, axes, store=store, progress=False, **options)


def started(store, measure="quick", **options):
    options = {"batch": 8, "chunk": 16} | options
    return subprocess.Popen(
        [sys.executable, HERE / "sweep_program.py", measure, store, json.dumps(options)],
        cwd=HERE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process):
    """Its code, and what it printed."""
    out, err = process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), err
    return process.returncode, out


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What sweeps that nobody interrupts have found, by their measures."""
    path = tmp_path_factory.mktemp("whole")
    return {measure: swept(path / measure.__name__, measure) for measure in (quick, looped)}


def partials(store):
    return sorted(path.name for path in Path(store).rglob("*.partial"))


def records(store):
    return sorted(int(path.stem) for path in (Path(store) / "sweep" / "complete").glob("*.json"))


def counted(measure):
    """The measure, and a list that tells how often it was traced, which its code does not."""

    class Counted:
        traces = 0

        def __call__(self, point):
            Counted.traces += 1
            return measure(point)

    return Counted()


def test_a_store_gives_what_memory_gives_and_is_read_by_xarray(tmp_path, whole):
    ds = swept(tmp_path / "s")
    assert ds.identical(whole[quick])
    assert ds.equals(rf.sweep(quick, AXES, batch=8, chunk=16, progress=False))
    assert ds.identical(load(tmp_path / "s"))
    flat = xr.open_zarr(tmp_path / "s", consolidated=False, chunks=None)
    assert sorted(flat.total.values[:120]) == sorted(ds.total.values.ravel())
    assert not ds.identical(swept(tmp_path / "t", seed=1))  # the control


def test_a_complete_store_is_read_and_not_run_again(tmp_path):
    measure = counted(quick)
    first = swept(tmp_path / "s", measure)
    assert type(measure).traces == 1
    assert swept(tmp_path / "s", measure).identical(first)
    assert type(measure).traces == 1


def test_goes_on_after_a_kill_between_two_variables_of_a_chunk(tmp_path, whole):
    """And with the same chunks in batches of another size, to rounding. The control: without the
    records of completion, the chunk in which it was killed would be taken for complete."""
    code, _ = ended(started(tmp_path / "s", "looped", kill_before="value/c/5"))
    assert code == -signal.SIGKILL
    assert records(tmp_path / "s") == [0, 1, 2, 3, 4]
    assert (tmp_path / "s" / "count" / "c" / "5").exists()
    assert partials(tmp_path / "s")
    ds = swept(tmp_path / "s", looped)
    assert ds.identical(whole[looped]) and not partials(tmp_path / "s")


@pytest.mark.slow  # a dozen processes
def test_goes_on_after_a_kill_at_any_moment(tmp_path, whole):
    """At ten replacements of a file, in compilation among them; each time the same numbers."""
    code, out = ended(started(tmp_path / "count", "looped"))
    assert code == 0
    for k in np.linspace(1, int(out), 8).astype(int):
        store = tmp_path / str(k)
        assert ended(started(store, "looped", kill_at=int(k)))[0] == -signal.SIGKILL
        assert swept(store, looped).identical(whole[looped]) and not partials(store)
    for k, named in enumerate(("plan.json", "sweep/order/zarr.json", "complete/3.json")):
        store = tmp_path / f"named-{k}"
        assert ended(started(store, "looped", kill_before=named))[0] == -signal.SIGKILL
        assert partials(store)
        assert swept(store, looped).identical(whole[looped]) and not partials(store)


def test_goes_on_in_batches_of_another_size_on_the_same_chunks(tmp_path, whole):
    """Equal to rounding, and every chunk complete."""
    with pytest.raises(StoppedAfterFailures):
        swept(tmp_path / "s", batch=16, stop_after_failures=5)
    begun = records(tmp_path / "s")
    assert 0 < len(begun) < 8
    ds = swept(tmp_path / "s", batch=6)
    assert records(tmp_path / "s") == list(range(8))
    for name in ("total", "pair"):
        one, other = ds[name].values, whole[quick][name].values
        assert (np.isnan(one) == np.isnan(other)).all()
        assert_close(one[~np.isnan(one)], other[~np.isnan(other)], rtol=1e-14)
    assert (ds.result == whole[quick].result).all()
    lanes = [
        json.loads((tmp_path / f"s/sweep/complete/{k}.json").read_text())["lanes"] for k in (0, 7)
    ]
    assert lanes == [16, 6]


def test_a_chunk_of_missing_values_is_complete(tmp_path):
    """Zarr writes none of its files."""
    measure = counted(lambda point: {"value": point.height * np.nan})
    ds = swept(tmp_path / "s", measure)
    assert np.isnan(ds.value).all() and not ds.status.values.any()
    assert not list((tmp_path / "s" / "value").glob("c/*"))
    swept(tmp_path / "s", measure)
    assert type(measure).traces == 1


def test_adding_values_extends_and_changes_no_other_cell(tmp_path, whole):
    measure = counted(quick)
    swept(tmp_path / "s", measure, {"seed": range(30), "height": [0.5, 2.25]})
    swept(tmp_path / "s", measure, {"seed": [50, 3], "height": [2.25]})
    ds = swept(tmp_path / "s", measure)
    assert type(measure).traces == 3
    assert ds.equals(whole[quick])
    some = swept(tmp_path / "s", measure, {"seed": [7, 2], "height": [2.25, 0.5]})
    assert some.total.equals(ds.total.sel(seed=[7, 2], height=[2.25, 0.5]))
    assert load(tmp_path / "s").sizes["seed"] == 41
    assert (load(tmp_path / "s").status.sel(seed=50, height=0.5) == -1).all()


def test_failed_points_alone_are_run_again(tmp_path):
    """With changed code; the code of the first run is no longer theirs, the others keep theirs."""
    first = swept(tmp_path / "s")
    failed = first.result.values == 7
    assert 0 < failed.sum() < 60

    def other(point):
        found = quick(point)
        return found | {"total": found["total"] + 100.0, "result": rf.RESULTS.successful}

    some = swept(tmp_path / "s", other, AXES | {"height": [0.5]}, rerun="failed")
    assert (some.result == 0).all()  # and at the other heights nothing has changed:
    assert (load(tmp_path / "s").result.values == 7).sum() == failed[:, 1:].sum() > 0
    ds = swept(tmp_path / "s", other, rerun="failed")
    assert (ds.result == 0).all()
    assert_close(ds.total.values[failed], first.total.values[failed] + 100.0, rtol=1e-14)
    assert (ds.total.values[~failed] == first.total.values[~failed]).all()
    before = records(tmp_path / "s")
    assert swept(tmp_path / "s", other, rerun="failed").identical(ds)
    assert records(tmp_path / "s") == before  # nothing had failed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "`seed`: 0, asked for now 1"),
        ({"chunk": 32}, "`chunk`: 16, asked for now 32"),
        ({"static": "height"}, "the static axes: none, asked for now height"),
        ({"axes": {"seed": [1]}}, "the axes: seed, height, asked for now seed"),
        ({"axes": {"seed": [1.5], "height": [1.0]}}, "the types of the axes: int, float, asked"),
        ({"settings": {"t1": 2}}, "`settings`: {'t1': 1}, asked for now {'t1': 2}"),
    ],
)
def test_refuses_a_store_of_other_settings(tmp_path, change, message):
    swept(tmp_path / "s", settings={"t1": 1})
    with pytest.raises(ValueError, match="must be a store of the same settings") as refused:
        swept(tmp_path / "s", **({"settings": {"t1": 1}} | change))
    assert message in str(refused.value)


def test_warns_of_code_that_has_changed(tmp_path):
    """Of the function, and of a number that it refers to; not of a comment."""

    def scaled(factor):
        return lambda point: {"value": point.height * factor}

    swept(tmp_path / "s", scaled(2.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        swept(tmp_path / "s", scaled(2.0))
    with pytest.warns(UserWarning, match="`measure` has changed since"):
        swept(tmp_path / "s", scaled(3.0))
    with pytest.warns(UserWarning, match="`measure` has changed since"):
        swept(tmp_path / "s", lambda point: {"value": -point.height * 2.0})


def test_a_module_in_the_closure_counts_by_its_name():
    """As of `import reluflow as rf` inside a function that makes `measure`."""

    def with_module(module):
        return lambda point: {"value": module.sqrt(point.height)}

    assert code_of(with_module(jnp)) == code_of(with_module(jnp))
    assert code_of(with_module(jnp)) != code_of(with_module(np))


def test_refuses_what_is_no_store(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="`store` must be a directory"):
        swept(tmp_path / "file")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="must be new, empty or the store of a sweep"):
        swept(tmp_path / "other")
    assert (tmp_path / "other" / "thesis.tex").exists()
    with pytest.raises(ValueError, match="must be the store of a sweep"):
        load(tmp_path / "other")


def test_is_read_where_nothing_may_be_written_and_while_it_is_written(tmp_path, monkeypatch):
    ds = swept(tmp_path / "s")
    before = sorted(tmp_path.rglob("*"))
    with store_module.Store(tmp_path / "s"):
        monkeypatch.setattr(store_module.Path, "mkdir", None)
        monkeypatch.setattr(store_module.Path, "unlink", None)
        assert load(tmp_path / "s").identical(ds)
    assert sorted(tmp_path.rglob("*")) == before


def test_one_process_opens_a_store_once(tmp_path):
    swept(tmp_path / "s")
    with (
        store_module.Store(tmp_path / "s"),
        pytest.raises(RuntimeError, match="another sweep of this process"),
    ):
        swept(tmp_path / "s")


def test_parts_are_disjoint_and_together_the_whole(tmp_path, whole):
    """Eight parts of eight chunks; the control is that seven are not all."""
    for k in range(1, 8):
        ds = swept(tmp_path / "s", part=(k, 8))
        assert records(tmp_path / "s") == list(range(k))
    assert (ds.status == -1).sum() == 8 and np.isnan(ds.total).sum() == 8
    assert swept(tmp_path / "s", part=(8, 8)).equals(whole[quick])


@pytest.mark.slow  # eight processes
def test_parts_that_start_together_on_a_missing_directory(tmp_path, whole):
    """While another process extends an axis of the same store."""
    parts = [started(tmp_path / "s", part=(k, 8)) for k in range(1, 9)]
    longer = started(tmp_path / "s", seeds=44)
    assert [ended(process)[0] for process in (*parts, longer)] == [0] * 9
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is corrupt
        ds = swept(tmp_path / "s")
    assert ds.equals(whole[quick]) and load(tmp_path / "s").sizes["seed"] == 44
    assert not partials(tmp_path / "s")


@pytest.mark.slow  # two processes, two hundred batches
def test_two_processes_share_the_work_of_one_store(tmp_path):
    """No chunk is run twice, and what both see at the end is all."""
    options = {"seeds": 1600, "batch": 24, "chunk": 24}
    both = [started(tmp_path / "s", "looped", **options) for _ in range(2)]
    assert [ended(process)[0] for process in both] == [0, 0]
    axes = AXES | {"seed": range(1600)}
    ds = swept(tmp_path / "s", looped, axes, batch=24, chunk=24)
    assert ds.equals(rf.sweep(looped, axes, batch=24, chunk=24, progress=False))
    assert records(tmp_path / "s") == list(range(200))


def test_keys_of_another_generator_are_another_setting(tmp_path):
    swept(tmp_path / "s")
    with jax.threefry_partitionable(False), pytest.raises(ValueError, match="`threefry_partit"):
        swept(tmp_path / "s")
