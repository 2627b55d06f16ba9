"""Bad arguments: a clear error that names the argument, before anything is compiled."""

import os
import re
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

pytestmark = pytest.mark.usefixtures("without_type_checks")

KEY = jax.random.key(0)
# What newcomers pass for a key: a seed, or the array of one of another type.
NO_KEYS = [0, -1, 1.5, "0", None, jnp.zeros(3), np.array([1, 2]), [0, 1]]
X, Y = np.array([[1.0, 0.0], [0.5, 1.0], [-1.0, 0.3]]), np.array([1.0, 2.0, 3.0])
NET = rf.Network.from_weights(Y, X)


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
        (lambda: rf.Network([0.0], [1.0, 2.0], X[:2]), ["`log_scale`", "(2,)"]),
        (lambda: rf.Network([0.0] * 2, [1.0], X[:2]), ["`output`", "(2,)"]),
        (lambda: rf.Network([0.0] * 3, Y, X[0]), ["`hidden`", "(neurons, dim)"]),
        (lambda: rf.Network([], [], np.zeros((0, 2))), ["`hidden`", "at least one neuron"]),
        (lambda: rf.Network([0.0, -np.inf, 0.0], Y, X), ["`log_scale`", "finite"]),
        (lambda: rf.Network([0.0] * 3, Y, X + np.inf), ["`hidden`", "finite"]),
        (lambda: rf.Network.from_weights(Y[:2], X), ["`a`", "3", "2"]),
        (lambda: rf.Network.from_weights(Y, X * np.nan), ["`w`", "finite"]),
        (lambda: rf.Network.from_weights(1.0, X), ["`a`", "(neurons)"]),
        (lambda: rf.Dataset([[1e200, 1.0]], [1.0]), ["`x`", "squared lengths", "1.e+200"]),
        (lambda: rf.Dataset([[1e-200, 0.0]], [1.0]), ["`x`", "squared lengths", "1.e-200"]),
        (lambda: rf.Dataset(X, [1.0, 1e155, 0.0]), ["`y`", "squares", "y[1]", "1e+155"]),
        (lambda: rf.balanced(KEY, 0, 2, -1.0), ["`neurons`", "positive", "0"]),
        (lambda: rf.balanced(KEY, 3, 2, 1e6), ["`log_lambda`", "354.89", "1000000.0"]),
        (lambda: rf.unbalanced(KEY, 3, 2, 355.0), ["`log_lambda`", "354.89", "355.0"]),
        (lambda: rf.balanced(KEY, 3, 2, -1.1e9), ["`log_lambda`", "-1e+09", "rounded"]),
        (lambda: rf.balanced(KEY, 10**12, 2, -1.0), ["`neurons`", "memory", "GiB"]),
        (lambda: rf.he_uniform(KEY, 10**20, 2), ["`neurons`", "9223372036854775807"]),
        (lambda: rf.datasets.orthonormal(KEY, 10**6), ["memory", "GiB"]),
        (lambda: rf.datasets.gaussian_teacher(KEY, 10**9, 10**3), ["`samples`", "GiB"]),
        (lambda: rf.balanced(jax.random.split(KEY, 3), 4, 2, -1.0), ["`key`", "(3,)", "vmap"]),
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
        (lambda: rf.RungeKutta(max_sliding=True), ["`max_sliding`", "True"]),
        (lambda: rf.Boost(max_sliding=-1), ["`max_sliding`", "-1"]),
        (lambda: rf.Boost(rtol=1.0), ["`rtol`", "1.0"]),
        (lambda: rf.loss(NET, rf.datasets.orthonormal(KEY, 3)), ["`net` and `data`", "2 and 3"]),
    ],
)
def test_values_are_refused(make, words):
    with pytest.raises(ValueError) as error:
        make()
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        *((lambda key=key: rf.balanced(key, 4, 2, -1.0), "`key`") for key in NO_KEYS),
        *((lambda key=key: rf.datasets.orthonormal(key, 3), "`key`") for key in NO_KEYS),
        (lambda: rf.unbalanced(0, 4, 2, -1.0), "`key`"),
        (lambda: rf.he_uniform(0, 4, 2), "`key`"),
        (lambda: rf.datasets.gaussian_teacher(0), "`key`"),
        (lambda: rf.balanced(KEY, 3, 2, "small"), "`log_lambda`"),
        (lambda: rf.Boost(rtol="1e-8"), "`rtol`"),
        (lambda: rf.loss(NET, (X, Y)), "`data`"),
        (lambda: rf.loss(rf.Dataset(X, Y), NET), "`net`"),
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
    ({"t1": -np.inf}, ["`t1`", "greater"]),
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
    ({"max_events": 1e10}, ["`max_events`", "10000000000.0", "float"]),
    ({"max_events": 10**10}, ["`max_events`", "2^31", "316.6 GiB"]),
    ({"max_events": 10**20}, ["`max_events`", "at most"]),
    ({"max_steps": 10**20}, ["`max_steps`", "at most"]),
    ({"stop_loss": 0.0}, ["`stop_loss`", "positive", "0.0"]),
    ({"stop_loss": -1.0}, ["`stop_loss`", "positive", "-1.0"]),
    ({"saveat": diffrax.SaveAt()}, ["`saveat`", "SaveAt()", "SaveAt(t1=True)"]),
    ({"saveat": diffrax.SaveAt(steps=-1)}, ["`saveat.steps`", "-1"]),
    ({"saveat": diffrax.SaveAt(steps=1.5)}, ["`saveat.steps`", "1.5"]),
    ({"saveat": diffrax.SaveAt(ts=[[0.5]])}, ["`saveat.ts`", "one-dimensional", "(1, 1)"]),
    ({"saveat": diffrax.SaveAt(steps=1), "max_steps": 10**10}, ["`max_steps`", "memory", "GiB"]),
    ({"saveat": diffrax.SaveAt(dense=True), "max_steps": 10**10}, ["`max_steps`", "memory", "GiB"]),
    ({"saveat": diffrax.SaveAt(ts=[0.5, 0.2])}, ["`saveat.ts`", "increasing"]),
    ({"saveat": diffrax.SaveAt(ts=[0.5, 2.0])}, ["`saveat.ts`", "[t0, t1]"]),
    ({"saveat": diffrax.SaveAt(ts=[-0.5])}, ["`saveat.ts`", "[t0, t1]"]),
    ({"saveat": diffrax.SaveAt(ts=[np.nan])}, ["`saveat.ts`"]),
    ({"saveat": diffrax.SaveAt(dense=True, made_jump=True)}, ["`saveat`", "made_jump"]),
    ({"saveat": diffrax.SaveAt(t1=True, solver_state=True)}, ["`saveat`"]),
]


