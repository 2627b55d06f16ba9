"""`reluflow sweep --dask`: workers of a cluster here, which load what a grid measures."""

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("matplotlib")
distributed = pytest.importorskip("distributed")

from test_sweep_console import GRID, invoke, values  # noqa: E402


@pytest.mark.slow  # starts processes that import JAX
@pytest.mark.filterwarnings("ignore")  # of dask, about ports
def test_workers_of_dask_find_the_same(tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text(GRID)
    assert invoke("sweep", path, "--out", tmp_path / "here").exit_code == 0
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster:
        address = cluster.scheduler_address
        result = invoke("sweep", path, "--out", tmp_path / "there", "--dask", address)
    assert result.exit_code == 0, result.output
    here, there = values(tmp_path / "here"), values(tmp_path / "there")
    for name, array in here.items():
        np.testing.assert_array_equal(array, there[name])
    # The control: another seed of all keys.
    path.write_text("seed = 1\n" + GRID)
    assert invoke("sweep", path, "--out", tmp_path / "other").exit_code == 0
    other = values(tmp_path / "other")
    assert not np.array_equal(here["assumption_3"], other["assumption_3"])
