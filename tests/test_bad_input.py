"""Bad arguments: a clear error that names the argument, before anything is compiled."""

import os
import subprocess
import sys

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import gaussian_data

import reluflow as rf
from reluflow import _flow

KEY = jax.random.key(0)
X, Y = np.array([[1.0, 0.0], [0.5, 1.0], [-1.0, 0.3]]), np.array([1.0, 2.0, 3.0])


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: rf.Dataset(X, Y[:2]), ["`y`", "3", "2"]),
        (lambda: rf.Dataset(X[0], Y), ["`x`", "(samples, dim)", "(2,)"]),
        (lambda: rf.Dataset(X, Y[:, None]), ["`y`", "(samples)", "(3, 1)"]),
        (lambda: rf.Dataset(X[:0], Y[:0]), ["`x`", "at least one sample"]),
        (lambda: rf.Dataset(X[:, :0], Y), ["`x`", "dimension"]),
        (lambda: rf.Dataset(X * np.nan, Y), ["`x`", "finite", "x[0, 0]"]),
        (lambda: rf.Dataset(X, [1.0, np.inf, 0.0]), ["`y`", "finite", "y[1]"]),
        (lambda: rf.Dataset([[1.0, 2.0], [0.0, 0.0]], [1.0, 2.0]), ["`x`", "x[1]", "zero"]),
        (lambda: rf.Network([0.0], [1.0, 2.0], X[:2]), ["`log_scale`", "(2,)"]),
        (lambda: rf.Network([0.0] * 2, [1.0], X[:2]), ["`output`", "(2,)"]),
        (lambda: rf.Network([0.0] * 3, Y, X[0]), ["`hidden`", "(neurons, dim)"]),
        (lambda: rf.Network([], [], np.zeros((0, 2))), ["`hidden`", "at least one neuron"]),
        (lambda: rf.Network([0.0, -np.inf, 0.0], Y, X), ["`log_scale`", "finite"]),
        (lambda: rf.Network([0.0] * 3, Y, X + np.inf), ["`hidden`", "finite"]),
        (lambda: rf.Network.from_weights(Y[:2], X), ["`a`", "3", "2"]),
        (lambda: rf.Network.from_weights(Y, X * np.nan), ["`w`", "finite"]),
        (lambda: rf.Network.from_weights(1.0, X), ["`a`", "(neurons)"]),
        (lambda: rf.balanced(KEY, 0, 2, -1.0), ["`neurons`", "positive", "0"]),
        (lambda: rf.balanced(KEY, 3, -1, -1.0), ["`dim`", "positive"]),
        (lambda: rf.balanced(KEY, 2.5, 2, -1.0), ["`neurons`", "2.5"]),
        (lambda: rf.balanced(KEY, 3, 2, np.nan), ["`log_lambda`", "finite"]),
        (lambda: rf.unbalanced(KEY, 3, 2, -np.inf), ["`log_lambda`", "finite"]),
        (lambda: rf.unbalanced(KEY, 3, 2, [-1.0, -2.0]), ["`log_lambda`", "(2,)"]),
        (lambda: rf.he_uniform(KEY, 0, 2), ["`neurons`", "positive"]),
        (lambda: rf.datasets.orthonormal(KEY, 5, 4), ["`dim`", "5", "4"]),
        (lambda: rf.datasets.orthonormal(KEY, 0), ["`samples`", "positive"]),
        (lambda: rf.datasets.orthonormal(KEY, 3, labels="none"), ["`labels`", "'none'"]),
        (lambda: rf.datasets.gaussian_teacher(KEY, teacher_neurons=0), ["`teacher_neurons`"]),
        (lambda: rf.RungeKutta(diffrax.Euler()), ["`solver`", "Euler"]),
        (lambda: rf.RungeKutta("Tsit5"), ["`solver`", "Tsit5"]),
        (lambda: rf.RungeKutta(max_sliding=-1), ["`max_sliding`", "-1"]),
        (lambda: rf.RungeKutta(max_sliding=1.5), ["`max_sliding`", "1.5"]),
    ],
)
def test_values_are_refused(make, words):
    with pytest.raises(ValueError) as error:
        make()
    for word in words:
        assert word in str(error.value)


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: rf.Dataset("abc", Y), "`x`"),
        (lambda: rf.Dataset(X * 1j, Y), "`x`"),
        (lambda: rf.Dataset(X, None), "`y`"),
        (lambda: rf.Network([0.0], [None], [[1.0]]), "`output`"),
        (lambda: rf.flow((Y, X), rf.Dataset(X, Y), 1.0), "`net`"),
        (lambda: rf.flow(rf.Network.from_weights(Y, X), (X, Y), 1.0), "`data`"),
    ],
)
def test_types_are_refused(make, word):
    with pytest.raises(TypeError) as error:
        make()
    assert word in str(error.value)


