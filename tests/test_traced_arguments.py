"""Bad values that only the compiled program can see: an error that names them, or a result code."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import lane, relative_difference, small

import reluflow as rf

INTEGRATORS = {"boost": rf.Boost(max_sliding=3), "runge-kutta": rf.RungeKutta(max_sliding=3)}
GOOD = {"t0": 0.0, "t1": 2.0, "rtol": 1e-8, "atol": 0.0, "stop_loss": 1e-9, "ts": [0.5, 1.0]}
BAD = [
    ({"t1": 0.0}, "`t1` must be greater than `t0`"),
    ({"t1": -1.0}, "`t1` must be greater than `t0`"),
    ({"t0": 3.0}, "`t1` must be greater than `t0`"),
    ({"t1": np.nan}, "`t1` must be finite"),
    ({"t0": np.nan}, "`t0` must be finite"),
    ({"rtol": np.nan}, "`rtol` must be finite"),
    ({"rtol": 0.0}, "`rtol` must lie in"),
    ({"rtol": 1.0}, "`rtol` must lie in"),
    ({"atol": -1e-9}, "`atol` must not be negative"),
    ({"atol": np.nan}, "`atol` must be finite"),
    ({"stop_loss": 0.0}, "`stop_loss` must be positive"),
    ({"stop_loss": np.nan}, "`stop_loss` must be finite"),
    ({"ts": [1.0, 0.5]}, "`saveat.ts` must be increasing"),
    ({"ts": [0.5, 2.5]}, r"`saveat.ts` must lie in \[t0, t1\]"),
    ({"ts": [0.5, np.nan]}, "`saveat.ts` must be finite"),
]


def arrays(values):
    return {name: jnp.asarray(value, jnp.float64) for name, value in (GOOD | values).items()}


def run(values, integrator, throw):
    values = dict(values)
    saveat = diffrax.SaveAt(ts=values.pop("ts"))
    return rf.flow(*small(), integrator=integrator, saveat=saveat, throw=throw, **values)


def one_by_one(function, cases):
    function = jax.jit(function)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(function, cases))


def lanes(function, cases):
    return jax.jit(jax.vmap(function))(jax.tree.map(lambda *leaves: jnp.stack(leaves), *cases))


@pytest.mark.parametrize(
    ("integrator", "each"),
    [
        ("boost", one_by_one),
        pytest.param("boost", lanes, marks=pytest.mark.slow),  # its program is the longest here
        ("runge-kutta", lanes),
    ],
)
def test_a_result_code_without_throw(integrator, each):
    """The first, whose values are good, is right."""
    cases = [arrays(values) for values in ({}, *(values for values, _ in BAD))]
    sols = each(lambda values: run(values, INTEGRATORS[integrator], False), cases)
    good = np.asarray(sols.result == rf.RESULTS.successful)
    bad = np.asarray(sols.result == rf.RESULTS.invalid_argument)
    np.testing.assert_array_equal(good, [True] + [False] * len(BAD))
    np.testing.assert_array_equal(bad, ~good)
    assert "1 successful, 15 invalid_argument" in str(sols)
    assert np.all(np.isinf(sols.losses[1:])) and np.all(np.isfinite(sols.losses[0]))
    alone = run(GOOD, INTEGRATORS["runge-kutta"], True)
    assert relative_difference(lane(sols.final, 0), alone.final) < 1e-6


@eqx.filter_jit
def jitted(values):
    """With rf.RungeKutta, for the checks come before any integrator."""
    return run(values, INTEGRATORS["runge-kutta"], True).final


@pytest.mark.parametrize(("values", "message"), BAD, ids=[str(values) for values, _ in BAD])
def test_an_error_that_names_it_with_throw(values, message):
    with pytest.raises(RuntimeError, match=message):
        jitted(arrays(values))
    with pytest.raises(ValueError, match=message):  # the same words where it is known
        run(GOOD | values, INTEGRATORS["runge-kutta"], True)


def test_control_good_values_pass():
    sol = jitted(arrays({}))
    assert relative_difference(sol, run(GOOD, INTEGRATORS["runge-kutta"], True).final) < 1e-12


def test_constants_inside_of_jit_are_refused_when_it_is_traced():
    """Numbers that Python knows are no traced values, wherever they stand."""

    def flow(scale):
        net, data = small()
        return rf.flow(rf.Network(net.log_scale + scale, net.output, net.hidden), data, -1.0)

    with pytest.raises(ValueError, match=r"`t1` must be greater than `t0`, but it is -1\.0"):
        jax.jit(flow)(0.0)
    with pytest.raises(ValueError, match=r"`y` must be finite, but y\[1\] is nan"):
        jax.jit(lambda x: rf.Dataset(x, [1.0, np.nan]))(jnp.eye(2))
