"""The values of an axis in a file: a list, or a range such as {from = 1, to = 100, number = 5}."""

import decimal
from typing import Any

import numpy as np

from ..._support._checks import shortened
from ._refusals import GridError, check_keys, chosen, number, positive_integer

_KEYS = ("from", "to", "number", "step", "spacing")
_SPACINGS = ("even", "log")
INTEGERS = ("seed", "neurons", "samples", "dim")
TEXTS = ("start", "file", "integrator")
_MOST = 10_000_000


def values_of(name: str, given: Any) -> list[Any]:
    """The values of one axis.

    Raises:
        GridError: they are of another kind than this axis has, or no range.
    """
    key = f"axes.{name}"
    values = given if isinstance(given, list) else _range(key, name, given)
    if not values:
        raise GridError(f"{key} must hold a value at least, but it is empty.")
    kinds = {"integer": (int,), "text": (str,), "number": (int, float)}
    kind = "integer" if name in INTEGERS else "text" if name in TEXTS else "number"
    for value in values:
        if isinstance(value, bool) or not isinstance(value, kinds[kind]):
            raise GridError(f"{key} must hold {kind}s, but it holds {shortened(value)}.")
    least = 0 if name == "seed" else 1
    if kind == "integer" and min(values) < least:
        raise GridError(f"{key} must hold integers from {least} on, but it holds {min(values)}.")
    return [float(value) for value in values] if kind == "number" else values


def _range(key: str, name: str, given: Any) -> list[Any]:
    if not isinstance(given, dict) or name in TEXTS:
        raise GridError(
            f"{key} must be a list, or a range such as {{from = 1, to = 100, number = 5}}, but it "
            f"is {shortened(given)}."
        )
    check_keys(key, given, _KEYS)
    spacing = chosen(f"spacing in [{key}] called", given.get("spacing", "even"), _SPACINGS)
    first = number(f"{key}.from", given.get("from", 0 if name == "seed" else None))
    if "to" not in given and name == "seed" and "number" in given:
        count = positive_integer(f"{key}.number", given["number"])
        return list(range(int(first), int(first) + count))
    last = number(f"{key}.to", given.get("to"))
    if ("step" in given) == ("number" in given):
        raise GridError(f"{key} must have one of `step` and `number`.")
    if "step" in given:
        values = _stepped(key, first, last, number(f"{key}.step", given["step"]))
    else:
        values = _spaced(
            key, first, last, positive_integer(f"{key}.number", given["number"]), spacing
        )
    if name in INTEGERS:
        return [int(value) for value in np.unique(np.rint(values))]
    return [float(value) for value in values]


def _stepped(key: str, first: float, last: float, step: float) -> np.ndarray:
    """Up to and with the last one, where it is hit to rounding."""
    count = (last - first) / step if step else -1.0
    if not 0.0 <= count < _MOST:
        raise GridError(f"{key} must lead from {first:g} to {last:g}, but its step is {step:g}.")
    return first + step * np.arange(int(count + 1e-9) + 1)


def _spaced(key: str, first: float, last: float, count: int, spacing: str) -> np.ndarray:
    if count > _MOST:
        raise GridError(f"{key}.number must be at most {_MOST}, but it is {count}.")
    if spacing == "even":
        return np.linspace(first, last, count)
    if first * last <= 0.0:
        raise GridError(
            f"{key} must have ends of one sign to be spaced by their logarithms, but they are "
            f"{first:g} and {last:g}."
        )
    return np.geomspace(first, last, count)


def log_of_scale(key: str, value: Any) -> float:
    """ln of a positive number of any size, which a text such as "1e-1000" may hold."""
    try:
        exact = decimal.Decimal(str(value))
        if isinstance(value, bool) or not (exact.is_finite() and exact > 0):
            raise decimal.InvalidOperation
    except decimal.InvalidOperation:
        raise GridError(
            f"{key} must hold positive numbers, or texts such as '1e-1000', but it holds "
            f"{shortened(value)}."
        ) from None
    with decimal.localcontext() as context:
        context.prec = 30
        return float(exact.ln())
