"""The comparison that every other test relies on, and that no test uses another."""

from pathlib import Path

import numpy as np
import pytest
from tolerance import assert_close

# In two parts each, so that this file does not name them.
OTHERS = [
    "assert_" + "allclose",
    "assert_" + "almost_equal",
    "assert_array_" + "almost_equal",
    "assert_" + "approx_equal",
    "." + "allclose(",
    "." + "isclose(",
    "pytest." + "approx",
]


@pytest.mark.parametrize(
    "actual, expected, tolerance",
    [
        (1.0, 1.0, {}),
        (1.0 + 1e-9, 1.0, {"rtol": 1.1e-9}),
        (2.0 + 1e-9, 2.0, {"atol": 1.1e-9}),
        ([0.0, 100.2], [0.1, 100.0], {"rtol": 1e-3, "atol": 0.11}),
        ([np.inf, -np.inf, 1.0], [np.inf, -np.inf, 1.0], {}),
        ([[3.0, 3.0], [3.0, 3.1]], 3.0, {"atol": 0.11}),
        (np.int32(3), 3.0, {}),
    ],
)
def test_close(actual, expected, tolerance):
    assert_close(actual, expected, **tolerance)


@pytest.mark.parametrize(
    "actual, expected, tolerance, message",
    [
        (np.nextafter(1.0, 2.0), 1.0, {}, r"1 of 1 differ by more than rtol = 0, atol = 0\."),
        (1.0 + 1e-9, 1.0, {"rtol": 0.9e-9}, "rtol = 9e-10"),
        (1e-9, 0.0, {"rtol": 1.0}, r"error is 1e-09: 1e-09, expected 0\.0"),
        (2.0 + 1e-9, 2.0, {"atol": 0.9e-9}, "atol = 9e-10"),
        ([1.0, 2.5, 3.1], [1.0, 2.0, 3.0], {"rtol": 1e-3}, r"2 of 3 .* is 0\.5 .* at \[1\]"),
        (
            [[1.0, 1.0], [9.0, 1.0]],
            1.0,
            {"atol": 1.0},
            r"1 of 4 .* is 8 \(8 relative\) at \[1, 0\]",
        ),
        ([1.0, np.nan], [1.0, np.nan], {"rtol": 1.0, "atol": np.inf}, r"at \[1\]"),
        ([np.inf], [1.0], {"rtol": np.inf}, "largest error is inf"),
        ([1.0], [np.inf], {"rtol": 1.0, "atol": 1.0}, "largest error is inf"),
        ([np.inf], [-np.inf], {"rtol": 1.0}, "largest error is inf"),
        ([1.0, 1.0], [1.0], {}, "shapes differ"),
        ([], [], {}, "nothing to compare"),
        ([], 1.0, {}, "nothing to compare"),
    ],
)
def test_the_controls_are_told_apart(actual, expected, tolerance, message):
    with pytest.raises(AssertionError, match=message):
        assert_close(actual, expected, **tolerance)


def test_tolerances_are_named():
    with pytest.raises(TypeError, match="positional"):
        assert_close(1.0, 1.0, 1e-3)


def test_no_test_compares_in_another_way():
    def others_in(text):
        return [name for name in OTHERS if name in text]

    assert others_in("np.testing.assert_" + "allclose(1.0, 1.0)")  # the control
    files = sorted(Path(__file__).parent.glob("*.py"))
    assert len(files) > 40
    assert {file.name: found for file in files if (found := others_in(file.read_text()))} == {}
