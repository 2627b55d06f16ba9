"""Reverse mode is refused at once, before anything is traced; forward mode is not."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import curve, gaussian_data
from tolerance import assert_close

import reluflow as rf
from reluflow import _descent, _flow
from reluflow._support._forward_mode import forward_mode_only

BOOST, RUNGE_KUTTA = rf.Boost(max_sliding=3), rf.RungeKutta(max_sliding=3)
FORWARD = r"reverse mode .* Use forward mode, jax.jvp or jax.jacfwd"


def start(log_lambda):
    return rf.balanced(jax.random.key(0), 6, 3, log_lambda), gaussian_data(100, 4, 3)


def size(log_lambda, integrator=BOOST, **options):
    net, data = start(log_lambda)
    return rf.flow(net, data, 5.0, integrator=integrator, **options).final.squared_norm()


def loss_at_the_end(log_lambda):
    net, data = start(log_lambda)
    return rf.loss(rf.flow(net, data, 5.0, integrator=BOOST).final, data)


REVERSE = {
    "grad": lambda f: jax.grad(f)(-3.0),
    "value_and_grad": lambda f: jax.value_and_grad(f)(-3.0),
    "vjp": lambda f: jax.vjp(f, -3.0),
    "linearize": lambda f: jax.linearize(f, -3.0),
    "jacrev": lambda f: jax.jacrev(f)(-3.0),
    "hessian": lambda f: jax.hessian(f)(-3.0),
    "grad of vmap": lambda f: jax.grad(lambda s: jnp.sum(jax.vmap(f)(jnp.array([s, s]))))(-3.0),
    "vmap of grad": lambda f: jax.vmap(jax.grad(f))(jnp.array([-3.0, -2.0])),
    "jit of grad": lambda f: jax.jit(jax.grad(f))(-3.0),
}


@pytest.fixture
def untraced(monkeypatch):
    """Fails where the loop of a flow, or of a descent, is so much as traced."""

    def traced(*args):
        raise AssertionError("The flow was traced.")

    monkeypatch.setattr(_flow, "_integrate", traced)
    monkeypatch.setattr(_descent, "_descend", traced)


@pytest.mark.parametrize("differentiate", REVERSE.values(), ids=REVERSE)
@pytest.mark.parametrize("function", [size, loss_at_the_end])
def test_a_flow_refuses_before_it_is_traced(untraced, function, differentiate):
    with pytest.raises(RuntimeError, match=FORWARD):
        differentiate(function)


@pytest.mark.parametrize("differentiate", [*REVERSE.values()], ids=REVERSE)
def test_runge_kutta_refuses_before_it_is_traced(untraced, differentiate):
    """It has no derivative in either mode."""
    with pytest.raises(Exception, match=r"Use jax.jvp or jax.jacfwd with integrator=rf.Boost\(\)"):
        differentiate(lambda log_lambda: size(log_lambda, RUNGE_KUTTA))


@pytest.mark.parametrize("differentiate", [jax.grad, jax.jacfwd])
def test_with_stop_loss_it_refuses_before_it_is_traced(untraced, differentiate):
    with pytest.raises(Exception, match="Differentiate to a fixed t1"):
        differentiate(lambda log_lambda: size(log_lambda, stop_loss=1e-3))(-3.0)


@pytest.mark.parametrize("differentiate", [jax.jvp, jax.vmap, jax.jit])
def test_control_what_is_not_reverse_mode_is_traced(untraced, differentiate):
    calls = {
        jax.jvp: lambda: jax.jvp(size, (-3.0,), (1.0,)),
        jax.vmap: lambda: jax.vmap(size)(jnp.array([-3.0])),
        jax.jit: lambda: jax.jit(size)(-3.0),
    }
    with pytest.raises(AssertionError, match="The flow was traced"):
        calls[differentiate]()


def ended(integrator, geometry, net, *rest):
    return eqx.tree_at(lambda sol: sol.final, curve([0.0], [0.0]), net)


@pytest.mark.parametrize(
    "around",
    [jax.jit, lambda f: lambda s: jnp.sum(jax.lax.map(f, jnp.stack([s])))],
    ids=["jit", "lax.map"],
)
@pytest.mark.parametrize("differentiate", [jax.vjp, jax.linearize])
def test_inside_of_other_functions_it_refuses_before_it_is_compiled(
    monkeypatch, around, differentiate
):
    """JAX traces such a function before it says what for. The flow, whose trace takes seconds, is
    replaced by nothing; no cotangent is asked for, so that it is not the transposition that raises.
    """
    monkeypatch.setattr(_flow, "_integrate", ended)
    with pytest.raises(RuntimeError, match=FORWARD):
        differentiate(around(lambda s: size(s, throw=False)), -3.0)
    around(lambda s: size(s, throw=False))(jnp.array(-3.0))  # the control


def test_a_descent_refuses_too(untraced):
    def after(log_lambda):
        return rf.loss(rf.descent(*start(log_lambda), optax.sgd(1e-2), 10).final, start(0.0)[1])

    with pytest.raises(RuntimeError, match=r"rf.descent .* reverse mode"):
        jax.grad(after)(-3.0)


def test_a_loss_alone_is_differentiated_in_any_mode():
    """The control of the loss of a flow: it is the flow that refuses."""
    net, data = start(-1.0)
    a, w = net.weights()
    by_jax = jax.grad(lambda w: rf.loss(rf.Network(jnp.zeros(6), a, w), data))(w)
    assert_close(by_jax, _descent.gradient(a, w, data)[1], rtol=1e-12)


def stored(integrator):
    """A solution with the shapes of a dense output; its numbers are zeros."""
    net, data = start(-3.0)
    options = {"integrator": integrator, "max_steps": 8, "saveat": diffrax.SaveAt(dense=True)}
    shapes = eqx.filter_eval_shape(lambda net: rf.flow(net, data, 5.0, throw=False, **options), net)
    return jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype) if hasattr(leaf, "shape") else leaf, shapes
    )


def test_dense_output_of_boost_refuses():
    sol = stored(BOOST)
    for differentiate in (
        jax.grad,
        lambda f: jax.jit(jax.grad(f)),
        lambda f: jax.linearize(f, 0.0),
    ):
        with pytest.raises(RuntimeError, match=FORWARD):
            differentiate(lambda t: sol.evaluate(t).squared_norm())(0.0)


def test_dense_output_of_runge_kutta_is_differentiated_in_both_modes():
    """In time, compiled inside of another function and not: the difference quotient."""
    net, data = start(-3.0)
    sol = rf.flow(
        net,
        data,
        10.0,
        integrator=RUNGE_KUTTA,
        rtol=1e-10,
        max_steps=512,
        saveat=diffrax.SaveAt(dense=True),
    )

    def size_at(t):
        return sol.evaluate(t).squared_norm()

    t, h = 2.0, 1e-4
    quotient = (size_at(t + h) - size_at(t - h)) / (2.0 * h)
    for differentiate in (jax.grad, lambda f: jax.jit(jax.jacfwd(f))):
        assert_close(differentiate(size_at)(t), quotient, rtol=1e-7)


@pytest.mark.parametrize("around", [jax.jit, lambda f: f])
def test_the_marker_itself(around):
    """The identity, of which forward mode and vmap know nothing, through loops as well."""
    f = around(lambda x: jnp.sin(forward_mode_only(x, "of this")))
    x = jnp.array([0.3, 0.5])
    np.testing.assert_array_equal(f(x), jax.jit(jnp.sin)(x))
    assert_close(jax.jacfwd(f)(x), np.diag(np.cos(x)), rtol=1e-15)
    assert_close(jax.vmap(jax.jacfwd(f))(x), np.cos(x), rtol=1e-15)
    second = jax.jacfwd(jax.jacfwd(f))(x[0])
    assert_close(second, -np.sin(x[0]), rtol=1e-15)
    looped = around(lambda x: jax.lax.fori_loop(0, 3, lambda _, y: f(y), x))
    assert_close(
        jax.jacfwd(looped)(0.3),
        np.prod([np.cos(0.3), np.cos(np.sin(0.3)), np.cos(np.sin(np.sin(0.3)))]),
        rtol=1e-14,
    )
    for g in (f, looped):
        with pytest.raises(RuntimeError, match="of this"):
            jax.linearize(g, x)
    # Integers have no derivative, and are let through.
    assert int(forward_mode_only(jnp.array(3), "of this")) == 3
