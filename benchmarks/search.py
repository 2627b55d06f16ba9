"""Random problems of many kinds against the independent reference, by both integrators.

    python benchmarks/search.py [--only KIND ...] [--seeds 20] [--fresh]

What the tests search (tests/search_runs.py), as a table: each problem is right (no neuron and no
prediction further from the reference than 10 rtol times the problem's own condition), flagged
ambiguous, reported as failed, or wrong without a word. Kinds that results/search.json holds are
not run again without --fresh. Writes results/search.md and .json. See README.md.
"""

import argparse
import json
import time
from collections import Counter

import jax
import numpy as np
from _common import RESULTS, describe, environment, table  # which puts tests/ on the path
from search_problems import KINDS, SEEDS
from search_runs import ALLOWED, INTEGRATORS, RTOL, VERDICTS, search

from reluflow._json import json_text

jax.config.update("jax_enable_x64", True)

_PLACE = RESULTS / "search.json"


def chunk(integrator, kind, seeds: int) -> dict:
    """The outcomes of one kind, and how long they took, compilation included."""
    begin = time.perf_counter()
    outcomes = search(integrator, [(kind, seed) for seed in SEEDS[kind][:seeds]])
    others = [each._asdict() for each in outcomes if each.verdict != "right"]
    errors = [each.error for each in outcomes if each.verdict == "right"]
    return {
        "problems": len(outcomes),
        "verdicts": Counter(each.verdict for each in outcomes),
        "worst": float(np.max(errors, initial=0.0)),
        "others": sorted(others, key=lambda each: each["seed"]),
        "seconds": time.perf_counter() - begin,
    }


def report(found: dict) -> str:
    """The tables of all chunks."""
    chunks = found["chunks"]
    lines = [
        "# Random search against the independent reference",
        "",
        describe(found["environment"]) + ".",
        "",
        f"rtol {RTOL:.0e}; an error of 1 is {ALLOWED:g} rtol times the condition of the problem, "
        "which is measured on the reference. `worst` is over the problems that are right.",
    ]
    for integrator in INTEGRATORS:
        parts = {kind: chunks[integrator][kind] for kind in KINDS if kind in chunks[integrator]}
        rows = [_row(kind, part) for kind, part in parts.items()]
        total = Counter()
        for part in parts.values():
            total.update(part["verdicts"])
        problems = sum(part["problems"] for part in parts.values())
        counts = [str(total[verdict]) for verdict in VERDICTS]
        rows.append(["**all**", str(problems), *counts, ""])
        header = ["kind", "problems", *VERDICTS, "worst"]
        lines += ["", f"## rf.{integrator}", "", table(header, rows, markdown=True)]
        others = [_line(each) for part in parts.values() for each in part["others"]]
        lines += ["", *others] if others else []
    return "\n".join(lines) + "\n"


def _row(kind, part):
    counts = [str(part["verdicts"].get(verdict, 0)) for verdict in VERDICTS]
    return [kind.replace("|", "\\|"), str(part["problems"]), *counts, f"{part['worst']:.1g}"]


def _line(each):
    return f"* {each['kind']}, seed {each['seed']}: {each['verdict']}. {each['note']}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=list(KINDS), metavar="KIND")
    parser.add_argument("--seeds", type=int, default=max(map(len, SEEDS.values())))
    parser.add_argument("--fresh", action="store_true", help="forget what was run before")
    options = parser.parse_args()
    chunks = {name: {} for name in INTEGRATORS}
    found = {"environment": environment(), "chunks": chunks}
    if _PLACE.exists() and not options.fresh:
        chunks |= json.loads(_PLACE.read_text())["chunks"]
    for integrator in INTEGRATORS:
        for kind in options.only:
            asked = len(SEEDS[kind][: options.seeds])
            if chunks[integrator].get(kind, {}).get("problems", 0) >= asked:
                continue
            part = chunks[integrator][kind] = chunk(integrator, kind, options.seeds)
            print(integrator, kind, dict(part["verdicts"]), f"{part['seconds']:.0f} s", flush=True)
            _PLACE.write_text(json_text(found, indent=1))
    text = report(found)
    _PLACE.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
