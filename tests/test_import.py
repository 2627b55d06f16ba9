"""`import reluflow` imports what is used, when it is used."""

import ast
from importlib.metadata import version
from pathlib import Path

import pytest
from processes import fresh_python
from tolerance import assert_close

import reluflow as rf

SOURCE = Path(rf.__file__).read_text()
HEAVY = (
    *("jax", "numpy", "scipy", "diffrax", "equinox", "optax", "matplotlib", "xarray", "cvxpy"),
    *("reluflow.analysis", "reluflow.theory", "reluflow.sweep", "reluflow.claims", "reluflow.cli"),
)


def imported(program, cwd):
    """Those of the heavy parts that a program imports."""
    told = f"import sys; print(*[name for name in {HEAVY} if name in sys.modules])"
    return set(fresh_python("-c", f"{program}\n{told}", cwd=cwd).split())


def test_nothing_is_imported_before_it_is_used(tmp_path):
    assert imported("import reluflow", tmp_path) == set()


def test_a_flow_needs_neither_scipy_nor_optax(tmp_path):
    """The control: what is used is imported, and `imported` sees it."""
    needed = {"jax", "numpy", "diffrax", "equinox"}
    assert imported("import reluflow; reluflow.flow", tmp_path) == needed
    assert imported("import reluflow; reluflow.descent", tmp_path) >= {"jax", "optax"}
    assert imported("import reluflow; reluflow.plot", tmp_path) >= {"jax", "matplotlib"}


def seen_by_type_checkers():
    """{name: module, or None for a module}, of the imports that are not run."""
    (block,) = (node for node in ast.parse(SOURCE).body if isinstance(node, ast.If))
    found = {}
    for node in block.body:
        if isinstance(node, ast.ImportFrom):
            found |= {alias.name: node.module for alias in node.names}
    return found


def test_type_checkers_see_what_there_is():
    seen = seen_by_type_checkers()
    assert seen == rf._HOMES | dict.fromkeys(rf._MODULES)
    assert set(seen) <= set(dir(rf))
    for name in seen:
        assert getattr(rf, name) is not None


def test_a_name_that_there_is_not():
    with pytest.raises(AttributeError, match="'reluflow' has no attribute 'flwo'"):
        _ = rf.flwo
    assert not hasattr(rf, "flwo")


def test_the_version_is_that_of_the_package():
    assert rf.__version__ == version("reluflow")


def test_star(tmp_path):
    program = "from reluflow import *; print(flow.__name__, theory.__name__, 'plot' in globals())"
    assert fresh_python("-c", program, cwd=tmp_path).split() == ["flow", "reluflow.theory", "False"]


def test_sweep_is_the_function_whoever_imports_its_package(tmp_path):
    for first in ("from reluflow.sweep import load", "import reluflow.sweep._store", "rf.sweep"):
        program = f"import reluflow as rf; {first}; print(type(rf.sweep).__name__)"
        assert fresh_python("-c", program, cwd=tmp_path) == "function\n"


FIRST_USED_WITHIN_JIT = """
import jax
import reluflow as rf

jax.config.update("jax_enable_x64", True)


@jax.jit
def lost(log_lambda):
    for name in dir(rf):
        getattr(rf, name)
    net = rf.balanced(jax.random.key(0), 3, 2, log_lambda)
    return rf.loss(net, rf.datasets.two_points())


print(lost(-3.0))
net = rf.balanced(jax.random.key(0), 3, 2, -3.0)
for integrator in (rf.Boost(), rf.RungeKutta()):
    sol = rf.flow(net, rf.datasets.two_points(), t1=1e-9, integrator=integrator)
    print(sol.stats["loss_final"])
"""


def test_parts_may_be_imported_while_a_function_is_traced(tmp_path):
    """A constant of a module that was made there would be of that trace, and of no use later."""
    losses = fresh_python("-c", FIRST_USED_WITHIN_JIT, cwd=tmp_path).split()
    assert_close([float(loss) for loss in losses], [float(losses[0])] * 3, rtol=1e-6)
