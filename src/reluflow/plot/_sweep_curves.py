"""Curves of a sweep over its seeds: median and band, probability, threshold."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from . import _style
from ._sweep_data import LOOKS, along, check, counted, finish, label_of, lines, new_axes

_Z = 1.959963984540054  # of a standard normal, which it exceeds on either side in 5% of all cases


def sweep_band(
    ds: Any,
    record: str,
    against: str,
    ax: Axes | None = None,
    *,
    over: str = "seed",
    where: str | None = None,
    span: tuple[float, float] = (0.1, 0.9),
    label: str | None = None,
    dashed: bool = False,
) -> Axes:
    """Median of a record over the seeds, and the band between two quantiles, against an axis.

    Arguments:
        ds: of `rf.sweep`. Points that failed, or were not run, are left out.
        record: which of its variables.
        against: the axis of the grid that is drawn below.
        ax: the axes to draw on, new ones where not given.
        over: the axis of the seeds. Every other axis has a line for each of its values.
        where: a yes/no variable; only points for which it holds count.
        span: the quantiles, (0, 1) for the least and the largest.
        label: of the line; by default the choice of the other axes.
        dashed: for what is known rather than measured: a dashed grey line without a band.

    Raises:
        ValueError, TypeError: there is no such record or axis; more lines than can be told apart.
    """
    check(ds, record, (against, over if over in ds.dims else None))
    ax = new_axes(ds, against, ax)
    places = along(ds, against)[0]
    found = []
    for text, part in lines(ds, counted(ds, record, where), (against, over)):
        values = _with_seeds(part, against, over)
        some = np.isfinite(values).any(axis=1)
        if not some.any():
            continue
        at, order = places[some], np.argsort(places[some])
        low, middle, high = np.nanquantile(values[some], (span[0], 0.5, span[1]), axis=1)
        color, marker = _look(ax, dashed)
        band = _described(span) if not dashed and over in part.dims else ""
        named = ", ".join(filter(None, (label, text))) or band
        style: dict[str, Any] = {"linestyle": "--"} if dashed else {"marker": marker}
        ax.plot(at[order], middle[order], color=color, markersize=4, label=named, **style)
        found.append(middle)
        if not dashed and over in part.dims:
            ax.fill_between(
                at[order], low[order], high[order], color=color, alpha=0.2, linewidth=0.0
            )
            found += [low, high]
    finish(ax, [*found, *_drawn(ax)], label_of(ds, record))
    return ax


def sweep_probability(
    ds: Any,
    record: str,
    against: str,
    ax: Axes | None = None,
    *,
    over: str = "seed",
    where: str | None = None,
    label: str | None = None,
) -> Axes:
    """How often a yes/no record holds over the seeds, against an axis, with 95% error bars.

    The bars are Wilson's interval of a binomial count: inside [0, 1], and of a width that is right
    where none or all of the seeds say yes. The arguments are those of `sweep_band`.
    """
    check(ds, record, (against, over))
    if ds[record].dtype.kind != "b":
        raise ValueError(
            f"Argument `record` must be of truth values, but {record!r} is of {ds[record].dtype}."
        )
    ax = new_axes(ds, against, ax)
    places = along(ds, against)[0]
    for text, part in lines(ds, counted(ds, record, where), (against, over)):
        values = _with_seeds(part, against, over)
        counts, yes = np.isfinite(values).sum(axis=1), np.nansum(values, axis=1)
        some = counts > 0
        at, order = places[some], np.argsort(places[some])
        share = (yes[some] / counts[some])[order]
        low, high = wilson(yes[some][order], counts[some][order])
        color, marker = _look(ax)
        ax.errorbar(
            at[order],
            share,
            (np.maximum(share - low, 0.0), np.maximum(high - share, 0.0)),
            color=color,
            marker=marker,
            markersize=4,
            capsize=2,
            linewidth=1.2,
            elinewidth=0.8,
            label=", ".join(filter(None, (label, text))),
        )
    ax.set_ylim(-0.03, 1.03)
    finish(ax, [], f"probability: {label_of(ds, record)}")
    return ax


def wilson(yes: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The interval of a probability of which `yes` of `counts` draws are known, at 95%:

    (p + z^2 / 2n +- z (p (1 - p) / n + z^2 / 4n^2)^(1/2)) / (1 + z^2 / n),   p = yes / n.
    """
    share, square = yes / counts, _Z**2 / counts
    middle = share + square / 2.0
    wide = _Z * np.sqrt(share * (1.0 - share) / counts + square / (4.0 * counts))
    return (middle - wide) / (1.0 + square), (middle + wide) / (1.0 + square)


