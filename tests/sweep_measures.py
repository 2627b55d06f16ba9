"""What the tests of `rf.sweep` measure: cheap, and importable by the processes they start."""

import os

import jax
import jax.numpy as jnp
import numpy as np

import reluflow as rf

AXES = {"seed": range(40), "height": [0.5, -1.0, 2.25]}


def quick(point):
    """Three variables, one of which is NaN at some points; a draw, an array and a code."""
    draw = jax.random.normal(point.key("seed"), ())
    low = jnp.where(draw < 0.0, jnp.nan, draw)
    result = rf.RESULTS.where(draw > 1.0, rf.RESULTS.chattering, rf.RESULTS.successful)
    return {
        "total": jnp.exp(draw) + jnp.sin(point.height),
        "pair": jnp.stack([low, point.height * draw]),
        "result": result,
    }


def looped(point):
    """A loop of which every lane has a length of its own, with elementary functions in it."""

    def step(state):
        count, value = state
        return count + 1, jnp.sin(value) + jnp.exp(-value * value) * point.height

    start = jax.random.normal(point.key("seed"), ())
    length = 20 + point.seed * 7 % 50
    count, value = jax.lax.while_loop(lambda state: state[0] < length, step, (0, start))
    return {"count": count, "value": value}


def ends_its_process(point):
    """At seed 13 alone, when it is run."""

    def end(seed):
        if seed == 13:
            os._exit(1)
        return np.zeros(())

    zero = jax.pure_callback(
        end, jax.ShapeDtypeStruct((), float), point.seed, vmap_method="sequential"
    )
    return {"value": zero + point.seed.astype(float)}


def raises(point):
    """An error of the compiled program, at seed 5 alone."""

    def fail(seed):
        if seed == 5:
            raise ValueError("seed 5 is bad")
        return np.asarray(1.0)

    kind = jax.ShapeDtypeStruct((), float)
    return {"a": jax.pure_callback(fail, kind, point.seed, vmap_method="sequential")}
