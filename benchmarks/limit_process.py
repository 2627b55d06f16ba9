"""The limit process over seeds: how its norm grows with n, shrinks with m, and how often it fits.

    python benchmarks/limit_process.py [--quick]

2026 paper, Fig. 5, Theorem 3, Prop. 2 and the small initialisation of Fig. 6, at lambda -> 0: no
flow is integrated. Writes results/limit-process.md and .json; see README.md.
"""

import argparse
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from _common import RESULTS, describe, environment, table, timed
from _slopes import MARGIN, SLOPE, slope_row

import reluflow as rf
from reluflow import theory
from reluflow._json import json_text
from reluflow.claims.mild_overparameterisation import FAILURE, random_ends, width

jax.config.update("jax_enable_x64", True)

SAMPLES = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
MANY_SAMPLES = tuple(2**k for k in range(12, 20))  # by masks alone
WIDE_SAMPLES, WIDTHS = 32, tuple(4**k for k in range(2, 10))
ENTRIES = 2**22  # neurons x samples in one batch: memory


class Outcome(NamedTuple):
    """Of one seed: |theta_inf|^2, its minimum, that of a neuron per sample, and the rest."""

    squared_norm: jax.Array
    minimum: jax.Array
    one_each: jax.Array
    jumps: jax.Array
    unfittable: jax.Array
    idle: jax.Array
    alike: jax.Array


@partial(jax.jit, static_argnums=(1, 2, 3, 4))
def outcomes(keys, neurons: int, samples: int, batch: int, pairs: bool) -> Outcome:
    """Identity data, y ~ N(0, 1), Gaussian balanced neurons: new labels for every seed."""

    def shares(mask):
        common, own = mask @ mask.T, jnp.sum(mask, axis=1)
        same = (common == own) & (common == own[:, None]) & (common > 0.0)
        return jnp.any(same & ~jnp.eye(neurons, dtype=bool))

    def one(key):
        net_key, label_key = jax.random.split(key)
        data = rf.Dataset(jnp.eye(samples), jax.random.normal(label_key, (samples,)))
        net = rf.balanced(net_key, neurons, samples, -1.0)
        process = theory.limit_process(net, data)
        alike = shares(theory.masks(net, data).astype(jnp.float64)) if pairs else jnp.array(False)
        return Outcome(
            process.final_squared_norm,
            theory.minimal_squared_norm(data),
            2.0 * jnp.sum(jnp.abs(data.y)),
            process.num_jumps,
            jnp.any(process.unfittable),
            jnp.any(process.idle),
            alike,
        )

    return jax.lax.map(one, keys, batch_size=batch)