@pytest.mark.parametrize(("options", "words"), FLOWS)
def test_flow_refuses_before_it_compiles(options, words):
    net, data = NET, rf.Dataset(X, Y)
    compiled = _flow._integrate.outermost()._cached._cache_size()
    with pytest.raises(ValueError) as error:
        rf.flow(net, data, **{"t1": 1.0, **options})
    for word in words:
        assert word in str(error.value)
    assert _flow._integrate.outermost()._cached._cache_size() == compiled


def saving(fn):
    return {"saveat": diffrax.SaveAt(t1=True, fn=fn)}


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"saveat": [0.5]}, "`saveat`"),
        ({"integrator": diffrax.Dopri8()}, "`integrator`"),
        ({"integrator": "boost"}, "`integrator`"),
        ({"throw": "no"}, "`throw` must be True or False, but it is 'no'"),
        ({"throw": 0}, "`throw`"),
        ({"throw": None}, "`throw`"),
        ({"progress_meter": "yes"}, "`progress_meter` must be of type"),
        ({"progress_meter": True}, "`progress_meter`"),
        ({"t1": "1"}, "`t1`"),
        ({"t0": "0"}, "`t0`"),
        ({"rtol": "small"}, "`rtol`"),
        ({"stop_loss": "low"}, "`stop_loss`"),
        (saving(3), "`saveat.fn` must be a function"),
        (saving(lambda net: net), "`saveat.fn` must be a function"),
        (saving(lambda t, net, data: "text"), "`saveat.fn` must be a function"),
    ],
)
@pytest.mark.parametrize("integrator", [rf.Boost(), rf.RungeKutta()], ids=["boost", "runge-kutta"])
def test_flow_refuses_other_objects(integrator, options, word):
    with pytest.raises(TypeError, match=re.escape(word)):
        rf.flow(NET, rf.Dataset(X, Y), **{"t1": 1.0, "integrator": integrator, **options})


@pytest.mark.parametrize("raw", [jax.random.PRNGKey(0), np.array([0, 7], np.uint32)])
def test_control_keys_of_the_old_style_are_keys(raw):
    assert rf.balanced(raw, 4, 2, 354.0).hidden.shape == (4, 2)
    assert rf.balanced(raw, 4, 2, -1e9).log_norm().max() < -0.9e9


@pytest.mark.parametrize("integrator", [rf.RungeKutta, rf.Boost])
def test_control_integers_of_numpy_and_more_than_there_are(integrator):
    """More units than a neuron has cannot slide: the room is the same."""
    data = gaussian_data(100, 4, 3)
    few, many = (integrator(max_sliding=n).max_sliding for n in (np.int64(3), 10**9))
    assert type(few) is int and many == 10**9
    made = integrator(max_sliding=10**9)
    made = made.integrator() if isinstance(made, rf.Boost) else made
    assert made.prepare(data).max_sliding == 4


def test_dimensions_and_leading_axes():
    with pytest.raises(ValueError, match="same input dimension, but they have 3 and 2"):
        rf.flow(rf.balanced(KEY, 4, 3, -1.0), rf.Dataset(X, Y), 1.0)
    many = jax.vmap(lambda key: rf.balanced(key, 4, 2, -1.0))(jax.random.split(KEY, 3))
    with pytest.raises(ValueError, match=r"`net`.*jax\.vmap"):
        rf.flow(many, rf.Dataset(X, Y), 1.0)
    with pytest.raises(ValueError, match=r"`x`.*input dimension 3"):
        rf.balanced(KEY, 4, 3, -1.0)(X)


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
