"""What can be differentiated in forward mode only, refused before it is traced."""

import equinox as eqx
import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.interpreters import partial_eval as pe

from ._checks import is_concrete

# The identity. JAX differentiates in reverse mode (jax.grad, jax.vjp, jax.linearize) by running
# the rule of forward mode with tangents that are unknown, which makes them `JaxprTracer`s. That is
# seen here, where the arguments come in. `equinox.internal.nondifferentiable_backward` refuses in
# the transposition, which comes last: after the derivative of the whole loop has been traced, or,
# where that is not compiled inside of another function, after an error of another kind. It stays
# the one to refuse inside of a jax.lax.while_loop around a flow, where JAX takes the derivative
# before it knows what is unknown.


class ReverseModeError(RuntimeError):
    """Raised where something that has no derivative in reverse mode is asked for it."""


_forward_mode_only_p = Primitive("forward_mode_only")


def _same(x, *, message):
    return x


def _batched(args, axes, *, message):
    return _forward_mode_only_p.bind(*args, message=message), axes[0]


def _pushed_forward(primals, tangents, *, message):
    (x,), (tangent,) = primals, tangents
    if isinstance(tangent, ad.Zero):
        return _forward_mode_only_p.bind(x, message=message), tangent
    if isinstance(tangent, pe.JaxprTracer):
        raise ReverseModeError(message)
    bind = _forward_mode_only_p.bind
    return bind(x, message=message), bind(tangent, message=message)


_forward_mode_only_p.def_impl(_same)
_forward_mode_only_p.def_abstract_eval(_same)
ad.primitive_jvps[_forward_mode_only_p] = _pushed_forward
batching.primitive_batchers[_forward_mode_only_p] = _batched
mlir.register_lowering(_forward_mode_only_p, mlir.lower_fun(_same, multiple_results=False))


def forward_mode_only(tree, message: str):
    """`tree`, of which jax.grad, jax.vjp and jax.linearize raise a `ReverseModeError`."""
    dynamic, static = eqx.partition(tree, eqx.is_inexact_array)
    bind = lambda leaf: _forward_mode_only_p.bind(leaf, message=message)  # noqa: E731
    return eqx.combine(jax.tree.map(bind, dynamic), static)


def in_reverse_mode(tree) -> bool:
    """Whether jax.grad, jax.vjp or jax.linearize is at work on `tree`, as far as can be seen."""
    tracers = [leaf for leaf in jax.tree.leaves(tree) if not is_concrete(leaf)]
    try:
        forward_mode_only(tracers, "")
    except ReverseModeError:
        return True
    return False
