"""The flow against the limit process it should tend to, on random orthonormal problems.

    python benchmarks/limit_process_flow.py [--quick]

2026 paper, Theorem 2: which neurons jump, in which order, when, and to what size. Every number of
the flow is from `rf.flow` with `rf.Boost`; the limit process is integrated by nobody. Writes
results/limit-process-flow.md and .json; see README.md.
"""

import argparse

import equinox as eqx
import jax
import numpy as np
from _common import RESULTS, describe, environment, table
from _jumps_of_flow import Jump, Problem, margin, measured, predicted, problems

from reluflow import theory
from reluflow._json import json_text

jax.config.update("jax_enable_x64", True)

SHAPES = {(8, 12): 17, (12, 15): 17, (16, 20): 16}  # (n, m) -> problems
SIZE = 1000.0  # ln(1/lambda), for order and squared norms
SMALLER = (10_000.0, 100_000.0)  # for problems that miss something there
SIZES = (250.0, 500.0, 1000.0, 2000.0, 4000.0)  # for the convergence of the times
# How small every other neuron has to be at a jump, ln|w| by the limit process, for the order to
# be asked for. A flow's ln|w| is O(1) away from that, some e-folds: directions and lengths at the
# start, turning and saturation at every jump before.
APART = 10.0
NORM_ERROR, SLOPE_ERROR = 1e-6, 0.02
# A neuron that jumps later keeps what it has by then on samples that another one has fitted: of
# their squared norms, a share of the first order in its size.
NORMS_APART = float(-np.log(NORM_ERROR))
LARGER = (1.0, 1.2, 1.4)  # times SIZE, to see that order


# Comparisons


def same_order(found: list[Jump], expected: list[Jump]) -> bool:
    return [jump.neurons for jump in found] == [jump.neurons for jump in expected]


def norm_error(found: list[Jump], expected: list[Jump]) -> float:
    """Largest relative error of a squared norm, whatever the order; inf if others jump."""
    sizes, limits = ({jump.neurons: jump.squared_norm for jump in js} for js in (found, expected))
    if sizes.keys() != limits.keys():
        return np.inf
    return max(abs(sizes[g] / limits[g] - 1.0) for g in sizes)


def reversed_signs(problem: Problem) -> Problem:
    """The other convention: neurons that fit the labels of the other sign."""
    return problem._replace(net=eqx.tree_at(lambda n: n.output, problem.net, -problem.net.output))


def record_of(problem: Problem, other: Problem) -> dict:
    """What the flow does at SIZE; at smaller lambda too where that misses something."""
    flow, expected, apart = measured(problem, SIZE), predicted(problem, SIZE), margin(problem)
    late = [abs(f.time - e.time) * e.rate for f, e in zip(flow.jumps, expected, strict=False)]
    record = {
        "problem": problem.name,
        "jumps": len(expected),
        "folds": apart * SIZE,
        "same": same_order(flow.jumps, expected),
        "norm_error": norm_error(flow.jumps, expected),
        "beside": -flow.beside,
        "late": max(late),
        "steps": flow.steps,
        "unfittable": int(theory.limit_process(problem.net, problem.data).unfittable.sum()),
        "control_start": same_order(flow.jumps, predicted(other, SIZE)),
        "control_signs": same_order(flow.jumps, predicted(reversed_signs(problem), SIZE)),
    }
    if apart * SIZE < APART or not record["same"] or record["norm_error"] > NORM_ERROR:
        size = next((s for s in SMALLER if apart * s >= 2.0 * APART), SMALLER[-1])
        again = measured(problem, size).jumps
        record |= {
            "smaller": size,
            "smaller_same": same_order(again, expected),
            "smaller_norm_error": norm_error(again, expected),
        }
    if apart * SIZE >= APART and record["norm_error"] > NORM_ERROR:
        ends = [measured(problem, factor * SIZE).jumps for factor in LARGER]
        errors = np.log([norm_error(end, expected) for end in ends])
        folds = apart * SIZE * np.array(LARGER)
        record["error_order"] = float(-np.polyfit(folds, errors, 1)[0])
    print(f"  {problem.name}: {record['folds']:.3g} e-folds, same {record['same']}", flush=True)
    return record


def compare(everything: list[Problem]) -> list[dict]:
    """The control of a problem is the limit process of the one before it, of the same shape."""
    before = {p.net.hidden.shape: p for p in everything}  # the last one, for the first
    records = []
    for problem in everything:
        records.append(record_of(problem, before[problem.net.hidden.shape]))
        before[problem.net.hidden.shape] = problem
    return records


def converge(chosen: list[Problem]) -> dict:
    """Slopes of ln |t / ln(1/lambda) - s| against ln ln(1/lambda), for all jumps of some problems.

    The control: an s that is 1% longer is not where these converge to.
    """
    right, wrong = [], []
    for problem in chosen:
        clocks = []
        for size in SIZES:
            found = measured(problem, size).jumps
            if not same_order(found, predicted(problem, size)):
                raise RuntimeError(f"{problem.name}: another order at ln(1/lambda) = {size:g}")
            clocks.append([jump.time / size for jump in found])
        limits = np.array([jump.time for jump in predicted(problem, 1.0)])
        for factor, into in ((1.0, right), (1.01, wrong)):
            apart = np.log(np.abs(np.array(clocks) - factor * limits))
            into.extend(np.polyfit(np.log(SIZES), apart, 1)[0].tolist())
        print(f"  {problem.name}: slopes {right[-len(limits) :]}", flush=True)
    return {"problems": len(chosen), "slopes": right, "control": wrong}


