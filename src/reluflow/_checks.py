"""Checks of arguments. Each error names the argument, says what it must be and what it is.

Shapes are static, so they are checked even under `jax.jit`; values are checked whenever they
are concrete, that is on every ordinary call, before anything is compiled.
"""

import jax
import jax.core
import jax.numpy as jnp
import numpy as np


def require_x64() -> None:
    """Raises unless float64 is enabled: events to 1e-10 need it, and we never switch it on."""
    # (JAX makes the attributes of its configuration as it runs.)
    if not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        raise RuntimeError(
            "reluflow computes in float64, but JAX has it disabled. Put "
            '`jax.config.update("jax_enable_x64", True)` at the top of your program, '
            "or set the environment variable JAX_ENABLE_X64=1."
        )


def is_concrete(value) -> bool:
    """Whether `value` can be looked at now, rather than only when a compiled program runs."""
    return not isinstance(value, jax.core.Tracer)


def as_float64(name: str, value) -> jax.Array:
    """`value` as a float64 array, or an error that names it."""
    require_x64()
    try:
        array = jnp.asarray(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"Argument `{name}` must be an array of numbers, but {error}") from error
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(f"Argument `{name}` must be real, but it has dtype {array.dtype}.")
    if not (jnp.issubdtype(array.dtype, jnp.number) or array.dtype == bool):
        raise TypeError(f"Argument `{name}` must be numeric, but it has dtype {array.dtype}.")
    return array.astype(jnp.float64)


def check_ndim(name: str, array: jax.Array, axes: tuple[str, ...]) -> None:
    if array.ndim != len(axes):
        shape = ", ".join(axes)
        raise ValueError(
            f"Argument `{name}` must have shape ({shape}), but it has shape {array.shape}."
        )


def check_finite(name: str, array: jax.Array) -> None:
    if is_concrete(array):
        bad = np.argwhere(~np.isfinite(np.asarray(array)))
        if len(bad):
            where = ", ".join(map(str, bad[0]))
            raise ValueError(
                f"Argument `{name}` must be finite, but {name}[{where}] is "
                f"{np.asarray(array)[tuple(bad[0])]} ({len(bad)} such entries)."
            )


def check_positive_int(name: str, value) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"Argument `{name}` must be a positive integer, but it is {value!r}.")