FLOWS = [
    ({"t1": 0.0}, ["`t1`", "greater"]),
    ({"t1": -1.0}, ["`t1`", "-1"]),
    ({"t1": 1.0, "t0": 1.0}, ["`t1`", "`t0`"]),
    ({"t1": np.nan}, ["`t1`", "finite"]),
    ({"t1": np.inf}, ["`t1`", "finite"]),
    ({"t1": [1.0, 2.0]}, ["`t1`", "scalar", "(2,)"]),
    ({"rtol": 1e-16}, ["`rtol`", "1e-16", "float64"]),
    ({"rtol": 0.0}, ["`rtol`"]),
    ({"rtol": -1e-8}, ["`rtol`"]),
    ({"rtol": 1.0}, ["`rtol`"]),
    ({"rtol": np.nan}, ["`rtol`", "finite"]),
    ({"atol": -1e-8}, ["`atol`", "negative"]),
    ({"stop_loss": np.nan}, ["`stop_loss`", "finite"]),
    ({"max_steps": 0}, ["`max_steps`", "positive"]),
    ({"max_steps": 10.5}, ["`max_steps`", "10.5"]),
    ({"max_events": 0}, ["`max_events`", "positive"]),
    ({"max_events": True}, ["`max_events`", "True"]),
    ({"saveat": diffrax.SaveAt(ts=[0.5, 0.2])}, ["`saveat.ts`", "increasing"]),
    ({"saveat": diffrax.SaveAt(ts=[0.5, 2.0])}, ["`saveat.ts`", "[t0, t1]"]),
    ({"saveat": diffrax.SaveAt(ts=[-0.5])}, ["`saveat.ts`", "[t0, t1]"]),
    ({"saveat": diffrax.SaveAt(ts=[np.nan])}, ["`saveat.ts`"]),
    ({"saveat": diffrax.SaveAt(dense=True, made_jump=True)}, ["`saveat`", "made_jump"]),
    ({"saveat": diffrax.SaveAt(t1=True, solver_state=True)}, ["`saveat`"]),
]


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(("options", "words"), FLOWS)
def test_flow_refuses_before_it_compiles(options, words):
    net, data = rf.Network.from_weights(Y, X), rf.Dataset(X, Y)
    compiled = _flow._integrate.outermost()._cached._cache_size()
    with pytest.raises(ValueError) as error:
        rf.flow(net, data, **{"t1": 1.0, **options})
    for word in words:
        assert word in str(error.value)
    assert _flow._integrate.outermost()._cached._cache_size() == compiled


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize("options", [{"saveat": [0.5]}, {"integrator": diffrax.Dopri8()}])
def test_flow_refuses_other_objects(options):
    with pytest.raises(TypeError, match=f"`{next(iter(options))}`"):
        rf.flow(rf.Network.from_weights(Y, X), rf.Dataset(X, Y), 1.0, **options)


def test_dimensions_and_leading_axes():
    with pytest.raises(ValueError, match="same input dimension, but they have 3 and 2"):
        rf.flow(rf.balanced(KEY, 4, 3, -1.0), rf.Dataset(X, Y), 1.0)
    many = jax.vmap(lambda key: rf.balanced(key, 4, 2, -1.0))(jax.random.split(KEY, 3))
    with pytest.raises(ValueError, match=r"`net`.*jax\.vmap"):
        rf.flow(many, rf.Dataset(X, Y), 1.0)
    with pytest.raises(ValueError, match=r"`x`.*input dimension 3"):
        rf.balanced(KEY, 4, 3, -1.0)(X)


@pytest.mark.parametrize("factor", [1.0, 2.5, -1.0, 1.0 + 1e-15])
def test_parallel_inputs_are_refused(factor):
    """One boundary for two samples: they would switch as one."""
    data = rf.Dataset(np.array([X[0], X[1], factor * X[1]]), Y)
    with pytest.raises(ValueError) as error:
        rf.flow(rf.Network.from_weights(Y, X), data, 1.0)
    for word in ("`data`", "parallel", "x[1]", "x[2]"):
        assert word in str(error.value)


def test_bad_lanes_are_refused_by_shape_under_jit():
    with pytest.raises(ValueError, match="`y`"):
        jax.jit(lambda x, y: rf.Dataset(x, y))(jnp.ones((3, 2)), jnp.ones(2))


def subprocess_output(code, **env):
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "JAX_ENABLE_X64": "0", **env},
    )
    return result.stdout + result.stderr


def test_without_x64_it_says_how_to_enable_it():
    calls = [
        "rf.Dataset([[1.0]], [1.0])",
        "rf.datasets.two_points()",
        "rf.balanced(jax.random.key(0), 3, 2, -1.0)",
        "rf.Network.from_weights([1.0], [[1.0]])",
        "rf.flow(None, None, 1.0)",
    ]
    code = "import jax, reluflow as rf\n" + "\n".join(
        f"try:\n    {call}\nexcept RuntimeError as e:\n    print(e)" for call in calls
    )
    lines = subprocess_output(code).strip().splitlines()
    assert len(lines) == len(calls)
    for line in lines:
        assert "jax_enable_x64" in line and "JAX_ENABLE_X64=1" in line


def test_importing_changes_no_global_setting():
    code = (
        "import jax, os\n"
        "before = dict(jax.config.values)\n"
        "env = dict(os.environ)\n"
        "import reluflow\n"
        "after = dict(jax.config.values)\n"
        "print(before == after, env == dict(os.environ))"
    )
    assert subprocess_output(code).strip() == "True True"


def test_control_good_input_passes():
    integrator = rf.RungeKutta(max_sliding=3)
    sol = rf.flow(
        rf.balanced(KEY, 6, 3, -1.0), gaussian_data(100, 4, 3), 0.1, integrator=integrator
    )
    assert bool(sol.result == rf.RESULTS.successful)
