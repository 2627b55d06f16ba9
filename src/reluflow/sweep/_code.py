"""What `measure` is made of, so that a store can tell that it has changed."""

import functools
import hashlib
import importlib.metadata
import inspect
import types
from typing import Any

import jax
import numpy as np

from .._support._checks import is_concrete

_DEPTH = 4  # functions that are called by functions


def code_of(measure: Any) -> str:
    """A digest of a function's code and of the plain values and functions that it refers to.

    Comments, names of local variables and line numbers do not count. Of another library's
    functions only the names do: the versions are recorded apart from this.
    """
    digest = _Digest()
    _add(digest, measure, _DEPTH)
    return digest.sha.hexdigest()[:16]


class _Digest:
    """And the lists and dicts that it is in the middle of, which may hold themselves."""

    def __init__(self):
        self.sha, self.inside = hashlib.sha256(), set()

    def update(self, data: bytes) -> None:
        self.sha.update(data)


def _add(digest: _Digest, value: Any, depth: int) -> None:
    if id(value) in digest.inside:
        return
    if isinstance(value, list | dict):
        digest.inside.add(id(value))
    _add_value(digest, value, depth)
    digest.inside.discard(id(value))


def _add_value(digest: _Digest, value: Any, depth: int) -> None:
    digest.update(type(value).__name__.encode())
    if isinstance(value, types.ModuleType):  # what it has imported by now does not count
        digest.update(value.__name__.encode())
        return
    if isinstance(value, functools.partial):
        value = (value.func, value.args, sorted(value.keywords.items()))
    if isinstance(value, types.MethodType):
        value = (value.__func__, getattr(value.__self__, "__dict__", None))
    wrapped = inspect.unwrap(value) if callable(value) else value
    if isinstance(wrapped, types.FunctionType):
        if depth > 0:
            _add_function(digest, wrapped, depth - 1)
    elif isinstance(value, bool | int | float | complex | str | bytes | None):
        digest.update(repr(value).encode())
    elif isinstance(value, np.ndarray | np.generic | jax.Array):
        if is_concrete(value) and not _is_key(value):
            digest.update(repr((value.shape, str(value.dtype))).encode())
            digest.update(np.asarray(value).tobytes())
    elif isinstance(value, list | tuple | set | frozenset):
        for each in sorted(value, key=repr) if isinstance(value, set | frozenset) else value:
            _add(digest, each, depth)
    elif isinstance(value, dict):
        for name, each in value.items():
            _add(digest, name, depth)
            _add(digest, each, depth)
    elif isinstance(value, types.CodeType):
        _add_code(digest, value, depth)
    elif isinstance(value, type) or not hasattr(value, "__dict__"):
        digest.update(getattr(value, "__qualname__", "").encode())
    elif jax.tree_util.all_leaves([value]):  # an object of a class of the user's
        if depth > 0:
            _add(digest, vars(type(value)).get("__call__"), depth - 1)
            _add(digest, vars(value), depth - 1)
    else:  # a module of Equinox, say a data set
        for leaf in jax.tree.leaves(value):
            _add(digest, leaf, depth)


def _add_function(digest: _Digest, function: types.FunctionType, depth: int) -> None:
    _add_code(digest, function.__code__, depth)
    _add(digest, function.__defaults__, depth)
    for cell in function.__closure__ or ():
        try:
            contents = cell.cell_contents
        except ValueError:  # of a variable that is not set yet
            continue
        _add(digest, contents, depth)
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, types.FunctionType) and value.__module__ != function.__module__:
            continue  # of a library
        if not isinstance(value, types.ModuleType):
            _add(digest, value, depth)


def _add_code(digest: _Digest, code: types.CodeType, depth: int) -> None:
    digest.update(code.co_code + repr(code.co_names).encode())
    for constant in code.co_consts:
        _add(digest, constant, depth)


def _is_key(value: Any) -> bool:
    return isinstance(value, jax.Array) and jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key)


def versions(devices) -> dict[str, Any]:
    """What a difference of which moves the last bits."""
    found: dict[str, Any] = {}
    for name in ("reluflow", "jax", "jaxlib", "numpy"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found | {"device": str(devices[0].device_kind)}
