"""`settle` against all 3^B choices and against a bounded least-squares solver of scipy."""

from itertools import product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear
from tolerance import assert_close

import reluflow as rf
from reluflow._events import Boundary, Fired, Standing, settle, transition
from reluflow._model._arrangement import Arrangement, Pulls
from reluflow._model._modes import ACTIVE, INACTIVE, RESTING, SLIDING
from reluflow._model._rays import Geometry

SAMPLES, DIM = 6, 4
SETTLE = jax.jit(settle, static_argnums=6)
ARRANGED = jax.jit(Arrangement.of, static_argnums=1)


def problem(seed, size, attractive):
    """Inputs, residuals, sign of a, modes of all units and which of them are on a boundary."""
    rng = np.random.default_rng(seed)
    x, residual = rng.normal(size=(SAMPLES, DIM)), rng.normal(size=SAMPLES)
    sign = float(rng.choice([-1.0, 1.0]))
    boundary = np.sort(rng.choice(SAMPLES, size, replace=False))
    if attractive:
        residual[boundary] = -sign * np.abs(residual[boundary])
    return x, residual, sign, rng.integers(0, 2, SAMPLES), boundary


def settled(x, residual, sign, mode, boundary, status=None, precise=True, departs=()):
    """status: of the boundary's units, from which the search begins; their modes, where None."""
    on = np.isin(np.arange(SAMPLES), boundary)
    begin = np.array(mode)
    if status is not None:
        begin[boundary] = status
    mode = jnp.asarray(mode)
    no = jnp.zeros(SAMPLES, bool)
    away = no.at[jnp.asarray(departs, int)].set(True)
    place = Boundary.gather(jnp.asarray(on), mode, jnp.asarray(begin), no, away, SAMPLES)
    pulls = Pulls(jnp.asarray(residual), None)
    given = (pulls, jnp.zeros(()), jnp.asarray(sign), mode, place)
    return SETTLE(arrangement(x, precise), *given, DIM)


def arrangement(x, precise=True):
    """Of these inputs; their Gram matrix as it is, orthogonal to rounding or not."""
    geometry = Geometry(None, precise, tuple(range(len(x))), False, True)
    found = ARRANGED(rf.Dataset(x, np.zeros(len(x))), geometry, rf.relu)
    return eqx.tree_at(lambda a: a.gram, found, jnp.asarray(x @ x.T))


def margin(x, residual, sign, outside, boundary, choice):
    """The worst inequality of one choice of modes; negative where it is violated."""
    held, on = boundary[choice == SLIDING], boundary[choice == ACTIVE]
    force = (residual * outside) @ x + residual[on] @ x[on]
    margins = []
    if len(held):
        u = np.linalg.lstsq(x[held].T, -force, rcond=None)[0]
        force = force + u @ x[held]
        alpha = u / residual[held]
        margins += [alpha, 1.0 - alpha]
    z = sign * (x[boundary] @ force)
    margins += [z[choice == ACTIVE], -z[choice == INACTIVE]]
    return min(np.min(values, initial=np.inf) for values in margins)


def force_of(got, x, residual):
    """n D from the pattern that `settle` returned, by its response."""
    force = (residual * (np.asarray(got.mode) == ACTIVE)) @ x
    for slot, row in zip(np.asarray(got.slots), np.asarray(got.response), strict=True):
        if slot < SAMPLES:
            force = force - (row @ residual) * x[slot]
    return force


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
@settings(max_examples=300)
def test_attractive_boundaries_give_the_minimal_norm(seed, size):
    x, residual, sign, mode, boundary = problem(seed, size, attractive=True)
    got = settled(x, residual, sign, mode, boundary)
    assert got.found and got.fits and not np.any(got.either)
    outside = (mode == ACTIVE) & ~np.isin(np.arange(SAMPLES), boundary)
    fixed, columns = (residual * outside) @ x, (residual[boundary, None] * x[boundary]).T
    best = lsq_linear(columns, -fixed, (0.0, 1.0), method="bvls", tol=1e-15)
    assert_close(
        force_of(got, x, residual),
        fixed + columns @ best.x,
        atol=1e-9 * (1.0 + np.abs(fixed).sum()),
    )


