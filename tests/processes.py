"""What is run in a process of its own."""

import os
import subprocess
import sys

# As in pyproject.toml: of the cache that tests share.
_BEING_WRITTEN = "ignore:Error reading persistent compilation cache entry"


def fresh_python(*arguments, cwd):
    """What a new Python prints, in which warnings are errors and nobody has enabled float64."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", _BEING_WRITTEN, *arguments],
        cwd=cwd,
        env={k: v for k, v in os.environ.items() if k != "JAX_ENABLE_X64"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
