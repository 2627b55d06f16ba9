"""Neurons held on a line, which may shrink for ever.

A neuron that slides along all but one of the independent boundaries, or whose inputs have one
dimension, keeps w on a line through 0. With D_u = <D, w> / |w|,

    (a + |w|)' = D_u (a + |w|),      (a - |w|)' = -D_u (a - |w|),

so that both are known exactly, also where a and |w| shrink together: there the boost of
`_propagator` would be a difference of two numbers that grow, and after 18 e-foldings nothing but
rounding. The smaller of the two follows from their product, a^2 - |w|^2, which is conserved; where
that is 0 the neuron, of equal sizes, only changes its scale.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from ._basis import Basis
from ._generator import Generator
from ._moving_neurons import MovingNeurons
from ._propagator import Propagation, Reduced, legendre, propagate
from ._small import total

# Where a is much larger than |w|, or smaller, nothing cancels, and w may pass through 0.
_COMPARABLE = 10.0


def on_line(generator: Generator, moving: MovingNeurons) -> Bool[Array, " neurons"] | None:
    """Which neurons are to be moved along a line; None where none can be."""
    dim, slots = generator.arrangement.normals.shape[1], moving.pattern.slots
    if slots.shape[1] < dim - 1:
        return None
    held = jnp.sum(slots < generator.boundaries, axis=1) == dim - 1
    output, hidden = jnp.abs(moving.reduced.output), _hidden(moving.reduced)
    near = (output < _COMPARABLE * hidden) & (hidden < _COMPARABLE * output)
    return near & (held if dim > 1 else True)


def propagated(generator: Generator, moving: MovingNeurons, basis: Basis, end) -> Propagation:
    """The neurons from where they are to s = end, along a line where they are held on one."""
    found = propagate(moving.reduced, basis, moving.time, end, generator.length)
    line = on_line(generator, moving)
    if line is None:
        return found
    passed = integrated(end) - integrated(moving.time)
    return propagated_on_line(found, line, moving.reduced, basis, passed, generator.length)


def integrated(s) -> Array:
    """The integrals of the Legendre polynomials from 0 to s, shape (modes, *s.shape)."""
    values = legendre(s)
    degree = jnp.arange(values.shape[0], dtype=jnp.float64).reshape(-1, *(1,) * jnp.ndim(s))
    above = legendre(s, values.shape[0] + 1)[1:]
    below = jnp.concatenate([jnp.ones_like(values[:1]), values[:-1]])
    first = jnp.concatenate([2.0 * s[None], jnp.zeros_like(values[1:])])
    return jnp.where(degree > 0.0, (above - below) / (2.0 * (2.0 * degree + 1.0)), first / 2.0)


def propagated_on_line(
    propagation: Propagation, which, start: Reduced, basis: Basis, modal, length
) -> Propagation:
    """The move, where it is one along a line.

    modal: of the Legendre polynomials, integrated over the move, of shape (..., modes, neurons),
        as has every leaf of the move but for the modes.
    """
    if which is None:
        return propagation
    hidden = _hidden(start)
    along = total(basis.weights(modal) * start.overlap, -2)
    rapidity = length * along / jnp.where(which, hidden, 1.0)
    plus, minus = start.output + hidden, start.output - hidden
    grows = start.output > 0.0
    plus, minus = (
        jnp.where(grows, plus, start.balance / jnp.where(grows, 1.0, minus)),
        jnp.where(grows, start.balance / jnp.where(grows, plus, 1.0), minus),
    )
    only_plus, only_minus = minus == 0.0, plus == 0.0
    growth = jnp.where(only_plus, rapidity, jnp.where(only_minus, -rapidity, jnp.abs(rapidity)))
    plus = plus * jnp.where(only_minus, 0.0, jnp.exp(rapidity - growth))
    minus = minus * jnp.where(only_plus, 0.0, jnp.exp(-rapidity - growth))
    kept = (plus - minus) / jnp.where(which, 2.0 * hidden, 1.0)
    balance = jnp.where(start.balance == 0.0, 0.0, start.balance * jnp.exp(-2.0 * growth))
    end = Reduced((plus + minus) / 2.0, kept[..., None, :] * start.overlap, balance)
    nothing = jnp.zeros_like(propagation.gained)
    line = Propagation(end, kept, nothing, growth, jnp.zeros_like(propagation.exponent))
    return jax.tree.map(lambda a, b: jnp.where(which, a, b), line, propagation)


def _hidden(reduced: Reduced):
    return jnp.sqrt(jnp.maximum(reduced.output**2 - reduced.balance, 0.0))