def sweep_threshold(
    ds: Any,
    record: str,
    along_axis: str,
    against: str,
    ax: Axes | None = None,
    *,
    over: str = "seed",
    where: str | None = None,
    span: tuple[float, float] = (0.1, 0.9),
    label: str | None = None,
) -> Axes:
    """Where on an axis a yes/no record begins to hold, against another axis: median over the seeds
    and a band.

    Of every seed it is the middle between the last value of `along_axis` at which the record holds,
    counted from the end of the axis at which it holds more often without a gap, and the first at
    which it does not. A threshold beyond the values of the axis counts in the median, and is not
    drawn. The other arguments are those of `sweep_band`.
    """
    check(ds, record, (along_axis, against, over))
    ax = new_axes(ds, against, ax)
    places = along(ds, against)[0]
    found = []
    for text, part in lines(ds, counted(ds, record, where), (along_axis, against, over)):
        cube = part.transpose(against, over, along_axis).values
        values = thresholds(ds[along_axis].values.astype(float), cube)
        color, marker = _look(ax)
        ordered = np.sort(np.where(np.isnan(values), np.inf, values), axis=1)
        counts = (~np.isnan(values)).sum(axis=1)
        at = [_at_quantiles(ordered, counts, q) for q in (span[0], 0.5, span[1])]
        order = np.argsort(places)
        named = ", ".join(filter(None, (label, text))) or _described(span)
        ax.plot(places[order], at[1][order], color=color, marker=marker, markersize=4, label=named)
        ax.fill_between(
            places[order], at[0][order], at[2][order], color=color, alpha=0.2, linewidth=0.0
        )
        found += at
    if not ax.get_ylabel():
        ax.set_ylabel(f"threshold: {label_of(ds, along_axis)}")
    finish(ax, [], "")
    return ax


def thresholds(values: np.ndarray, holds: np.ndarray) -> np.ndarray:
    """Of each row of truth values over `values`, the last axis; NaN where one of them is missing,
    and infinite where it lies beyond them."""
    order = np.argsort(values)
    values, holds = values[order], holds[..., order]
    known = np.isfinite(holds).all(axis=-1)
    if np.nanmean(holds[..., 0]) < np.nanmean(holds[..., -1]):
        return -thresholds(-values, holds)
    # From the low end on: how many hold before the first that does not.
    count = np.sum(np.cumprod(np.where(np.isfinite(holds), holds, 0.0), axis=-1), axis=-1)
    middles = np.concatenate([[-np.inf], (values[1:] + values[:-1]) / 2.0, [np.inf]])
    return np.where(known, middles[count.astype(int)], np.nan)


def _at_quantiles(ordered: np.ndarray, counts: np.ndarray, q: float) -> np.ndarray:
    """By order alone, since some are infinite; NaN where it is one of those."""
    place = np.clip(np.rint(q * (counts - 1)), 0, None).astype(int)
    found = ordered[np.arange(len(ordered)), place]
    return np.where(np.isfinite(found) & (counts > 0), found, np.nan)


def _described(span: tuple[float, float]) -> str:
    if span == (0.0, 1.0):
        return "median, least to largest"
    return f"median, {100 * span[0]:g}% to {100 * span[1]:g}%"


def _with_seeds(part: Any, against: str, over: str) -> np.ndarray:
    """(places, seeds)."""
    if over not in part.dims:
        return part.values[:, None]
    return part.transpose(against, over).values


def _look(ax: Axes, dashed: bool = False) -> tuple[str, str]:
    """The next one that is not on these axes yet."""
    if dashed:
        return _style.GREY, ""
    taken = sum(1 for line in ax.lines if line.get_marker() not in ("", "None", "_", "|", None))
    return LOOKS[taken % len(LOOKS)]


def _drawn(ax: Axes) -> list[np.ndarray]:
    """What earlier calls drew on the same axes."""
    return [np.asarray(line.get_ydata(), float) for line in ax.lines]
