"""The axes of a grid: their names, their values, and what sets a shape."""

import dataclasses
import hashlib
import keyword
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .._checks import shortened
from .._initialisation import LARGEST_LOG_LAMBDA, SMALLEST_LOG_LAMBDA

_RESERVED = ("key", "status")
_EXACT = 2**53  # integers up to here are floats as well


@dataclasses.dataclass(frozen=True)
class Axis:
    """Values of one kind: 'int' (int64), 'float' (float64), 'bool' or 'text'.

    An axis that is static sets a shape, or whatever a compiled program cannot take as an input:
    every value of it has a program of its own. A text always does.
    """

    name: str
    values: np.ndarray
    static: bool

    @property
    def kind(self) -> str:
        return {"i": "int", "f": "float", "b": "bool", "U": "text"}[self.values.dtype.kind]

    def words(self) -> np.ndarray:
        """What tells the values apart in a random key: uint32 (values, 2), equal where they are.

        1 and 1.0 are equal, so that an axis of integers may be extended by a fraction.
        """
        if self.kind == "text":
            return np.array([text_words(str(value)) for value in self.values], np.uint32)
        # (0.0 is added because -0.0 is equal to 0.0, and has other bits.)
        number = self.values.astype(np.float64) + 0.0
        return number.view(np.uint64)[:, None].astype("<u8").view("<u4").astype(np.uint32)

    def value(self, position: int) -> Any:
        """One value, of Python."""
        return self.values[position].item()

    def find(self, values: np.ndarray) -> np.ndarray:
        """Where in this axis these values are; -1 for those that are not."""
        order = np.argsort(self.values, kind="stable")
        place = np.searchsorted(self.values, values, sorter=order).clip(max=len(order) - 1)
        found = order[place] if len(order) else np.zeros(len(values), int)
        return np.where(self.values[found] == values, found, -1)

    def extended(self, other: "Axis") -> "Axis":
        """With the values of another axis behind those of this one."""
        new = other.values[self.find(other.values) < 0]
        return dataclasses.replace(self, values=np.concatenate([self.values, new]))


def text_words(text: str) -> np.ndarray:
    """Two words for a text, which differ from those of any other."""
    return np.frombuffer(hashlib.sha256(text.encode()).digest()[:8], "<u4").astype(np.uint32)


def can_follow_a_dot(name: Any) -> bool:
    """As `lambda` cannot, nor a letter that Python reads as another one."""
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        return False
    return unicodedata.normalize("NFKC", name) == name


def read_axes(axes: Mapping[str, Iterable], static: Iterable[str]) -> tuple[Axis, ...]:
    """The axes as they were given, checked; raises ValueError or TypeError, which name them."""
    if not isinstance(axes, Mapping) or not axes:
        raise TypeError(
            "Argument `axes` must be a dict from names to values, with one axis at least, but it "
            f"is {shortened(axes)}."
        )
    static = (static,) if isinstance(static, str) else tuple(static)
    for name in static:
        if name not in axes:
            raise ValueError(
                f"Argument `static` must hold names of axes ({', '.join(axes)}), but it holds "
                f"{name!r}."
            )
    return tuple(_axis(name, values, name in static) for name, values in axes.items())


def _axis(name: Any, values: Any, static: bool) -> Axis:
    if not can_follow_a_dot(name) or name.startswith("_"):
        raise ValueError(
            "Argument `axes` must have names that can follow `point.`, but it has the name "
            f"{name!r}" + (", a word of Python." if keyword.iskeyword(name) else ".")
        )
    if name in _RESERVED:
        raise ValueError(
            f"Argument `axes` must have no axis of the name {name!r}, which `rf.sweep` uses itself."
        )
    array = _array(name, values)
    kind = array.dtype.kind
    if kind == "f" and np.isnan(array).any():
        raise ValueError(f"Argument `axes[{name!r}]` must hold no NaN, but it does.")
    ordered, counts = np.unique(array, return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"Argument `axes[{name!r}]` must hold every value once, but "
            f"{ordered[np.argmax(counts)].item()!r} occurs {counts.max()} times."
        )
    if name == "log_lambda":
        _check_log_lambda(array)
    return Axis(name, array, static or kind == "U")


def _array(name: str, values: Any) -> np.ndarray:
    """One-dimensional, of int64, float64, bool or texts."""
    if isinstance(values, str | bytes | Mapping):
        values = None
    try:
        given = np.asarray(values) if hasattr(values, "__array__") else list(values)  # type: ignore
        array = np.asarray(given)
    except (TypeError, ValueError):
        given, array = [], np.asarray(None)
    # (NumPy makes texts of mixed values, and numbers of booleans among them.)
    kinds = {np.asarray(value).dtype.kind for value in given} if isinstance(given, list) else set()
    mixed = len(kinds) > 1 and not kinds <= set("iuf")
    if array.ndim != 1 or (array.size and (mixed or array.dtype.kind not in "iufbU")):
        raise TypeError(
            f"Argument `axes[{name!r}]` must be a sequence of numbers, or of texts, but it is "
            f"{shortened(values)}."
        )
    if array.size == 0:
        raise ValueError(f"Argument `axes[{name!r}]` must hold a value at least, but it is empty.")
    kind = array.dtype.kind
    # (Before they are int64, which wraps round; and its least integer is its own magnitude.)
    large = (array > _EXACT) | (array < -_EXACT) if kind in "iu" else np.zeros(1, bool)
    if large.any():
        raise ValueError(
            f"Argument `axes[{name!r}]` must hold integers of at most 2^53, which are floats as "
            f"well, but it holds {array[np.argmax(large)]}."
        )
    return array.astype({"i": np.int64, "u": np.int64, "f": np.float64}.get(kind, array.dtype))


def _check_log_lambda(values: np.ndarray) -> None:
    """The library's own word has the range that `rf.balanced` has, which cannot look at it."""
    numbers = values.dtype.kind in "if"
    bad = ~((values >= SMALLEST_LOG_LAMBDA) & (values <= LARGEST_LOG_LAMBDA)) if numbers else True
    if np.any(bad):
        raise ValueError(
            f"Argument `axes['log_lambda']` must lie in [{SMALLEST_LOG_LAMBDA:g}, "
            f"{LARGEST_LOG_LAMBDA}], the logarithm of a positive lambda, but it holds "
            f"{values[np.argmax(bad)]} (the logarithm of 0 is -inf)."
        )