def run(neurons: int, samples: int, seeds: int, pairs: bool = False) -> Outcome:
    """`pairs`: look for neurons of equal masks, among all pairs of them."""
    keys = jax.random.split(jax.random.key(neurons * 10_000 + samples), seeds)
    batch = max(1, min(seeds, ENTRIES // (neurons * samples)))
    return jax.tree.map(np.asarray, outcomes(keys, neurons, samples, batch, pairs))


def growth(sizes, seeds: int) -> tuple[list[list[str]], list[list[str]], dict]:
    """Fig. 5: a row for each n, and the slopes beside their target."""
    rows, curves = [], {"limit process": [], "minimum": [], "one neuron per sample": []}
    for samples in sizes:
        found = run(width(samples), samples, seeds)
        good = ~found.unfittable
        norm, least = found.squared_norm[good], found.minimum[good]
        for name, values in zip(curves, (norm, least, found.one_each[good]), strict=True):
            curves[name].append(float(values.mean()))
        ratio = norm / least
        rows.append(
            [
                f"{samples}",
                f"{width(samples)}",
                f"{good.sum()} of {seeds}",
                f"{norm.mean():.3f}",
                f"{norm.min():.3f} to {norm.max():.3f}",
                f"{least.mean():.3f}",
                f"{ratio.mean():.4f}",
                f"{ratio.min():.3f} to {ratio.max():.3f}",
                f"{found.jumps[good].mean():.1f}",
            ]
        )
        print(f"  n = {samples}: ratio {ratio.mean():.4f}", flush=True)
    slopes = [
        slope_row(name, sizes, norms, i == 0) for i, (name, norms) in enumerate(curves.items())
    ]
    return rows, slopes, {"samples": list(sizes), **curves}


def further(sizes, seeds: int) -> tuple[list[list[str]], list[str], dict]:
    """Fig. 5 for larger n, by the process from masks alone: a row for each n, and the slope."""
    rows, norms = [], []
    for samples in sizes:
        ends = random_ends(samples, width(samples), seeds)
        good = [end for end in ends if end.interpolates]
        norm, ratio = (
            np.array(values)
            for values in zip(
                *((e.squared_norm, e.squared_norm / e.minimum) for e in good), strict=True
            )
        )
        norms.append(float(norm.mean()))
        jumps = np.mean([end.jumps for end in good])
        rows.append(
            [
                f"{samples}",
                f"{width(samples)}",
                f"{len(good)} of {seeds}",
                f"{norm.mean():.2f}",
                f"{ratio.mean():.4f}",
                f"{ratio.min():.3f} to {ratio.max():.3f}",
                f"{jumps:.1f}",
            ]
        )
        print(f"  n = {samples}: ratio {ratio.mean():.4f}", flush=True)
    name = f"limit process, n = {sizes[0]} to {sizes[-1]}, by masks"
    return rows, slope_row(name, sizes, norms, True), {"samples": list(sizes), "norm": norms}


def frequencies(sizes, seeds: int) -> tuple[list[list[str]], list[dict]]:
    """Prop. 2: how often Assumption 4(i) fails, beside the union bound."""
    rows, numbers = [], []
    for samples in sizes:
        for neurons in (width(samples) // 2, width(samples), 2 * width(samples)):
            found = run(neurons, samples, seeds, pairs=True)
            fails = found.unfittable | found.idle | found.alike
            # Labels are drawn too: the bound for given n_+ is averaged over them.
            weights = [np.exp(_log_choose(samples, k)) * 0.5**samples for k in range(samples + 1)]
            bound = sum(
                p * theory.union_bound(neurons, k, samples - k).total for k, p in enumerate(weights)
            )
            observed, error = fails.mean(), np.sqrt(fails.mean() * (1 - fails.mean()) / seeds)
            verdict = "met" if observed <= bound + 3.0 * error else "missed"
            rows.append(
                [
                    f"{samples}",
                    f"{neurons}",
                    f"{observed:.4f} +- {error:.4f}",
                    f"{bound:.4f}",
                    *(
                        f"{event.mean():.4f}"
                        for event in (found.unfittable, found.idle, found.alike)
                    ),
                    verdict,
                ]
            )
            numbers.append(
                {
                    "samples": samples,
                    "neurons": neurons,
                    "observed": float(observed),
                    "standard_error": float(error),
                    "bound": float(bound),
                }
            )
    return rows, numbers


def _log_choose(n: int, k: int) -> float:
    return float(np.sum(np.log(np.arange(n - k + 1, n + 1)) - np.log(np.arange(1, k + 1))))


def widths(sizes, seeds: int) -> tuple[list[list[str]], list[dict]]:
    """Fig. 6, small initialisation: n = 32, the norm over its minimum as m grows."""
    rows, numbers = [], []
    for neurons in sizes:
        found = run(neurons, WIDE_SAMPLES, seeds)
        good = ~found.unfittable
        ratio = (found.squared_norm / found.minimum)[good]
        if not good.any():
            continue
        rows.append(
            [
                f"{neurons}",
                f"{good.sum()} of {seeds}",
                f"{ratio.mean():.4f}",
                f"{ratio.min():.4f} to {ratio.max():.4f}",
                f"{found.jumps[good].mean():.1f}",
            ]
        )
        numbers.append({"neurons": neurons, "ratio": float(ratio.mean())})
        print(f"  m = {neurons}: ratio {ratio.mean():.4f}", flush=True)
    return rows, numbers


def speed(seeds: int) -> str:
    """One call for all seeds, after compilation."""
    data = rf.datasets.orthonormal(jax.random.key(0), 16)
    sweep = jax.jit(
        jax.vmap(lambda key: theory.limit_process(rf.balanced(key, 10, 16, -1.0), data))
    )
    [found] = timed([partial(sweep, jax.random.split(jax.random.key(0), seeds))])
    return f"{seeds} limit processes of n = 16, m = 10 in one vmap: {found.best:.3f} s."


def text(found, parts, markdown: bool) -> str:
    rows, slopes, many, often, wide, fast, seeds = parts
    mark = "## " if markdown else ""
    tables = [
        (
            f"Fig. 5, Theorem 3: m = ln(n / {FAILURE}) / ln(4/3), "
            f"{seeds[0]} seeds that interpolate",
            [
                "n",
                "m",
                "interpolate",
                "norm^2, mean",
                "min to max",
                "minimum, mean",
                "ratio, mean",
                "min to max",
                "jumps",
            ],
            rows,
        ),
        (
            f"Slope of the mean norm^2 on logarithmic axes; target {SLOPE} +- {MARGIN}",
            ["curve", "slope", "", "from each n to the next"],
            slopes,
        ),
        (
            "Further, by the process from masks alone",
            ["n", "m", "interpolate", "norm^2, mean", "ratio, mean", "min to max", "jumps"],
            many,
        ),
        (
            f"Prop. 2: Assumption 4(i) fails, {seeds[1]} seeds; the bound averaged over n_+",
            ["n", "m", "frequency", "union bound", "unfittable", "idle", "alike", ""],
            often,
        ),
        (
            f"Fig. 6, small initialisation: n = {WIDE_SAMPLES}, {seeds[2]} seeds, norm^2 / minimum",
            ["m", "interpolate", "ratio, mean", "min to max", "jumps"],
            wide,
        ),
    ]
    title = "The limit process over seeds"
    body = [f"{mark}{head}\n\n{table(columns, lines, markdown)}" for head, columns, lines in tables]
    return "\n\n".join([f"# {title}" if markdown else title, describe(found), *body, fast]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer seeds, n to 256, m to 1024")
    quick = parser.parse_args().quick
    found = environment()
    seeds = (20, 500, 4) if quick else (200, 10_000, 20)
    sizes, wide = (SAMPLES[:5], WIDTHS[:4]) if quick else (SAMPLES, WIDTHS)
    rows, slopes, curves = growth(sizes, seeds[0])
    many, slope_of_many, curve = further(MANY_SAMPLES[: 4 if quick else None], seeds[2])
    slopes.insert(1, slope_of_many)
    often, events = frequencies((16, 64, 256), seeds[1])
    ratios, by_width = widths(wide, seeds[2])
    parts = (rows, slopes, many, often, ratios, speed(seeds[1]), seeds)
    print(text(found, parts, markdown=False))
    path = RESULTS / ("limit-process-quick" if quick else "limit-process")
    RESULTS.mkdir(exist_ok=True)
    path.with_suffix(".md").write_text(text(found, parts, markdown=True))
    document = {
        "environment": found,
        "growth": curves,
        "further": curve,
        "slopes": slopes,
        "prop_2": events,
        "widths": by_width,
    }
    path.with_suffix(".json").write_text(json_text(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
