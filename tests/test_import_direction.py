"""The claims measure the library: nothing of it knows them, but for the command line."""

import ast
import sys
from pathlib import Path

from processes import fresh_python

import reluflow

PACKAGE = Path(reluflow.__file__).parent


def imported(path):
    """The modules that a file of the package imports, as 'reluflow.part.module.name'."""
    package = ("reluflow", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def knows_claims(path):
    return any(f"{name}.".startswith("reluflow.claims.") for name in imported(path))


def test_only_the_command_line_knows_the_claims():
    knowing = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if knows_claims(path)}
    # The control is that these are found.
    assert {path.parts[0] for path in knowing} == {"claims", "cli"}


def test_the_scan_sees_every_way_to_import_them(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    (tmp_path / "analysis").mkdir()
    path = tmp_path / "analysis" / "_some.py"
    for line, seen in (
        ("from ..claims import check", True),
        ("from .. import claims", True),
        ("from ..claims._claim import Claim", True),
        ("import reluflow.claims", True),
        ("from reluflow import claims as c", True),
        ("def f():\n    from reluflow.claims import check", True),
        ("from .. import theory", False),
        ("from .claims import other", False),
        ("import reluflow.claimsman", False),
    ):
        path.write_text(line + "\n")
        assert knows_claims(path) is seen, line


def test_importing_the_library_imports_no_claims():
    code = (
        "import sys, reluflow, reluflow.analysis, reluflow.theory, reluflow.sweep, reluflow.plot\n"
        "print('reluflow.claims' in sys.modules)\n"
        "import reluflow.claims\n"
        "print('reluflow.claims' in sys.modules)"
    )
    assert fresh_python("-c", code, cwd=PACKAGE.parent).split() == ["False", "True"]
