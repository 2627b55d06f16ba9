"""The interface of `rf.sweep`: axes, keys, what may be measured, how often it is compiled."""

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from processes import fresh_python
from sweep_measures import AXES, quick, raises
from tolerance import assert_close

import reluflow as rf
from reluflow.sweep import StoppedAfterFailures
from reluflow.sweep._axes import read_axes
from reluflow.sweep._plan import arranged, grid
from reluflow.sweep._program import Program


def swept(measure, axes, **options):
    return rf.sweep(measure, axes, progress=False, **options)


def drawing(*names):
    return lambda point: {"draw": jax.random.normal(point.key(*names), ())}


def test_is_the_function_at_every_point():
    """Beside a loop over the points; the control is the grid with two of its axes exchanged."""
    ds = swept(
        lambda p: {"value": p.a * jnp.asarray(10.0) + p.b}, {"a": [1.0, 2.0], "b": [3.0, 5.0]}
    )
    expected = [[10.0 * a + b for b in (3.0, 5.0)] for a in (1.0, 2.0)]
    assert ds.value.dims == ("a", "b")
    assert_close(ds.value, expected)
    with pytest.raises(AssertionError):
        assert_close(ds.value.transpose(), expected)


def test_is_a_dataset_that_describes_itself(tmp_path):
    ds = swept(quick, AXES, describe={"pair": {"units": "m", "dims": ["side"]}})
    assert ds.pair.dims == ("seed", "height", "side") and ds.pair.attrs["units"] == "m"
    assert ds.total.mean("seed").sizes == {"height": 3}
    names = ds.result.attrs["flag_meanings"].split()
    assert rf.RESULTS[rf.RESULTS.chattering] and names.index("chattering") in ds.result.values
    assert not ds.status.values.any() and ds.attrs["seed"] == 0
    ds.to_netcdf(tmp_path / "sweep.nc", engine="netcdf4")
    assert len(ds.to_dataframe()) == 40 * 3 * 2


def test_axes_that_a_key_does_not_name_share_its_draws():
    ds = swept(drawing("seed"), AXES)
    assert (ds.draw == ds.draw.isel(height=0)).all()
    assert len(np.unique(ds.draw)) == 40
    assert len(np.unique(swept(drawing("height", "seed"), AXES).draw)) == 120  # the control


def test_a_key_depends_on_names_and_values_alone():
    """Not on their order, other values, other axes, or the type of an equal number."""
    draws = swept(drawing("seed", "height"), AXES).draw
    axes = {"height": [9.0, 2.25, -1.0, 0.5], "new": [1, 2], "seed": [*range(50, 30, -1), 3.0, 5.0]}
    other = swept(drawing("height", "seed"), axes).draw
    some = {"seed": [3, 5, 31, 39], "height": [0.5, -1.0, 2.25]}
    assert (
        other.sel(some | {"new": 2}).transpose("seed", "height").values == draws.sel(some)
    ).all()
    renamed = swept(drawing("seed", "depth"), {"seed": range(40), "depth": AXES["height"]}).draw
    assert not np.isin(renamed, draws).any()
    assert not np.isin(swept(drawing("seed", "height"), AXES, seed=1).draw, draws).any()


def test_a_key_of_more_axes_is_no_continuation_of_one_of_fewer():
    def measure(point):
        keys = [point.key(), point.key("a"), point.key("a", "b"), point.key("b")]
        return {"draws": jnp.stack([jax.random.normal(key, ()) for key in keys])}

    draws = swept(measure, {"a": [0, 1], "b": [0, 1]}).draws.values
    assert [len(np.unique(draws[..., k])) for k in range(4)] == [1, 2, 4, 2]
    assert len(np.unique(draws)) == 9


def test_one_trace_for_traced_axes_and_one_a_static_value():
    """Whatever the batch, and whatever the function closes over."""
    traces = []

    def measure(point):
        traces.append(point.kind)
        return {"value": jnp.ones(point.width).sum() * point.height * scale}

    scale = jnp.asarray(2.0)
    axes = {"height": np.linspace(1.0, 2.0, 50), "width": [2, 3, 5], "kind": ["one", "other"]}
    ds = swept(measure, axes, static=("width",), batch=8)
    assert sorted(traces) == ["one"] * 3 + ["other"] * 3
    assert_close(ds.value.sel(width=5, kind="one"), 10.0 * axes["height"])
    traces.clear()
    swept(measure, axes | {"height": [1.0, 2.0]}, static="width", batch=1)
    assert len(traces) == 6


