"""The packages of the core are layers: each imports from itself and from those before it alone."""

import ast
from pathlib import Path

import reluflow

ROOT = Path(reluflow.__file__).parent
LAYERS = ["_support", "_model", "_dynamics", "_events", "_integration", "_runge_kutta", "_boost"]


def upward(layers):
    """(file, package) of every relative import of the core that no layer before it has."""
    found = []
    for place, layer in enumerate(layers):
        for file in (ROOT / layer).rglob("*.py"):
            inside = file.relative_to(ROOT).parts[:-1]
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.ImportFrom) and node.level:
                    base = inside[: len(inside) + 1 - node.level]
                    names = (node.module or node.names[0].name).split(".")
                    room = [*base, *names][0]
                    if room not in layers[: place + 1]:
                        found.append((str(file.relative_to(ROOT)), room))
    return found


def test_imports_point_down():
    assert upward(LAYERS) == []


def test_control():
    assert upward(LAYERS[::-1])
