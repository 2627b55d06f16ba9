"""What the README shows is run as it stands there."""

import re
from pathlib import Path

import pytest
from processes import fresh_python

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_the_python_example(tmp_path):
    printed = fresh_python("-c", EXAMPLES[0], cwd=tmp_path)  # it must enable float64 by itself
    assert "Solution: successful" in printed
    loss, squared_norm = map(float, printed.split("\n")[-2].split())
    assert loss < 1e-10
    minimum = 2.0 * (5.0**-0.5 + 1.25**-0.5)
    assert abs(squared_norm / minimum - 1.0) < 1e-5


@pytest.mark.slow  # compiles four flows, each of which has tests of its own
def test_other_inputs_activations_and_losses(tmp_path):
    lines = EXAMPLES[0].split("data =")[0], "import jax.numpy as jnp", EXAMPLES[2]
    printed = fresh_python("-c", "\n".join(lines), cwd=tmp_path)
    fitted, margin, leaky, own = printed.split("\n")[-5:-1]
    named, squared_norm = fitted.rsplit(" ", 1)
    assert named == "{0: [0, 3], 1: [1, 2]}"
    assert abs(float(squared_norm) / (4.0 * 2.0**0.5) - 1.0) < 1e-6
    assert 0.99 < float(margin) * 4.0 * 2.0**0.5 <= 1.0
    assert float(leaky) < 1e-15 and 0.0 <= float(own) < 1e-4


@pytest.mark.slow  # compiles two flows, one of them of many lanes
def test_the_sweep(tmp_path):
    flow, sweep, _ = EXAMPLES
    shown = "print(dict(ds.sizes), float(ds.norm.min()), set(ds.status.values.ravel().tolist()))"
    printed = fresh_python("-c", "\n".join([flow, sweep, shown]), cwd=tmp_path)
    sizes, norm, status = re.findall(r"(\{.*?\}) (\S+) (\{.*\})", printed.split("\n")[-2])[0]
    assert sizes == "{'seed': 4, 'log_lambda': 2, 'neurons': 2}" and status == "{0}"
    assert float(norm) > 0.0 and (tmp_path / "norms.zarr" / "zarr.json").exists()


def test_the_picture_and_the_tree_exist():
    (picture,) = re.findall(r"!\[.*?\]\((.*?)\)", README)
    assert (ROOT / picture).read_bytes().startswith(b"\x89PNG")
    tree = README.split("## What is where")[1]
    for name in re.findall(r"\b(_?\w+\.py)\b", tree):
        assert list((ROOT / "src" / "reluflow").rglob(name)), name
    for name in re.findall(r"\b(\w+)/", tree.split("src/reluflow/")[1]):
        assert (ROOT / name).is_dir() or (ROOT / "src" / "reluflow" / name).is_dir(), name
