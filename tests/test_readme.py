"""What the README shows is run as it stands there."""

import re
from pathlib import Path

from processes import fresh_python

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_python_example(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    printed = fresh_python("-c", code, cwd=tmp_path)  # it must enable float64 by itself
    assert "Solution: successful" in printed
    loss, squared_norm = map(float, printed.split("\n")[-2].split())
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
