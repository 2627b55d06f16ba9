"""Which pictures `reluflow show` draws of a grid, as its file asks for them."""

from dataclasses import dataclass
from typing import Any

from ..._support._checks import shortened
from ._refusals import GridError, check_keys, chosen

KINDS = ("band", "probability", "times", "threshold")
_KEYS = ("kind", "record", "beside", "against", "along", "where", "span", "title")


@dataclass(frozen=True)
class Picture:
    """kind: of `KINDS`. record, beside: what is drawn, and what is drawn dashed beside it.
    against: the axis below. along: of a threshold, the axis on which it lies. where: a record that
    holds for whatever is drawn. span: the quantiles between which a band lies."""

    kind: str
    record: tuple[str, ...]
    beside: tuple[str, ...] = ()
    against: str | None = None
    along: str | None = None
    where: str | None = None
    span: tuple[float, float] = (0.1, 0.9)
    title: str = ""

    @property
    def name(self) -> str:
        parts = [self.kind, *self.record]
        parts += [self.against] if self.against else []
        return "-".join(parts)


def read_pictures(
    given: Any, records: tuple[str, ...], axes: tuple[str, ...]
) -> tuple[Picture, ...]:
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise GridError(f"pictures must be tables, [[pictures]], but they are {shortened(given)}.")
    return tuple(_picture(each, records, axes) for each in given)


def _picture(given: dict[str, Any], records: tuple[str, ...], axes: tuple[str, ...]) -> Picture:
    check_keys("pictures", given, _KEYS)
    kind = chosen("kind of picture called", given.get("kind"), KINDS)
    found: dict[str, Any] = {"kind": kind, "title": str(given.get("title", ""))}
    for key in ("record", "beside"):
        names = given.get(key, [])
        names = [names] if isinstance(names, str) else names
        if not isinstance(names, list):
            raise GridError(f"pictures.{key} must be names of records.")
        found[key] = tuple(chosen("record in [[pictures]] called", name, records) for name in names)
    if not found["record"]:
        raise GridError("pictures.record must name what is drawn.")
    for key in ("against", "along"):
        if key in given:
            named = "log_scale" if given[key] == "scale" else given[key]
            found[key] = chosen("axis in [[pictures]] called", named, axes)
    if "where" in given:
        found["where"] = chosen("record in [[pictures]] called", given["where"], records)
    if "span" in given:
        found["span"] = _span(given["span"])
    if kind == "threshold" and ("along" not in found or "against" not in found):
        raise GridError("A picture of kind threshold needs `along` and `against`.")
    return Picture(**found)


def _span(value: Any) -> tuple[float, float]:
    good = isinstance(value, list) and len(value) == 2
    good = good and all(isinstance(quantile, int | float) for quantile in value)
    if not good or not 0 <= value[0] < value[1] <= 1:
        raise GridError(
            f"pictures.span must be two quantiles such as [0.1, 0.9], but it is {shortened(value)}."
        )
    return float(value[0]), float(value[1])