def test_a_point_is_asked_for_what_it_has():
    with pytest.raises(AttributeError, match="have the axes seed, height, but not 'width'"):
        swept(lambda point: {"value": point.width}, AXES)
    with pytest.raises(ValueError, match="Argument `axes` must hold every name once"):
        swept(drawing("seed", "seed"), AXES)


@pytest.mark.parametrize(
    ("axes", "static", "message"),
    [
        ({}, (), "must be a dict from names to values"),
        ({"a": []}, (), r"`axes\['a'\]` must hold a value at least, but it is empty"),
        ({"a": [1, 1]}, (), "must hold every value once, but 1 occurs 2 times"),
        ({"a": [1.0, np.nan]}, (), "must hold no NaN"),
        ({"a": [1, "one"]}, (), "must be a sequence of numbers, or of texts"),
        ({"a": "text"}, (), "must be a sequence of numbers, or of texts"),
        ({"a": [[1]]}, (), "must be a sequence of numbers"),
        ({"a b": [1]}, (), "must have names that can follow"),
        ({"key": [1]}, (), "must have no axis of the name 'key'"),
        ({"a": [2**60]}, (), r"integers of at most 2\^53"),
        ({"a": [2**64 - 1]}, (), r"integers of at most 2\^53.*but it holds 18446744073709551615"),
        ({"a": [-(2**63)]}, (), r"integers of at most 2\^53"),
        ({"a": [True, 2]}, (), "must be a sequence of numbers, or of texts"),
        ({"a": (value for value in [1, "one"])}, (), "must be a sequence of numbers, or of texts"),
        ({"lambda": [1.0]}, (), "must have names that can follow `point.`.*a word of Python"),
        ({"\ufb01": [1.0]}, (), "must have names that can follow `point.`"),
        ({"log_lambda": ["small"]}, (), "the logarithm of a positive lambda"),
        ({"a": [1]}, ("b",), "Argument `static` must hold names of axes"),
        ({"log_lambda": [-1.0, -np.inf]}, (), "the logarithm of a positive lambda"),
    ],
)
@pytest.mark.usefixtures("without_type_checks")
def test_refuses_axes_that_are_none(axes, static, message):
    with pytest.raises((TypeError, ValueError), match=message):
        swept(quick, axes, static=static)


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        (lambda p: p.seed, "must return a dict"),
        (lambda p: {}, "must return a dict"),
        (lambda p: {"a": "text"}, "must return arrays of numbers or codes"),
        (lambda p: {"seed": p.seed}, "nor that of an axis"),
        (lambda p: {"status": p.seed}, "and neither `status` nor"),
        (lambda p: {"sweep": p.seed}, "and neither `status` nor `sweep`"),
        (lambda p: {"lambda": p.seed}, "must return names that can follow `ds.`"),
    ],
)
def test_refuses_what_cannot_be_measured(measured, message):
    with pytest.raises((TypeError, ValueError), match=message):
        swept(measured, AXES)