def answers(seed, size, attractive):
    """(modes, response), from every status that a search may begin with."""
    x, residual, sign, mode, boundary = problem(seed, size, attractive)
    starts = product((INACTIVE, ACTIVE, SLIDING), repeat=size)
    found = [settled(x, residual, sign, mode, boundary, start) for start in starts]
    return [(np.asarray(got.mode), np.asarray(got.response)) for got in found]


@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
@settings(max_examples=60)
def test_attractive_boundaries_have_one_answer_wherever_the_search_begins(seed, size):
    (modes, response), *others = answers(seed, size, attractive=True)
    for other_modes, other_response in others:
        np.testing.assert_array_equal(other_modes, modes)
        assert_close(other_response, response, rtol=1e-9, atol=1e-9)


def test_control_repulsive_boundaries_have_several():
    modes = [[tuple(mode) for mode, _ in answers(seed, 3, attractive=False)] for seed in range(20)]
    assert any(len(set(found)) > 1 for found in modes)


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
@settings(max_examples=300)
def test_a_solution_is_one_of_those_enumerated(seed, size):
    x, residual, sign, mode, boundary = problem(seed, size, attractive=False)
    got = settled(x, residual, sign, mode, boundary)
    assert got.found and got.fits
    outside = (mode == ACTIVE) & ~np.isin(np.arange(SAMPLES), boundary)
    choices = [np.array(c) for c in product((INACTIVE, ACTIVE, SLIDING), repeat=size)]
    margins = [margin(x, residual, sign, outside, boundary, choice) for choice in choices]
    solutions = [tuple(c) for c, m in zip(choices, margins, strict=True) if m > 1e-10]
    if min(abs(m) for m in margins) < 1e-9:
        return  # a choice on the edge: rounding decides
    taken = np.asarray(got.mode)[boundary]
    nothing_on = not np.any(outside) and not np.any(np.isin(taken, (ACTIVE, SLIDING)))
    assert nothing_on or tuple(np.where(taken == RESTING, INACTIVE, taken)) in solutions
    np.testing.assert_array_equal(
        np.asarray(got.mode)[~np.isin(np.arange(SAMPLES), boundary)],
        mode[~np.isin(np.arange(SAMPLES), boundary)],
    )


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
@settings(max_examples=300)
def test_ambiguous_only_where_there_are_several(seed, size):
    x, residual, sign, mode, boundary = problem(seed, size, attractive=False)
    outside = (mode == ACTIVE) & ~np.isin(np.arange(SAMPLES), boundary)
    choices = product((INACTIVE, ACTIVE, SLIDING), repeat=size)
    margins = [margin(x, residual, sign, outside, boundary, np.array(c)) for c in choices]
    if sum(m > -1e-9 for m in margins) == 1:
        assert not np.any(settled(x, residual, sign, mode, boundary).either)


def test_orthogonal_inputs_rest():
    """Nothing pushes a unit that stands on its boundary: alpha = 0 for good."""
    x, mode = np.eye(SAMPLES), np.ones(SAMPLES, int)
    for label in (-2.0, 2.0):
        residual = np.ones(SAMPLES)
        residual[2] = label
        on = np.array([2])
        got = settled(x, residual, 1.0, np.where(np.arange(SAMPLES) == 2, 0, mode), on)
        assert int(got.mode[2]) == RESTING and bool(got.found)


def test_a_unit_on_a_repulsive_boundary_stays_off_and_says_so():
    x = np.array([[1.0, 0, 0, 0], [-0.5, 1.0, 0, 0], *np.eye(4)])
    residual = np.array([1.0, 3.0, 0.0, 0.0, 0.0, 0.0])
    got = settled(x, residual, 1.0, np.array([1, 0, 0, 0, 0, 0]), np.array([1]))
    assert int(got.mode[1]) == INACTIVE and int(np.sum(got.either)) == 1


def test_a_unit_that_departs_from_a_repulsive_boundary_could_not_do_otherwise():
    """As above, but it left the boundary before: another unit's event is no choice of its own."""
    x = np.array([[1.0, 0, 0, 0], [-0.5, 1.0, 0, 0], *np.eye(4)])
    residual = np.array([1.0, 3.0, 0.0, 0.0, 0.0, 0.0])
    given = (x, residual, 1.0, np.array([1, 0, 0, 0, 0, 0]), np.array([1]))
    got = settled(*given, departs=[1])
    assert int(got.mode[1]) == INACTIVE and not np.any(got.either)


