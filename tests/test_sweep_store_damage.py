"""Stores whose files are damaged or cannot be written, and what they keep of the arguments."""

import errno
import json
import os

import numpy as np
import pytest
import zarr
from sweep_measures import AXES, quick
from test_sweep_store import counted, records, swept

import reluflow as rf
from reluflow.sweep import _store as store_module
from reluflow.sweep import load


@pytest.fixture(scope="module")
def whole():
    return rf.sweep(quick, AXES, batch=8, chunk=16, progress=False)


def test_a_corrupt_chunk_is_run_again(tmp_path, whole):
    """Bytes that differ, a truncated file, one that is gone. The control: a chunk's record alone
    does not tell."""
    swept(tmp_path / "s")
    folder = tmp_path / "s" / "total" / "c"
    bad = bytearray((folder / "0").read_bytes())
    bad[len(bad) // 2] ^= 0xFF
    (folder / "0").write_bytes(bad)
    (folder / "2").write_bytes((folder / "2").read_bytes()[:7])
    (folder / "4").unlink()
    assert records(tmp_path / "s") == list(range(8))
    with pytest.warns(UserWarning, match=r"Chunks \[0, 2, 4\] of the store do not hold"):
        ds = swept(tmp_path / "s")
    assert ds.equals(whole)


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch, whole):
    write, left = zarr.Array.__setitem__, [9]

    def full(array, part, values):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(array, part, values)

    monkeypatch.setattr(zarr.Array, "__setitem__", full)
    with pytest.raises(OSError, match=r"The disk is full\. Free some space"):
        swept(tmp_path / "s")
    monkeypatch.undo()
    assert records(tmp_path / "s") == [0, 1]
    assert swept(tmp_path / "s").equals(whole)


def test_a_directory_that_may_not_be_written(tmp_path, monkeypatch):
    """Refused before anything is computed. (Whoever runs the tests may be allowed everything.)"""

    def refused(*args, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    measure = counted(quick)
    monkeypatch.setattr(store_module.Path, "mkdir", refused)
    with pytest.raises(OSError, match=r"Nothing may be written there\. Choose another"):
        swept(tmp_path / "s", measure)
    assert type(measure).traces == 0


@pytest.mark.parametrize("left", ["", '{"lanes": 8', "{}"])
def test_a_record_that_cannot_be_read_is_that_of_a_corrupt_chunk(tmp_path, whole, left):
    """As the machine may leave it that stops; `load` says of its points that they were not run."""
    swept(tmp_path / "s")
    (tmp_path / "s/sweep/complete/3.json").write_text(left)
    assert (load(tmp_path / "s").status == -1).sum() == 16
    with pytest.warns(UserWarning, match=r"Chunks \[3\] of the store do not hold"):
        assert swept(tmp_path / "s").equals(whole)


def test_other_files_are_no_records(tmp_path, whole):
    swept(tmp_path / "s")
    (tmp_path / "s/sweep/complete/.nfs0001.json").write_text("")
    assert swept(tmp_path / "s").equals(whole)


def test_a_plan_that_cannot_be_read_is_named(tmp_path):
    swept(tmp_path / "s")
    plan = tmp_path / "s/sweep/plan.json"
    plan.write_text(plan.read_text()[:100])
    for read in (swept, load):
        with pytest.raises(ValueError, match=r"`store` must be the store of a sweep.*Remove the"):
            read(tmp_path / "s")


def test_goes_on_with_settings_of_any_plain_kind(tmp_path):
    """Which JSON gives back as others; the control is another number in them."""
    settings = {"pair": (1, 2.5), "none": float("nan"), 3: np.float32(0.5), "many": np.arange(3)}
    ds = swept(tmp_path / "s", settings=settings)
    assert json.loads(ds.attrs["settings"])["settings"]["pair"] == [1, 2.5]
    assert swept(tmp_path / "s", settings=dict(settings)).identical(ds)
    with pytest.raises(ValueError, match="must be a store of the same settings"):
        swept(tmp_path / "s", settings=settings | {"pair": (1, 2.0)})


@pytest.mark.usefixtures("without_type_checks")
def test_integers_of_numpy_are_integers(tmp_path, whole):
    numbers = {"batch": np.int64(8), "chunk": np.int32(16), "seed": np.int64(0)}
    assert swept(tmp_path / "s", devices=np.int64(1), **numbers).equals(whole)
    assert swept(tmp_path / "s").equals(whole)
