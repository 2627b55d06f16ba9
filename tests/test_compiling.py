"""Compiler options belong to the outermost function that is compiled."""

import jax
import jax.numpy as jnp
import pytest

from reluflow import _compiling
from reluflow._compiling import compiled, compiler_options

calls = []


@compiled
def twice(x):
    calls.append(x)
    return 2.0 * x


@pytest.mark.parametrize(
    "around",
    [
        lambda f: f,
        jax.jit,
        jax.vmap,
        lambda f: jax.jit(jax.vmap(f)),
        lambda f: jax.vmap(jax.jit(f)),
        lambda f: jax.jit(lambda x: x + f(jnp.ones(3)) - 2.0 + x),  # of constants
        lambda f: lambda x: jax.lax.map(f, x),
        lambda f: lambda x: jax.jvp(f, (x,), (x,))[1],
    ],
)
def test_wherever_it_is_called(around):
    x = jnp.arange(3.0)
    assert jnp.array_equal(around(twice)(x), 2.0 * x)


def test_it_is_compiled_once_a_shape():
    calls.clear()
    for _ in range(3):
        twice(jnp.ones(7))
    assert len(calls) == 1


def test_an_option_that_this_xla_does_not_know_is_left_out(monkeypatch):
    known = {"xla_cpu_enable_fast_math": False}  # the control: by every XLA
    for given, left in ((known, known), ({"xla_no_such_option": True}, {})):
        monkeypatch.setattr(_compiling, "_FASTER", given)
        compiler_options.cache_clear()
        try:
            assert compiler_options() == left
        finally:
            compiler_options.cache_clear()