def test_an_instant_told_by_a_slow_unit():
    """A neuron slides to w = 0 and is there when the slowest of its units says so: the fastest is
    off its boundary by 500 times more, which is more than rounding."""
    x = np.array([[1.0, 0.0], [0.6, 0.8], [-0.3, 1.0], [0.601, 0.799], [-1.0, 0.5]])
    residual = jnp.array([0.52, -0.64, -0.19, -0.06, -0.25])
    arranged = jax.jit(Arrangement.of, static_argnums=1)(
        rf.Dataset(x, np.zeros(5)), Geometry(2, True, tuple(range(5)), False, True), rf.relu
    )
    along = np.array([-0.8, 0.6])  # on the boundary of the second
    velocity = 4e-3 * x @ along
    velocity[1] = 0.0
    mode = np.where(-velocity > 0.0, ACTIVE, INACTIVE)
    mode[1] = SLIDING
    near = 1.4e-14 * np.ones(5)
    slow = int(np.argmin(np.where(mode == SLIDING, np.inf, np.abs(velocity))))

    def modes(preactivation):
        standing = Standing(
            mode=jnp.asarray(mode, jnp.int32),
            preactivation=jnp.asarray(preactivation),
            velocity=jnp.asarray(velocity),
            near=jnp.asarray(near),
            armed=jnp.asarray(mode != SLIDING),
            watched=jnp.zeros(arranged.rays.shape[0], bool),
            sign=jnp.array(1.0),
        )
        yes, no = jnp.array(True), jnp.array(False)
        fired = Fired(jnp.array(slow), jnp.array(0), yes, no, no, no, no, no)
        found = transition(arranged, Pulls(residual, None), jnp.zeros(()), standing, fired, 2)
        return np.asarray(found.mode).tolist(), bool(jnp.all(found.stands))

    exact = modes(np.zeros(5))
    assert exact[1]
    for late in (-1e-11, 1e-11):
        p = late * velocity
        assert np.max(np.abs(p)) > 2.0 * np.max(near) and abs(p[slow]) < near[slow]
        assert modes(p) == exact
    # Control: one that has passed while another has not yet come is no instant.
    p[np.argmax(np.abs(velocity))] *= -1.0
    assert not modes(p)[1]


def test_more_sliding_units_than_room_do_not_fit():
    x, residual, sign, mode, boundary = np.eye(4), -np.ones(4), 1.0, np.zeros(4, int), np.arange(4)
    x = np.concatenate([x[:3] + 0.1, x[3:] * 5.0 + 3.0, x[:2]])
    residual = np.array([-5.0, -5.0, -5.0, 1.0, 0.0, 0.0])
    mode = jnp.array([0, 0, 0, 1, 0, 0])
    no = jnp.zeros(SAMPLES, bool)
    boundary = Boundary.gather(jnp.arange(6) < 3, mode, mode, no, no, SAMPLES)
    pulls = Pulls(jnp.asarray(residual), None)
    given = (pulls, jnp.zeros(()), jnp.asarray(sign), mode, boundary)
    arguments = (arrangement(x), *given)
    assert int(np.sum(np.asarray(SETTLE(*arguments, DIM).mode) == SLIDING)) == 3
    assert bool(SETTLE(*arguments, DIM).fits) and not bool(SETTLE(*arguments, 2).fits)


def test_control_a_wrong_choice_is_caught():
    """The enumeration refuses every pattern but the one found, so it can tell them apart."""
    x, residual, sign, mode, boundary = problem(3, 3, attractive=True)
    got = np.asarray(settled(x, residual, sign, mode, boundary).mode)[boundary]
    outside = (mode == ACTIVE) & ~np.isin(np.arange(SAMPLES), boundary)
    for choice in product((INACTIVE, ACTIVE, SLIDING), repeat=3):
        good = margin(x, residual, sign, outside, boundary, np.array(choice)) > 0.0
        assert good == (choice == tuple(got))
