"""What XLA is told when it compiles a flow."""

import functools
import threading
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from ._checks import is_concrete
from ._forward_mode import in_reverse_mode

# A flow is hundreds of small loops over short arrays: this is XLA's older way to write their
# kernels, for jax 0.10 and before. From jax 0.11 on there is one way only.
_FASTER = {"xla_cpu_use_fusion_emitters": False}


@functools.cache
def compiler_options() -> dict[str, Any]:
    """What `rf.flow` is compiled with where nothing around it is, for a `jax.jit` of your own:

        jax.jit(run, compiler_options=rf.compiler_options())

    JAX takes them for the outermost function only. On a CPU with jax 0.10 or older they make XLA
    compile a third faster, and what it compiles no slower; elsewhere, and where this XLA does not
    know them (jax 0.11 and later, which compile as fast without), there are none.
    """
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda: 0, compiler_options=_FASTER).lower().compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return _FASTER


def is_outermost() -> bool:
    """Whether nothing around this call is being compiled."""
    # Inside a function that is, nothing is computed that can be looked at.
    return is_concrete(jnp.zeros(()))


def compiled(function: Callable) -> Callable:
    """`eqx.filter_jit`, with these options where nothing around it is compiled: they belong to the
    outermost function, and JAX refuses them in any other."""
    inner, lock = eqx.filter_jit(function), threading.Lock()

    @functools.cache
    def outermost() -> Callable:
        options: Any = {"compiler_options": compiler_options()}  # for jax.jit: Equinox hands it on
        return eqx.filter_jit(function, **options)

    @functools.wraps(function)
    def call(*args):
        # In reverse mode, what is linear in the tangents is compiled into one with the rest.
        if not is_outermost() or in_reverse_mode(args):
            return inner(*args)
        with lock:  # two threads must not have one each, or both compile everything
            jitted = outermost()
        return jitted(*args)

    call.outermost = outermost  # pyright: ignore[reportAttributeAccessIssue]  # for tests
    return call
