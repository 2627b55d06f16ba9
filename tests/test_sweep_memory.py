"""`batch="auto"`: as many lanes as the memory holds, by the compiler's word and by a probe."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sweep_measures import AXES, looped
from test_sweep_devices import Failing
from test_sweep_executors import Recorded

import reluflow as rf
from reluflow.sweep import _fitting, _worker
from reluflow.sweep._program import Inputs, Program


def swept(measure=looped, axes=AXES, **options):
    options = {"progress": False, "batch": "auto", "chunk": 64} | options
    return rf.sweep(measure, axes, **options)


def products(point):
    """Kernels allot a matrix of 8 MB a lane for themselves, of which the compiler says nothing."""
    matrix = jnp.outer(jnp.arange(1000.0) * point.seed, jnp.ones(1000))
    return {"total": jnp.sum(matrix @ matrix.T)}


@pytest.fixture
def run(monkeypatch):
    """The lanes of all programs that are called, those of probes among them."""
    return Failing(monkeypatch, calls=()).lanes


def limited(monkeypatch, size, said=None, taken=None):
    """So much free memory; what the compiler says; and (bytes, bytes a lane) that probes see."""
    monkeypatch.setattr(_fitting, "room", lambda devices: size)
    if said is not None:
        monkeypatch.setattr(Program, "memory", lambda program: said(program.lanes))
    if taken is not None:

        def measured(program, inputs):
            program.compile()
            program(inputs)
            return taken[0] + taken[1] * program.lanes

        monkeypatch.setattr(_fitting, "_taken", measured)


def test_without_a_limit_nothing_is_probed(run):
    """Where even all arrays fit, whatever the compiler says."""
    swept()
    assert set(run) == {64}


def test_the_word_of_the_compiler(monkeypatch, run):
    """And the control, a batch that was asked for."""
    limited(monkeypatch, 100_000, said=lambda lanes: 6000 * lanes)
    swept(axes=AXES | {"seed": range(8)})
    assert set(run) == {10}
    run.clear()
    swept(batch=64)
    assert set(run) == {64}


@pytest.mark.parametrize(
    ("taken", "probes", "lanes"),
    [
        ((0, 9000), [1], 1),  # more than is allowed, and yet it ran
        ((0, 1000), [1, 6], 6),
        ((3000, 300), [1, 1], 1),  # what does not grow with the lanes is laid to them
        ((2000, 50), [1, 2, 5, 13, 29], 50),
        ((50, 10), [1], 64),
    ],
)
def test_a_probe_where_the_compiler_says_nothing(monkeypatch, run, taken, probes, lanes, capsys):
    """The control: what it does not say was taken for 0 bytes, and the batch had 64 lanes."""
    limited(monkeypatch, 10_000, said=lambda lanes: None, taken=taken)
    swept(axes=AXES | {"seed": range(64)}, chunk=192)
    assert run[: len(probes)] == probes and set(run[len(probes) :]) == {lanes}
    assert ("goes on with" in capsys.readouterr().err) == (lanes < 64)


def test_a_probe_sees_what_the_compiler_leaves_out(monkeypatch, run):
    """The control: by its word alone, all 16 lanes would fit many times."""
    said, memory = [], Program.memory
    monkeypatch.setattr(Program, "memory", lambda p: said.append(memory(p)) or said[-1])
    limited(monkeypatch, 240 * 10**6)
    ds = swept(products, {"seed": np.arange(16.0)}, chunk=16)
    assert 0 < said[0] < 10**6
    assert run[0] == 1 and 1 <= max(run) < 16
    assert not ds.status.values.any()


def test_what_was_chosen_stands_in_the_store(monkeypatch, run, tmp_path):
    limited(monkeypatch, 10_000, said=lambda lanes: None, taken=(0, 1000))
    axes = AXES | {"seed": range(64)}
    first = swept(axes=axes, store=tmp_path / "s")
    assert json.loads(first.attrs["halved"]) == [{"segment": 0, "chunk": 0, "lanes": 6}]
    monkeypatch.undo()
    (tmp_path / "s" / "sweep" / "complete" / "1.json").unlink()
    again = swept(axes=axes, store=tmp_path / "s")
    assert again.identical(first)


def test_where_nothing_can_be_known(monkeypatch, run, capsys):
    """Eight lanes on a CPU, where nothing is raised."""
    limited(monkeypatch, None)
    swept()
    assert set(run) == {8}
    assert "The memory is small, or not known" in capsys.readouterr().err
    run.clear()
    limited(monkeypatch, 10_000, said=lambda lanes: None)
    monkeypatch.setattr(_fitting, "_used", lambda device: None)
    swept()
    assert run[0] == 1 and set(run[1:]) == {8}


def test_a_probe_that_runs_out_of_memory(monkeypatch):
    failing = Failing(monkeypatch, calls=(2,))
    limited(monkeypatch, 10_000, said=lambda lanes: None, taken=(0, 1000))
    swept()
    assert failing.lanes[:2] == [1, 6] and set(failing.lanes[2:]) == {3}


def test_the_memory_of_a_device_is_that_of_its_allocator():
    """A peak of the past makes it too large, never too small."""
    used = iter([(500, 900), (500, 2500)])
    names = ("bytes_in_use", "peak_bytes_in_use")
    device = SimpleNamespace(
        platform="gpu", memory_stats=lambda: dict(zip(names, next(used), strict=True))
    )

    class Stub(Program):
        def __init__(self):
            self.devices = (device,)

        def compile(self):
            pass

        def __call__(self, inputs):
            return []

    point = Inputs((), np.zeros((1, 0, 2), np.uint32), np.zeros(2, np.uint32))
    assert _fitting._taken(Stub(), point) == 2000
    device.memory_stats = lambda: None
    assert _fitting._taken(Stub(), point) is None


def test_the_growth_of_a_process_is_seen():
    """Also of what was freed before, which malloc would give again."""
    device = jax.devices()[0]
    if _fitting._used(device) is None:
        pytest.skip("there is no /proc")
    pairs = [(np.ones(2**13), np.ones(2**6)) for _ in range(1000)]  # 64 KiB, and a little behind
    kept = [little for _, little in pairs]
    del pairs
    for _ in range(2):
        before = _fitting._used(device)
        parts = [np.ones(2**13) for _ in range(1000)]
        del parts
        after = _fitting._used(device)
        assert before is not None and after is not None
        assert 2**25 < after[1] - before[0] < 2**27 and kept


def test_the_lanes_of_a_worker_fit_its_memory(monkeypatch, run, capsys):
    limited(monkeypatch, 100_000, said=lambda lanes: 6000 * lanes)
    with Recorded() as executor:
        ds = swept(axes=AXES | {"seed": range(8)}, executor=executor)
        assert set(run) == {10} and not ds.status.values.any()
        assert "The memory is small: the sweep goes on with 10" in capsys.readouterr().err
        run.clear()
        swept(axes=AXES | {"seed": range(8)}, executor=executor, batch=24)  # the control
        assert set(run) == {24}


def test_what_a_probe_of_few_lanes_found_does_not_hold_for_more(monkeypatch, run):
    """In a worker, which remembers it; and what one of many found need not be found again."""
    monkeypatch.setattr(_worker, "_memory", _fitting.Fitting())
    limited(monkeypatch, 1000, said=lambda lanes: None, taken=(0, 30))
    with Recorded() as executor:
        for seeds, lanes in ((4, [1, 12]), (16, [1, 20, 20, 20, 20]), (5, [15])):
            run.clear()
            swept(axes=AXES | {"seed": range(seeds)}, executor=executor, chunk=80)
            assert run == lanes
