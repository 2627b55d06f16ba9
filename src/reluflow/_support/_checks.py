"""Checks of arguments. Each error names the argument, says what it must be and what it is.

Shapes are static, so they are checked even under `jax.jit`; values are checked whenever they
are concrete, that is on every ordinary call, before anything is compiled.
"""

import contextlib
import functools
import os
from collections.abc import Callable

import equinox as eqx
import jax
import jax.core
import jax.numpy as jnp
import numpy as np

_LARGEST_INT = 2**63 - 1  # of JAX's int64


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
    """`value` as a float64 array, or an error that names it.

    What is known is known inside of `jax.jit` too, where JAX would make a traced value of it.
    """
    require_x64()
    known = all(map(is_concrete, jax.tree.leaves(value)))
    with jax.ensure_compile_time_eval() if known else contextlib.nullcontext():
        try:
            if any(isinstance(leaf, str | bytes) for leaf in jax.tree.leaves(value)):
                raise TypeError  # NumPy would take some for the names of types
            array = jnp.asarray(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise TypeError(
                f"Argument `{name}` must be an array of numbers, but it is {shortened(value)}."
            ) from error
        if jnp.issubdtype(array.dtype, jnp.complexfloating):
            raise TypeError(f"Argument `{name}` must be real, but it has dtype {array.dtype}.")
        if not (jnp.issubdtype(array.dtype, jnp.number) or array.dtype == bool):
            raise TypeError(f"Argument `{name}` must be numeric, but it has dtype {array.dtype}.")
        return array.astype(jnp.float64)


def check_ndim(name: str, array: jax.Array | np.ndarray, axes: tuple[str, ...]) -> None:
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


def check_type(name: str, value, kind: type, example: str = "") -> None:
    """Raises TypeError unless value is of that kind."""
    if not isinstance(value, kind):
        module = kind.__module__.split(".")[0].replace("reluflow", "rf")
        such = f", such as {example}" if example else ""
        raise TypeError(
            f"Argument `{name}` must be of type {module}.{kind.__name__}{such}, but it is "
            f"{shortened(value)}."
        )


def shortened(value) -> str:
    """A value as text that fits into a message, with its type."""
    text = repr(value)
    return f"{text} ({type(value).__name__})" if len(text) <= 60 else f"a {type(value).__name__}"


def as_number(name: str, value) -> float:
    """A real number that is known now, as a float; NaN is none."""
    try:
        number = float("nan") if isinstance(value, str | bytes | bool) else float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if np.isnan(number):
        raise TypeError(f"Argument `{name}` must be a number, but it is {shortened(value)}.")
    return number


def check_bool(name: str, value) -> None:
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"Argument `{name}` must be True or False, but it is {shortened(value)}.")


def check_positive_int(name: str, value) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(
            f"Argument `{name}` must be a positive integer, but it is {shortened(value)}."
        )
    if value > _LARGEST_INT:
        raise ValueError(f"Argument `{name}` must be at most {_LARGEST_INT}, but it is {value}.")


def check_key(name: str, key) -> None:
    """Raises unless `key` is one key of `jax.random`, of the new style or the old."""
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        shape = key.shape
    elif isinstance(key, jax.Array | np.ndarray) and key.dtype == np.uint32 and key.ndim > 0:
        shape = key.shape[:-1]
    else:
        raise TypeError(
            f"Argument `{name}` must be a JAX random key, such as jax.random.key(0), but it is "
            f"{shortened(key)}."
        )
    if shape != ():
        raise ValueError(
            f"Argument `{name}` must be a single key, but it is an array of keys of shape {shape}. "
            "Use jax.vmap over them."
        )


def check_memory(name: str, num_bytes: int, what: str) -> None:
    """Raises ValueError where `what` needs more memory than the device has."""
    room = _device_memory()
    if room is not None and num_bytes > room:
        raise ValueError(
            f"Argument `{name}` must be small enough for the memory, but {what} would take "
            f"{num_bytes / 2**30:.4g} GiB, and there are {room / 2**30:.4g} GiB."
        )


@functools.cache
def _device_memory() -> int | None:
    """In bytes, if it can be known: of an accelerator what it may use, of a CPU all there is."""
    try:
        limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
        return limit or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError, jax.errors.JaxRuntimeError):
        return None


class Checks:
    """Checks of values: made at once where they are concrete, otherwise by the compiled program."""

    def __init__(self):
        self._later: list[tuple[jax.Array, str]] = []

    def require(self, must: str, condition: Callable, values: tuple, was: str) -> None:
        """Raises ValueError unless condition(*values), which may use operators and no more.

        The message is '{must}, but {was}.' with `was` formatted by the values.
        """
        if all(map(is_concrete, values)):
            known = [np.asarray(value) for value in values]
            if not np.all(condition(*known)):
                shown = [np.array2string(v, threshold=8) if v.ndim else str(v) for v in known]
                raise ValueError(f"{must}, but {was.format(*shown)}.")
        else:
            self._later.append((~jnp.all(condition(*values)), f"{must}, but it is not."))

    def raised(self, tree):
        """`tree`, an error of which is one of the checks that could not be made before."""
        for broken, message in self._later:
            tree = eqx.error_if(tree, broken, message)
        return tree

    def broken(self) -> jax.Array | None:
        """Whether such a check fails; None where all were made before."""
        return jnp.any(jnp.stack([b for b, _ in self._later])) if self._later else None


def as_scalar(name: str, value, checks: Checks, finite: bool = True) -> jax.Array:
    """`value` as a float64 scalar, finite where asked."""
    array = as_float64(name, value)
    if array.ndim != 0:
        raise ValueError(f"Argument `{name}` must be a scalar, but it has shape {array.shape}.")
    if finite:
        checks.require(
            f"Argument `{name}` must be finite", lambda x: abs(x) < np.inf, (array,), "it is {}"
        )
    return array
