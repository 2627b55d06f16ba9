"""Tables and pictures of `norms_of_flow.py`, from its records."""

import numpy as np
from _common import describe, table
from _slopes import MARGIN, SLOPE, slope

import reluflow as rf
from reluflow import plot

STARTS = 3  # of each kind
SMALL = ("small, 1e-6", "small, e^-1000")  # at the second, the limit process
WIDE_SAMPLES = 32


def arrived(record: dict) -> bool:
    """rf.flow locates the loss to stop at within its tolerance, and says that it is there."""
    return record["result"] == rf.RESULTS[rf.RESULTS.loss_reached]


def values(records: list[dict], name: str, field: str = "squared_norm") -> np.ndarray:
    """(sizes, seeds); NaN where the flow did not come to its loss."""
    mine = [r for r in records if r["start"] == name]
    good = [r[field] if arrived(r) else np.nan for r in mine]
    return np.array(good, float).reshape(-1, STARTS)


def sizes_of(records: list[dict]) -> list[int]:
    return sorted({r["size"] for r in records})


def rows(records: list[dict]) -> list[list[str]]:
    lines = []
    for size in sizes_of(records):
        for name in dict.fromkeys(r["start"] for r in records):
            mine = [r for r in records if r["start"] == name and r["size"] == size]
            norms = np.array([r["squared_norm"] for r in mine if arrived(r)])
            limits = np.array([r["limit"] for r in mine if arrived(r)], float)  # NaN for null
            least, some = mine[0]["minimum"], len(norms) > 0
            apart = np.max(np.abs(norms / limits - 1.0)) if some else np.nan
            lines.append(
                [
                    f"{size}",
                    f"{mine[0]['neurons']}",
                    name,
                    f"{len(norms)} of {len(mine)}",
                    f"{norms.mean():.4f}" if some else "",
                    f"{norms.min():.4f} to {norms.max():.4f}" if some else "",
                    f"{least:.4f}",
                    f"{norms.mean() / least:.4f}" if some else "",
                    f"{apart:.1e}" if np.isfinite(apart) else "",
                    f"{max(r['time'] for r in mine):.3g}",
                    f"{max(r['steps'] for r in mine)}",
                ]
            )
    return lines


def growth(records: list[dict]) -> list[list[str]]:
    """Slopes in n of the mean over starts, as the paper plots it."""
    sizes, lines = sizes_of(records), []
    minimum = np.array([next(r["minimum"] for r in records if r["size"] == s) for s in sizes])
    curves = {name: np.nanmean(values(records, name), axis=1) for name in SMALL}
    curves["limit process of the same starts"] = np.nanmean(
        values(records, SMALL[-1], "limit"), axis=1
    )
    curves["minimum"] = minimum
    curves |= {f"{name}, over the minimum": curves[name] / minimum for name in SMALL}
    for name, norms in curves.items():
        value, error = slope(sizes, norms)
        met = ""
        if name in SMALL:
            met = "met" if abs(value - SLOPE) <= MARGIN else "missed"
        octaves = np.diff(np.log(norms)) / np.diff(np.log(sizes))
        lines.append(
            [name, f"{value:.3f} +- {error:.3f}", met, ", ".join(f"{one:.3f}" for one in octaves)]
        )
    return lines


def trends(records: list[dict]) -> list[list[str]]:
    """Fig. 6: which way each curve goes, and where it ends."""
    lines = []
    for name in dict.fromkeys(r["start"] for r in records):
        ratio = np.nanmean(values(records, name), axis=1) / records[0]["minimum"]
        ratio = ratio[np.isfinite(ratio)]
        asked = -1.0 if name in SMALL else 1.0
        way = "falls" if asked < 0.0 else "rises"
        met = "met" if asked * (ratio[-1] - ratio[0]) > 0.0 else "missed"
        against = int(np.sum(asked * np.diff(ratio) <= 0.0))
        lines.append(
            [
                name,
                f"{ratio[0]:.4f}",
                f"{ratio[-1]:.4f}",
                way,
                met,
                f"{against} of {len(ratio) - 1}",
            ]
        )
    return lines


def draw(records: list[dict], xlabel: str, path) -> None:
    sizes = sizes_of(records)
    names = dict.fromkeys(r["start"] for r in records)
    curves = {name: values(records, name) for name in names}
    curves["minimum"] = np.array([[r["minimum"] for r in records if r["size"] == s] for s in sizes])
    ax = plot.bands(sizes, curves, dashed=("minimum",), xlabel=xlabel)
    ax.set_ylabel(r"$|\theta|^2$ at the end")
    ax.figure.savefig(path, dpi=130)


HEADER = [
    "",
    "m",
    "start",
    "to loss 1e-12",
    "norm^2, mean",
    "min to max",
    "minimum",
    "ratio",
    "from the limit process",
    "t, latest",
    "steps, most",
]


def text(environ: dict, parts: dict[str, list[dict]], markdown: bool) -> str:
    title, mark = "The squared norm at the end of the flow", "## " if markdown else ""
    body = [f"# {title}" if markdown else title, describe(environ)]
    if "samples" in parts:
        found = parts["samples"]
        body += [
            f"{mark}Fig. 5: against n, {STARTS} starts, total size of the start fixed",
            table(["n", *HEADER[1:]], rows(found), markdown),
            f"{mark}Slope in n on logarithmic axes; target {SLOPE} +- {MARGIN}",
            table(["curve", "slope", "", "from each n to the next"], growth(found), markdown),
        ]
    if "width" in parts:
        found = parts["width"]
        columns = ["start", "ratio, first m", "last m", "asked", "", "steps the other way"]
        body += [
            f"{mark}Fig. 6: against m, n = {WIDE_SAMPLES}, {STARTS} starts",
            table(HEADER[1:], [row[1:] for row in rows(found)], markdown),
            table(columns, trends(found), markdown),
        ]
    return "\n\n".join(body) + "\n"
