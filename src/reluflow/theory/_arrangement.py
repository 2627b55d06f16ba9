"""The activation patterns that a neuron can have on given inputs."""

import numpy as np
import scipy


def activation_patterns(x: np.ndarray) -> np.ndarray:
    """All sign patterns of X w with no zero, as (patterns, samples) of bool: True for > 0.

    These are the cells of the arrangement of hyperplanes <w, x_k> = 0: of n inputs in general
    position in R^d there are 2 sum_{i < d} (n - 1 choose i). A pattern with zeros lies on the
    boundary of one of them, and relu is the same seen from there.

    One hyperplane after the other: each cell is kept on the sides of the next one that it
    reaches, which a linear programme decides: max tau with s_k <w, x_k> / |x_k| >= tau and
    |w_i| <= 1. A cell whose tau is below 1e-9, that is, one so thin, is taken to be empty.
    """
    rows = x / np.linalg.norm(x, axis=1, keepdims=True)
    dim = x.shape[1]

    def reached(signs: np.ndarray) -> bool:
        sides = signs[:, None] * rows[: len(signs)]
        found = scipy.optimize.linprog(
            np.r_[np.zeros(dim), -1.0],
            A_ub=np.column_stack([-sides, np.ones(len(signs))]),
            b_ub=np.zeros(len(signs)),
            bounds=[(-1.0, 1.0)] * (dim + 1),
        )
        return found.status == 0 and -found.fun > 1e-9

    cells = [np.zeros(0)]
    for _ in rows:
        longer = [np.append(cell, side) for cell in cells for side in (1.0, -1.0)]
        cells = [cell for cell in longer if reached(cell)]
    return np.array(cells) > 0.0
