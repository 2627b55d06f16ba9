"""The squared norm that the flow ends with, against n and against m.

    python benchmarks/norms_of_flow.py [--quick] [--only samples|width]

2026 paper, Fig. 5 and Fig. 6: identity data, y ~ N(0, 1), three starts each. `rf.flow` to loss
1e-12, with `rf.Boost` from small starts and `rf.RungeKutta` from those of size 1. Writes
results/norms-of-flow.md, .json and two pictures; see README.md.
"""

import argparse
import json
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from _common import RESULTS, environment
from _norms_report import SMALL, STARTS, WIDE_SAMPLES, draw, text

import reluflow as rf
from reluflow import theory
from reluflow._json import json_text
from reluflow.claims.mild_overparameterisation import width

jax.config.update("jax_enable_x64", True)

SAMPLES = (8, 16, 32, 64, 128)
WIDTHS = (32, 64, 128, 256, 512)
STOP, LATEST, RTOL = 1e-12, 1e9, 1e-7
# ln of the root of sum_j |w_j|^2, the same for every m.
SIZES = dict(zip(SMALL, (-6.0 * float(np.log(10.0)), -1000.0), strict=True))


class End(NamedTuple):
    """Of one flow. limit: what the limit process of this start has; NaN where none applies."""

    squared_norm: float
    limit: float
    loss: float
    time: float
    steps: int
    result: str
    unfittable: int


@eqx.filter_jit
def flow(net: rf.Network, data: rf.Dataset, integrator) -> rf.Solution:
    """One compilation for a shape and an integrator."""
    return rf.flow(
        net,
        data,
        LATEST,
        integrator=integrator,
        rtol=RTOL,
        stop_loss=STOP,
        max_steps=20_000,
        throw=False,
    )


def integrator_for(net: rf.Network):
    """Inputs that are traced are not known to be orthogonal, hence 0.

    Of size 1, every neuron is a large one: each event ends a step of `rf.Boost`, and a step of it
    is the dearer of the two.
    """
    tiny = float(jnp.max(net.log_norm())) < -2.0
    return rf.Boost(max_sliding=0) if tiny else rf.RungeKutta(max_sliding=0)


def labelled(samples: int) -> rf.Dataset:
    return rf.Dataset(jnp.eye(samples), jax.random.normal(jax.random.key(samples), (samples,)))


def small(size: float) -> Callable[[jax.Array, int, int], rf.Network]:
    """Random directions, all |w_j| = |a_j| = e^size / sqrt(m)."""

    def start(key, neurons: int, dim: int) -> rf.Network:
        net = rf.balanced(key, neurons, dim, size - 0.5 * np.log(neurons))
        length = jnp.linalg.norm(net.hidden, axis=1)
        return rf.Network(net.log_scale, net.output / length, net.hidden / length[:, None])

    return start


def torch_default(key, neurons: int, dim: int) -> rf.Network:
    """The bounds 1/sqrt(d), 1/sqrt(m) of linear layers in PyTorch, which the paper names."""
    net = rf.he_uniform(key, neurons, dim)
    return eqx.tree_at(lambda n: n.log_scale, net, net.log_scale - 0.5 * np.log(6.0))


STARTS_SMALL = {name: small(size) for name, size in SIZES.items()}
STARTS_WIDE = {
    **STARTS_SMALL,
    "He, U(+-sqrt(6/d))": rf.he_uniform,
    "PyTorch's, U(+-1/sqrt(d))": torch_default,
}


def run(start, neurons: int, data: rf.Dataset, seed: int) -> End:
    net = start(jax.random.key(1000 + seed), neurons, data.dim)
    sol = flow(net, data, integrator_for(net))
    limit, unfittable = np.nan, 0
    if bool(jnp.all(jnp.abs(net.output) >= jnp.linalg.norm(net.hidden, axis=1) * (1 - 1e-12))):
        process = theory.limit_process(net, data)
        limit, unfittable = float(process.final_squared_norm), int(process.unfittable.sum())
    return End(
        float(sol.final.squared_norm()),
        limit,
        float(sol.stats["loss_final"]),
        float(sol.stats["t_final"]),
        int(sol.stats["num_steps"]),
        rf.RESULTS[sol.result] or "end",
        unfittable,
    )


def sweep(starts: dict, cases: list[tuple[int, rf.Dataset]], size_of) -> list[dict]:
    """A record for each kind of start, case and seed."""
    records = []
    for neurons, data in cases:
        least = float(theory.minimal_squared_norm(data))
        for name, start in starts.items():
            for seed in range(STARTS):
                end = run(start, neurons, data, seed)
                records.append(
                    {
                        "start": name,
                        "size": size_of(neurons, data),
                        "neurons": neurons,
                        "seed": seed,
                        "minimum": least,
                        **end._asdict(),
                    }
                )
            mine = [r["squared_norm"] for r in records[-STARTS:]]
            print(
                f"  {records[-1]['size']}, {name}: {min(mine):.4f} to {max(mine):.4f}, "
                f"minimum {least:.4f}, {records[-1]['steps']} steps",
                flush=True,
            )
    return records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="n to 32, m to 128")
    parser.add_argument(
        "--only",
        choices=["samples", "width", "tables"],
        help="measure one part again; or none, only the tables",
    )
    asked = parser.parse_args()
    environ, name = environment(), "norms-of-flow" + ("-quick" if asked.quick else "")
    path = RESULTS / f"{name}.json"
    known = json.loads(path.read_text()) if asked.only and path.exists() else {}
    parts = known.get("parts", {})
    environ = known.get("environment", environ) if asked.only == "tables" else environ
    if asked.only in (None, "samples"):
        cases = [(width(n), labelled(n)) for n in SAMPLES[: 3 if asked.quick else None]]
        parts["samples"] = sweep(STARTS_SMALL, cases, lambda neurons, data: data.samples)
    if asked.only in (None, "width"):
        cases = [(m, labelled(WIDE_SAMPLES)) for m in WIDTHS[: 3 if asked.quick else None]]
        parts["width"] = sweep(STARTS_WIDE, cases, lambda neurons, data: neurons)
    for part, xlabel in (("samples", "samples $n$"), ("width", "neurons $m$")):
        if part in parts:
            draw(parts[part], xlabel, RESULTS / f"{name}-{part}.png")
    print(text(environ, parts, markdown=False))
    path.with_suffix(".md").write_text(text(environ, parts, markdown=True))
    path.write_text(json_text({"environment": environ, "parts": parts}, indent=1) + "\n")


if __name__ == "__main__":
    main()
