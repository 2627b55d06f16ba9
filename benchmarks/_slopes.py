"""Slopes on logarithmic axes, beside the one that the 2026 paper names."""

import numpy as np

SLOPE, MARGIN = 0.5, 0.03  # Theorem 3, and what counts as meeting it


def slope(sizes, norms) -> tuple[float, float]:
    """Of ln(norm) against ln(n), and its standard error from the scatter about the line."""
    (value, _), covariance = np.polyfit(np.log(sizes), np.log(norms), 1, cov=True)
    return float(value), float(np.sqrt(covariance[0, 0]))


def slope_row(name: str, sizes, norms, asked: bool) -> list[str]:
    value, error = slope(sizes, norms)
    met = "met" if abs(value - SLOPE) <= MARGIN else "missed"
    last = [np.log2(norms[i + 1] / norms[i]) for i in range(len(norms) - 1)]
    octaves = ", ".join(f"{one:.3f}" for one in last)
    return [name, f"{value:.4f} +- {error:.4f}", met if asked else "", octaves]
