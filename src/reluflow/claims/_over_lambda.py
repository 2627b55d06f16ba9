"""A claim about small lambda, measured at several: one finding."""

from collections.abc import Mapping
from typing import Literal

from ._finding import Finding, Verdict, holds_from


def over_lambda(
    what: str,
    values: Mapping[float, float],
    relation: Literal["<=", ">=", "=="],
    predicted: float,
    tolerance: float = 0.0,
) -> Finding:
    """The value at the smallest lambda, and since which lambda, down to it, the claim holds.

    values: from ln(lambda) to what was measured there.
    """
    logs = sorted(values)

    def finding(log_lambda: float, start: float | None = None) -> Finding:
        return Finding(
            what,
            float(values[log_lambda]),
            relation,
            float(predicted),
            tolerance,
            log_lambda=log_lambda,
            holds_from=start,
        )

    holds = [finding(log_lambda).verdict is Verdict.holds for log_lambda in logs]
    return finding(logs[0], holds_from(logs, holds) if len(logs) > 1 else None)
