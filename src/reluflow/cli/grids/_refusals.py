"""What is wrong with a file, in the words of its author: which key, and what was probably meant."""

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from ..._support._checks import shortened


class GridError(ValueError):
    """A grid cannot be read; the message names the key."""


def where(table: str, key: str) -> str:
    return f"{table}.{key}" if table else key


def unknown(what: str, name: str, known: Collection[str]) -> GridError:
    """Refuses a name, with the nearest of those that there are, and with all of them."""
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    return GridError(f"There is no {what} {name!r}.{meant} There are: {', '.join(known)}.")


def check_keys(table: str, given: Mapping[str, Any], known: Collection[str]) -> None:
    what = f"key in [{table}] called" if table else "key at the top of the file called"
    for name in given:
        if name not in known:
            raise unknown(what, name, known)


def chosen(what: str, value: Any, known: Collection[str]) -> str:
    """One of the names that there are."""
    if not isinstance(value, str) or value not in known:
        raise unknown(what, value if isinstance(value, str) else shortened(value), known)
    return value


def table_of(given: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = given.get(name, {})
    if not isinstance(value, dict):
        raise GridError(f"{name} must be a table, [{name}], but it is {shortened(value)}.")
    return value


def names_of(given: Mapping[str, Any], name: str, what: str) -> tuple[str, ...]:
    """A list of texts, which may be left out."""
    value = given.get(name, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise GridError(f"{name} must be a list of {what}, but it is {shortened(value)}.")
    return tuple(value)


def positive_integer(key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise GridError(f"{key} must be a positive integer, but it is {shortened(value)}.")
    return value


def number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise GridError(f"{key} must be a number, but it is {shortened(value)}.")
    return float(value)
