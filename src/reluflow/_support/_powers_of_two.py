"""Powers of two, from the bits of a float64.

`jax.numpy.frexp` and `ldexp` serve every number there is, in some fifty operations; these serve
the sizes of neurons.
"""

import jax
import jax.numpy as jnp

_MANTISSA, _BIAS, _EXPONENTS = 52, 1023, 0x7FF


def exponent_of(size: jax.Array) -> jax.Array:
    """e, int32, with 2^(e - 1) <= size < 2^e. It is 0 for zero and for what is below 2^-1022, which
    XLA may take for zero, and at most 1022, so that 2^-e is a number.

    size: not negative. What is not finite has an exponent too, which says nothing.
    """
    bits = jax.lax.bitcast_convert_type(jax.lax.stop_gradient(size), jnp.int64)
    stored = ((bits >> _MANTISSA) & _EXPONENTS).astype(jnp.int32)
    return jnp.where(stored > 0, jnp.minimum(stored - (_BIAS - 1), _BIAS - 1), 0)


def power_of_two(exponent: jax.Array) -> jax.Array:
    """2^exponent, exactly, for -1022 <= exponent <= 1023."""
    bits = (exponent.astype(jnp.int64) + _BIAS) << _MANTISSA
    return jax.lax.bitcast_convert_type(bits, jnp.float64)
