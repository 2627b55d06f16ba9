"""What the README shows is run as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_python_example(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    # Without the variable, so that the example must enable float64 by itself.
    environment = {k: v for k, v in os.environ.items() if k != "JAX_ENABLE_X64"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Solution: successful" in done.stdout
    loss, squared_norm = map(float, done.stdout.split("\n")[-2].split())
    assert loss < 1e-10
    minimum = 2.0 * (5.0**-0.5 + 1.25**-0.5)
    assert abs(squared_norm / minimum - 1.0) < 1e-5


def test_the_picture_and_the_tree_exist():
    (picture,) = re.findall(r"!\[.*?\]\((.*?)\)", README)
    assert (ROOT / picture).read_bytes().startswith(b"\x89PNG")
    tree = README.split("## What is where")[1]
    for name in re.findall(r"\b(_?\w+\.py)\b", tree):
        assert list((ROOT / "src" / "reluflow").rglob(name)), name
    for name in re.findall(r"\b(\w+)/", tree.split("src/reluflow/")[1]):
        assert (ROOT / name).is_dir() or (ROOT / "src" / "reluflow" / name).is_dir(), name