# The report


def verdict(met: bool) -> str:
    return "met" if met else "missed"


def summary(records: list[dict], times: dict) -> list[list[str]]:
    """What was asked, what was found."""
    clear = [r for r in records if r["folds"] >= APART]
    close = [r for r in records if r["folds"] < APART]
    right, small = sum(r["same"] for r in clear), sum(r["norm_error"] <= NORM_ERROR for r in clear)
    far = [r for r in records if r["folds"] >= NORMS_APART]
    small_far = sum(r["norm_error"] <= NORM_ERROR for r in far)
    orders = ", ".join(f"{r['error_order']:.3f}" for r in records if "error_order" in r)
    again = [r for r in records if "smaller" in r]
    second = sum(r["smaller_same"] for r in again)
    exact = sum(r["smaller_norm_error"] <= NORM_ERROR for r in again)
    off = np.abs(np.array(times["slopes"]) + 1.0).max()
    least = np.abs(np.array(times["control"]) + 1.0).min()
    starts, signs = (sum(r[f"control_{name}"] for r in records) for name in ("start", "signs"))
    wrong = max((f"{r['folds']:.2f}" for r in records if not r["same"]), key=float, default="none")
    many = f"of {len(records)}"
    return [
        ["problems whose jumps are apart", f"{len(clear)} {many}", "", ""],
        [
            "of these, the order of all jumps is the same",
            f"{right} of {len(clear)}",
            "all",
            verdict(right == len(clear)),
        ],
        [
            f"of these, every squared norm to {NORM_ERROR:g}",
            f"{small} of {len(clear)}",
            "all",
            verdict(small == len(clear)),
        ],
        ["that error, as a power of the neuron beside: where missed", orders or "none", "", ""],
        [
            f"squared norms, where all others are below e^-{NORMS_APART:.1f} = {NORM_ERROR:g}",
            f"{small_far} of {len(far)}",
            "all",
            verdict(small_far == len(far)),
        ],
        [
            "of the others, the order is the same",
            f"{sum(r['same'] for r in close)} of {len(close)}",
            "",
            "",
        ],
        ["the most e-folds of a problem of another order", wrong, "", ""],
        [
            "all that are not apart, or missed, at smaller lambda: order",
            f"{second} of {len(again)}",
            "all",
            verdict(second == len(again)),
        ],
        [
            "the same: squared norms",
            f"{exact} of {len(again)}",
            "all",
            verdict(exact == len(again)),
        ],
        [
            f"slope of the times, {len(times['slopes'])} jumps of {times['problems']} problems",
            f"{min(times['slopes']):.5f} to {max(times['slopes']):.5f}",
            f"-1 +- {SLOPE_ERROR}",
            verdict(off <= SLOPE_ERROR),
        ],
        [
            "control, times 1% longer: the slope closest to -1 is off by",
            f"{least:.2f}",
            f"above {SLOPE_ERROR}",
            verdict(least > SLOPE_ERROR),
        ],
        [
            "control, another start: the order is the same",
            f"{starts} {many}",
            "0",
            verdict(starts == 0),
        ],
        [
            "control, a_j reversed: the order is the same",
            f"{signs} {many}",
            "0",
            verdict(signs == 0),
        ],
    ]


def rows(records: list[dict]) -> list[list[str]]:
    def smaller(r):
        if "smaller" not in r:
            return ""
        order = "same" if r["smaller_same"] else "other"
        return f"e^-{r['smaller']:g}: {order}, {r['smaller_norm_error']:.0e}"

    return [
        [
            r["problem"],
            f"{r['jumps']}",
            f"{r['folds']:.2f}",
            f"{r['beside']:.2f}",
            "same" if r["same"] else "other",
            f"{r['norm_error']:.1e}",
            f"{r['late']:.1f}",
            f"{r['unfittable']}",
            f"{r['steps']}",
            smaller(r),
        ]
        for r in sorted(records, key=lambda r: r["folds"])
    ]


HEADER = [
    "problem",
    "jumps",
    "e-folds",
    "in the flow",
    "order",
    "error of squared norms",
    "late",
    "unfittable",
    "steps",
    "at smaller lambda",
]
NOTE = f"""Apart: by the limit process, every other neuron is below e^-{APART:g} at every jump. The
column e-folds says by how much the largest one is below 1 (for the second candidate: the gap of
the two candidate times, times its rate, times ln(1/lambda)), the next one what that is in the
flow. late: the largest |t - s ln(1/lambda)|, in e-folds of the neuron."""


def text(environ: dict, records: list[dict], times: dict, markdown: bool) -> str:
    title = f"The flow at ln(1/lambda) = {SIZE:g} against the limit process"
    parts = [
        f"# {title}" if markdown else title,
        describe(environ),
        NOTE.replace("\n", " "),
        table(["", "found", "asked", ""], summary(records, times), markdown),
        table(HEADER, rows(records), markdown),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="9 problems of one shape")
    quick = parser.parse_args().quick
    environ = environment()
    everything = problems({(8, 12): 9} if quick else SHAPES)
    records = compare(everything)
    clear = [p for p in everything if margin(p) * SIZES[0] >= APART]
    times = converge(clear[: 2 if quick else 10])
    print(text(environ, records, times, markdown=False))
    path = RESULTS / ("limit-process-flow-quick" if quick else "limit-process-flow")
    RESULTS.mkdir(exist_ok=True)
    path.with_suffix(".md").write_text(text(environ, records, times, markdown=True))
    document = {"environment": environ, "problems": records, "times": times}
    path.with_suffix(".json").write_text(json_text(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
