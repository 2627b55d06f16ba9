"""What is compiled, with which options, and how often it is traced for that."""

import jax
import jax.numpy as jnp
import pytest

import reluflow as rf
from reluflow import _compiling
from reluflow._boost import _event_pass
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


def test_the_event_pass_is_traced_once_for_each_shape(monkeypatch):
    """`jax.vmap` of a loop asks several times what comes of its body, and the loops are nested:
    without a memory the pass is traced seven times."""
    traced = []
    through_step = _event_pass._through_step

    def counted(course, walk, *others):
        traced.append(len(walk.time))
        return through_step(course, walk, *others)

    monkeypatch.setattr(_event_pass, "_through_step", counted)
    data = rf.datasets.two_points()
    nets = [rf.balanced(jax.random.key(seed), 9, 2, -3.0) for seed in range(3)]
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *nets)

    def output(net):
        return rf.flow(net, data, 1.0, throw=False).final.output

    jax.make_jaxpr(jax.vmap(output))(batch)
    assert sorted(traced) == [9, 27]  # one lane, and three
