"""The small tools by which programs are short: each against what NumPy says."""

import jax.numpy as jnp
import numpy as np
import pytest
from tolerance import assert_close

from reluflow._boost._packing import Packed
from reluflow._events._recording import coded, decoded
from reluflow._support._indexing import (
    _ALL_PAIRS,
    first_and_rest,
    first_true,
    of_lanes,
    spread,
    taken,
)
from reluflow._support._powers_of_two import exponent_of, power_of_two

LONG = _ALL_PAIRS + 1  # too long for all pairs of its entries to be compared


@pytest.mark.parametrize(("n", "size"), [(1, 1), (7, 3), (7, 9), (60, 32), (LONG, 40), (200, 100)])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_first_true(n, size, share):
    mask = np.random.default_rng(n).random(n) < share
    found, rest = first_and_rest(jnp.asarray(mask), size)
    where = np.flatnonzero(mask)
    expected = np.concatenate([where, np.full(size, n)])[:size]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.flatnonzero(rest), where[size:])
    filled = first_true(jnp.asarray(mask), size, fill=n - 1)
    np.testing.assert_array_equal(filled, np.minimum(expected, n - 1))


def test_rows_are_taken_and_spread():
    array = np.arange(24.0).reshape(2, 4, 3)
    at = jnp.array([3, 0, 3], jnp.int32)
    np.testing.assert_array_equal(taken(jnp.asarray(array), at, 1), np.take(array, at, 1))
    index = jnp.array([2, 5, 0], jnp.int32)  # 5 is beyond the last
    put = spread(index, jnp.array([7, 8, 9], jnp.int32), jnp.arange(4, dtype=jnp.int32))
    np.testing.assert_array_equal(put, [9, 1, 7, 3])
    flags = spread(index, jnp.array([True, True, False]), jnp.array([True, False, False, True]))
    np.testing.assert_array_equal(flags, [False, False, True, True])


@pytest.mark.parametrize("lanes", [1, 3])
def test_of_lanes(lanes):
    lane = np.random.default_rng(0).integers(0, lanes, 20)
    values = np.random.default_rng(1).normal(size=20)
    begin = jnp.zeros(lanes)
    each = [values[lane == i] for i in range(lanes)]
    for reduce, expected in (
        ("add", [np.sum(v) for v in each]),
        ("min", [min(0.0, *v) for v in each]),
        ("max", [max(0.0, *v) for v in each]),
    ):
        got = of_lanes(jnp.asarray(lane), lanes, jnp.asarray(values), reduce, begin)
        assert_close(got, expected, rtol=1e-14)


def test_exponents():
    """Of every power of two, of the numbers beside it, and of zero."""
    powers = np.ldexp(1.0, np.arange(-1021, 1022))
    sizes = np.concatenate([powers, np.nextafter(powers, 0.0), np.nextafter(powers, np.inf), [0.0]])
    sizes = sizes[(sizes == 0.0) | (sizes >= np.ldexp(1.0, -1022))]
    np.testing.assert_array_equal(exponent_of(jnp.asarray(sizes)), np.frexp(sizes)[1])
    np.testing.assert_array_equal(exponent_of(jnp.array([5e-324, 1.7e308])), [0, 1022])
    exponents = np.arange(-1022, 1024)
    np.testing.assert_array_equal(power_of_two(jnp.asarray(exponents)), np.ldexp(1.0, exponents))


def test_packed_rows():
    """Those of one row are replaced; a place beyond the last is left; types and shapes stay."""
    draw = np.random.default_rng(0)

    def tree(rows):
        return {
            "size": jnp.asarray(draw.normal(size=rows)),
            "mode": jnp.asarray(draw.integers(0, 4, (rows, 3)), jnp.int8),
            "flag": jnp.asarray(draw.random(rows) < 0.5),
            "wide": jnp.asarray(draw.normal(size=(rows, 2, 3))),
            "none": jnp.zeros((rows, 0)),
        }

    whole, few = tree(5), tree(2)
    at = jnp.array([3, 5])
    new = Packed.of(whole).with_rows(at, Packed.of(few)).unpacked(whole)
    for name, leaf in whole.items():
        expected = np.array(leaf)
        expected[3] = few[name][0]
        assert new[name].dtype == leaf.dtype
        np.testing.assert_array_equal(new[name], expected)
    back = Packed.of(whole).rows(jnp.array([4, 1])).unpacked(whole)
    np.testing.assert_array_equal(back["mode"], whole["mode"][np.array([4, 1])])


def test_codes_of_events():
    boundary, before, after = np.meshgrid([0, 1, 10**6], range(4), range(4))
    boundary, before, after = (
        jnp.asarray(leaf.ravel(), jnp.int32) for leaf in (boundary, before, after)
    )
    for found, given in zip(
        decoded(coded(boundary, before, after)), (boundary, before, after), strict=True
    ):
        np.testing.assert_array_equal(found, given)
    assert [int(leaf) for leaf in decoded(jnp.array(-1, jnp.int32))] == [-1, -1, -1]