def test_refuses_shapes_that_differ_between_static_values():
    with pytest.raises(ValueError, match=r"same variables.*at \{'width': 3\}.*Pad what grows"):
        swept(lambda p: {"a": jnp.ones(p.width)}, {"width": [2, 3]}, static="width")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "`batch` must be a positive integer"),
        ({"devices": 99}, "`devices` must be at most"),
        ({"devices": jax.devices() * 2}, "`devices` must be local devices of JAX.*each once"),
        ({"settings": {"a": object()}}, "`settings` must be a dict of numbers, texts, and lists"),
        ({"seed": -1}, "`seed` must be an integer from 0 on"),
        ({"rerun": "all"}, "`rerun` must be None or 'failed'"),
        ({"rerun": "failed"}, "`rerun` must be given with a `store`"),
        ({"part": (9, 8), "store": "x"}, "`part` must be two integers such as"),
        ({"executor": 3}, "`executor` must be of type"),
        ({"cost": lambda points: points.seed[:1]}, "`cost` must return one number a point"),
    ],
)
@pytest.mark.usefixtures("without_type_checks")
def test_refuses_options_that_are_none(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        swept(quick, AXES, **options)


def vectors(point):
    return {"a": jnp.arange(3.0), "b": jnp.ones(2)}


@pytest.mark.parametrize(
    ("describe", "axes", "message"),
    [
        ({"a": "units"}, {"seed": [1]}, "must hold dicts of attributes, but that of 'a'"),
        ({"a": {"dims": ["k", "l"]}}, {"seed": [1]}, "must name the 1 own .*'k', 'l': 2 of them"),
        ({"a": {"dims": ["seed"]}}, {"seed": [1]}, "'seed', the name of an axis or variable"),
        ({"a": {"dims": "b"}}, {"seed": [1]}, "'b', the name of an axis or variable"),
        ({"a": {"dims": "k"}, "b": {"dims": "k"}}, {"seed": [1]}, "2 entries, which is 3 of 'a'"),
        ({}, {"seed": [1], "a_0": [1, 2, 3]}, "'a_0', the name of an axis or variable"),
    ],
)
@pytest.mark.usefixtures("without_type_checks")
def test_what_is_described_wrongly_is_refused_before_anything_is_run(
    describe, axes, message, monkeypatch
):
    monkeypatch.setattr(Program, "__call__", None)
    with pytest.raises((TypeError, ValueError), match=f"Argument `describe` .*{message}"):
        swept(vectors, axes, describe=describe)


def test_own_dimensions_have_the_names_that_are_given():
    ds = swept(vectors, {"seed": [1, 2]}, describe={"a": {"dims": "k"}, "b": {"dims": ["l"]}})
    assert ds.a.dims == ("seed", "k") and ds.b.dims == ("seed", "l")


def test_booleans_are_an_axis_however_they_are_given():
    for values in ([True, False], np.array([True, False]), jnp.array([True, False])):
        assert swept(lambda p: {"a": p.on}, {"on": values}).a.values.tolist() == [True, False]


def test_a_function_may_refer_to_a_list_that_holds_itself():
    cycle: list = [2.0]
    cycle.append({"again": cycle})
    assert swept(lambda p: {"a": p.seed * cycle[0]}, {"seed": [3.0]}).a.values == [6.0]


def test_an_error_of_a_batch_is_the_status_of_its_points():
    """The other batches are complete; which is the control."""
    with pytest.warns(UserWarning, match="ended with an error"):
        ds = swept(raises, {"seed": range(32)}, batch=8)
    assert (ds.status.values[:8] == 1).all() and np.isnan(ds.a.values[:8]).all()
    assert not ds.status.values[8:].any() and (ds.a.values[8:] == 1.0).all()


def test_stops_after_so_many_failures():
    with pytest.raises(StoppedAfterFailures, match=r"chattering.*`stop_after_failures` is 3"):
        swept(quick, AXES, stop_after_failures=3)
    assert swept(quick, AXES, stop_after_failures=1000).total.size == 120


def test_points_are_run_in_the_order_of_their_predicted_cost():
    """Seen from the order in which a callback is given them; without `cost` it is another."""
    seen = []

    def measure(point):
        def look(height):
            seen.append(float(height))
            return np.asarray(0.0)

        kind = jax.ShapeDtypeStruct((), float)
        return {"a": jax.pure_callback(look, kind, point.height, vmap_method="sequential")}

    axes = {"seed": range(2), "height": [0.5, -1.0, 2.25]}
    swept(measure, axes, batch=1, cost=lambda points: points.height)
    assert seen == sorted(seen) and len(seen) == 6
    seen.clear()
    swept(measure, axes, batch=1)
    assert seen != sorted(seen) and sorted(seen) == [-1.0, -1.0, 0.5, 0.5, 2.25, 2.25]


def test_a_missing_package_is_named_at_the_start(monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"xarray.*pip install 'reluflow\[sweep\]'"):
        swept(quick, AXES)


def test_reluflow_is_imported_without_the_packages_of_sweeps(tmp_path):
    """The control: the sweep itself imports xarray."""
    program = (
        "import sys, reluflow as rf\n"
        "found = {'xarray', 'zarr', 'dask', 'pandas'} & set(sys.modules)\n"
        "from reluflow.sweep import Point, load\n"
        "import jax; jax.config.update('jax_enable_x64', True)\n"
        "rf.sweep(lambda p: {'b': p.a}, {'a': [1]}, progress=False)\n"
        "print(found, 'xarray' in sys.modules)"
    )
    assert fresh_python("-c", program, cwd=tmp_path).split("\n")[0] == "set() True"


def test_a_million_points_are_laid_out_quickly():
    """In operations on arrays: a fraction of a second, where point by point it would be many."""

    def seconds(seeds):
        began = time.perf_counter()
        axes = read_axes({"seed": range(seeds), "height": np.linspace(0, 1, 10)}, ())
        groups = arranged(axes, grid(axes), None)
        assert len(groups[0]) == 10 * seeds and axes[0].words().shape == (seeds, 2)
        return time.perf_counter() - began

    assert seconds(100_000) < 2.0
