"""Numbers by a formula, as in t1 = "2 * ln(1/lambda) + 40": read, and never evaluated as code.

lambda may be e^-10000, which no float holds: it is known by its logarithm alone, so that it may
occur as ln(1/lambda) and as ln(lambda), and nowhere else.
"""

import ast
import math
import operator
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax.numpy as jnp

from ._refusals import GridError, unknown

_LONGEST = 200
_LAMBDA = "_lambda"  # the word itself belongs to Python
LOG_LAMBDA = "log_lambda"
_OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
# Of known numbers and of traced ones: what sets a shape must be known.
_FUNCTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any], int]] = {
    "ln": (math.log, jnp.log, 1),
    "exp": (math.exp, jnp.exp, 1),
    "sqrt": (math.sqrt, jnp.sqrt, 1),
    "abs": (abs, jnp.abs, 1),
    "ceil": (math.ceil, jnp.ceil, 1),
    "floor": (math.floor, jnp.floor, 1),
    "min": (min, jnp.minimum, 2),
    "max": (max, jnp.maximum, 2),
}


class Expression:
    """A formula; `names` are those of the numbers that it needs.

    Raises:
        GridError: it is none, or holds other names than `known`.
    """

    def __init__(self, key: str, text: str, known: Collection[str]):
        self.text, self._key = text, key
        names: set[str] = set()
        try:
            if len(text) > _LONGEST:
                raise GridError(f"it is longer than {_LONGEST} characters")
            spelt = re.sub(r"\blambda\b", _LAMBDA, text.strip())
            _look(ast.parse(spelt, mode="eval").body, known, names)
        except (SyntaxError, ValueError, RecursionError) as error:
            why = str(error) if isinstance(error, GridError) else "it is no formula"
            raise GridError(
                f"{key} must be a formula such as '2 * ln(1/lambda) + 40', but {why}: {text!r}"
            ) from None
        self.names = frozenset(names)

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """The number, a float where all values are numbers of Python, and else traced.

        Raises:
            GridError: there is no such number, as with a division by zero.
        """
        spelt = re.sub(r"\blambda\b", _LAMBDA, self.text.strip())
        try:
            return _value(ast.parse(spelt, mode="eval").body, values)
        except (ArithmeticError, ValueError) as error:
            raise GridError(f"{self._key} has no value, {self.text!r}: {error}.") from None

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"


def _sign_of_log(node: ast.AST) -> int:
    """1 for ln(lambda), -1 for ln(1/lambda), 0 for everything else."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        return 0
    if node.func.id != "ln" or len(node.args) != 1 or node.keywords:
        return 0
    inside = node.args[0]
    if _is_lambda(inside):
        return 1
    if not (isinstance(inside, ast.BinOp) and isinstance(inside.op, ast.Div)):
        return 0
    one = isinstance(inside.left, ast.Constant) and inside.left.value == 1
    return -1 if one and _is_lambda(inside.right) else 0


def _is_lambda(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == _LAMBDA


def _look(node: ast.AST, known: Collection[str], names: set[str]) -> None:
    """Collects the names; raises GridError at whatever is not of the language."""
    if _sign_of_log(node):
        if LOG_LAMBDA not in known:
            raise GridError("this start has no lambda")
        names.add(LOG_LAMBDA)
    elif isinstance(node, ast.BinOp | ast.UnaryOp) and type(node.op) in _OPERATORS:
        parts = (node.left, node.right) if isinstance(node, ast.BinOp) else (node.operand,)
        for part in parts:
            _look(part, known, names)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        if node.func.id not in _FUNCTIONS:
            raise GridError(str(unknown("function", node.func.id, _FUNCTIONS)))
        if len(node.args) != _FUNCTIONS[node.func.id][2]:
            raise GridError(f"{node.func.id} takes {_FUNCTIONS[node.func.id][2]} arguments")
        for part in node.args:
            _look(part, known, names)
    elif _is_lambda(node):
        raise GridError("lambda may be used as ln(1/lambda) or ln(lambda) only")
    elif isinstance(node, ast.Name):
        if node.id not in known:
            raise GridError(str(unknown("number", node.id, known)))
        names.add(node.id)
    elif not (isinstance(node, ast.Constant) and type(node.value) in (int, float)):
        raise GridError("it holds something else than numbers, names, + - * / ** and functions")


def _value(node: ast.AST, values: Mapping[str, Any]) -> Any:
    if sign := _sign_of_log(node):
        return sign * _float(values[LOG_LAMBDA])
    if isinstance(node, ast.BinOp):
        return _OPERATORS[type(node.op)](_value(node.left, values), _value(node.right, values))
    if isinstance(node, ast.UnaryOp):
        return _OPERATORS[type(node.op)](_value(node.operand, values))
    if isinstance(node, ast.Name):
        return _float(values[node.id])
    if isinstance(node, ast.Constant):
        return _float(node.value)
    assert isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    known, traced, _ = _FUNCTIONS[node.func.id]
    arguments = [_value(part, values) for part in node.args]
    if all(isinstance(argument, int | float) for argument in arguments):
        return float(known(*arguments))
    return traced(*(jnp.asarray(argument, jnp.float64) for argument in arguments))


def _float(value: Any) -> Any:
    """Integers do not overflow here, and never meet a float."""
    return float(value) if isinstance(value, int | float) else jnp.asarray(value, jnp.float64)
