"""Phases: when they end against theory, shifts with lambda, and what the loss curve shows."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tolerance import assert_close
from trajectories import (
    RATE_MINUS,
    RATE_PLUS,
    in_other_units,
    lazy,
    on_five_points,
    on_orthonormal,
    on_two_points,
)

import reluflow as rf
from reluflow.analysis import phases, plateaus

ALL = ["alignment", "growth", "fitting", "plateau", "fitting", "convergence"]
SMALL = [-20.0, -40.0, -1000.0]


def names(found):
    return [phase.name for phase in found]


@pytest.mark.parametrize("log_lambda", SMALL)
def test_two_points(log_lambda):
    """2022, section 4: drops near ln(1/lambda)/|D+| and ln(1/lambda)/|D-|."""
    found = phases(*on_two_points(log_lambda))
    assert names(found) == ALL
    alignment, growth, first, _, second, convergence = found
    ts = np.asarray(on_two_points(log_lambda)[0].ts)
    assert found[0].begin == 0.0 and found[-1].end == ts[-1]
    assert all(before.end == after.begin for before, after in itertools.pairwise(found))
    for phase, rate in ((growth, RATE_PLUS), (second, RATE_MINUS)):
        left = phase.end if phase is growth else phase.begin
        # The size at the start and the one at which the loss is left are both O(1) factors; for
        # e^-1000 the saves are 2.3 apart.
        assert abs(left + log_lambda / rate) < 4.0 / rate + ts[1]
    # Alignment is a matter of 1 / |D|, whatever lambda is.
    assert alignment.end < 2.0 / RATE_PLUS + ts[1]
    assert first.end - first.begin < 8.0 / RATE_PLUS
    # (1 - f)^2 of the last drop is left where q = 2 f / (1 - f) = 10.
    assert_close(convergence.loss[0] / 0.25, 1.0 / 36.0, rtol=0.35)


def test_a_smaller_lambda_only_delays():
    """Scaling the start by e^-20 makes drops 20 / |D| later, and changes no fitting time."""
    near, far = (phases(*on_two_points(log_lambda)) for log_lambda in (-20.0, -40.0))
    assert_close(far[1].end - near[1].end, 20.0 / RATE_PLUS, atol=5e-3)
    assert_close(far[4].begin - near[4].begin, 20.0 / RATE_MINUS, atol=5e-3)
    assert_close(far[0].end, near[0].end, atol=2e-2)
    for index in (2, 4):
        lengths = [found[index].end - found[index].begin for found in (near, far)]
        assert_close(*lengths, rtol=2e-2)


def test_a_larger_lambda_has_no_plateau():
    """2022, section 3.2: at scale 1e-2 there is no intermediate saddle."""
    assert names(phases(*on_two_points(np.log(1e-2 / np.sqrt(120.0))))) == [*ALL[:3], "convergence"]


@pytest.mark.parametrize(
    "problem",
    [
        on_five_points,
        *(lambda ln=ln: on_two_points(ln) for ln in SMALL),
        lambda: on_orthonormal(4),
        lambda: on_orthonormal(6),
    ],
)
def test_what_the_loss_curve_shows(problem):
    """Standing still by the state is standing still by differences of losses."""
    sol, data = problem()
    found, seen = phases(sol, data), plateaus(sol)
    standing = [phase for phase in found if phase.name in ("growth", "plateau")]
    assert len(standing) == len(seen)
    for phase, plateau in zip(standing, seen, strict=True):
        end = plateau.end if np.isfinite(plateau.end) else float(sol.ts[-1])
        assert_close(phase.end, end, rtol=1e-2)
        if phase.name == "plateau":
            assert_close(phase.begin, plateau.start, rtol=1e-2)


def test_five_points():
    """2022, Fig. 4: the drops at 54 and 115 are one, with no saddle between; then one at 361."""
    sol, data = on_five_points()
    found = phases(sol, data)
    assert names(found) == ALL
    drops = [phase.loss[0] - phase.loss[1] for phase in found.named("fitting")]
    assert sum(drops) > 0.8 * float(sol.losses[0])
    assert np.all(np.diff([phase.begin for phase in found]) > 0.0)


def test_of_size_e_to_the_minus_10000():
    """Saves are 22 apart, a drop takes 4: between two saves that stand still it is seen."""
    found = phases(*on_two_points(-10000.0))
    assert names(found) == ALL
    assert_close(found[1].end, 10000.0 / RATE_PLUS, rtol=5e-3)
    assert_close(found[4].begin, 10000.0 / RATE_MINUS, rtol=5e-3)


def test_a_descent_has_the_phases_of_its_flow():
    """It records no events, so that patterns are signs; its step is 1% of the time to align."""
    sol, data = on_two_points(-20.0)
    start = jax.tree.map(lambda leaf: leaf[0], sol.networks)
    steps = rf.descent(start, data, optax.sgd(1e-2), round(float(sol.ts[-1]) / 1e-2), save_every=10)
    flow, found = phases(sol, data), phases(steps, data)
    assert names(found) == names(flow)
    begins = np.array([[phase.begin for phase in both] for both in (flow, found)])
    assert_close(begins[1], begins[0], atol=0.3)


def test_lazy():
    """2022, Fig. 5: nothing aligns, grows or waits."""
    assert names(phases(*lazy())) == ["fitting", "convergence"]


@pytest.mark.parametrize("factor", [1e-6, 1e5])
@pytest.mark.parametrize("problem", [on_five_points, lambda: on_two_points(-40.0), lazy])
def test_no_units(problem, factor):
    """Labels c y: the same phases, c times faster. No threshold knows a scale."""
    sol, data = problem()
    found, other = phases(sol, data), phases(*in_other_units(sol, data, factor))
    assert names(other) == names(found)
    ends = [[phase.end for phase in both] for both in (found, other)]
    assert_close(np.array(ends[1]) * factor, ends[0], rtol=1e-9)


def test_a_run_that_ends_early():
    sol, data = on_two_points(-40.0)
    for end, expected in ((20.0, ALL[:2]), (33.8, ALL[:3]), (60.0, ALL[:4])):
        kept = int(np.searchsorted(sol.ts, end))
        short = eqx.tree_at(
            lambda s: (s.ts, s.losses, s.networks),
            sol,
            jax.tree.map(lambda leaf, k=kept: leaf[:k], (sol.ts, sol.losses, sol.networks)),
        )
        found = phases(short, data)
        assert names(found) == expected and found[-1].end == float(sol.ts[kept - 1])


def test_a_run_that_begins_at_the_saddle():
    """The control of 'alignment': the same words are not found where nothing aligns."""
    sol, data = on_two_points(-40.0)
    start = int(np.searchsorted(sol.ts, 50.0))
    late = eqx.tree_at(
        lambda s: (s.ts, s.losses, s.networks),
        sol,
        jax.tree.map(lambda leaf: leaf[start:], (sol.ts, sol.losses, sol.networks)),
    )
    assert names(phases(late, data)) == ["plateau", "fitting", "convergence"]


def test_neurons_that_are_aligned_already_skip_alignment():
    data = rf.datasets.two_points()
    x, y = np.asarray(data.x), np.asarray(data.y)
    force = np.where(y > 0.0, y, 0.0) @ x / 2.0
    w = force / np.linalg.norm(force)
    net = rf.Network([-20.0], [1.0], w[None])
    sol, _ = on_two_points(-20.0)
    nets = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), net)
    # A still picture of such a start is all that is needed.
    still = eqx.tree_at(
        lambda s: (s.ts, s.losses, s.networks, s.events),
        sol,
        (jnp.arange(3.0), jnp.full(3, 0.5), nets, rf.Events.empty(4)),
    )
    assert names(phases(still, data)) == ["growth"]
    turn = jnp.array([[1.0, 1.0], [-1.0, 1.0]])
    away = eqx.tree_at(lambda s: s.networks.hidden, still, nets.hidden @ turn)
    assert names(phases(away, data)) == ["alignment"]


def test_other_data_give_other_phases():
    """The control: with the labels exchanged the same states tell another story."""
    sol, data = on_two_points(-40.0)
    wrong = rf.Dataset(data.x, data.y[::-1])
    losses = rf.loss(sol.networks, wrong)
    assert names(phases(eqx.tree_at(lambda s: s.losses, sol, losses), wrong)) != ALL
    with pytest.raises(ValueError, match="`data` must be the data set of the run"):
        phases(sol, wrong)  # whose saved losses are others


def test_arguments():
    sol, data = on_two_points(-40.0)
    once = jax.tree.map(lambda leaf: leaf[:1], (sol.ts, sol.losses, sol.networks))
    with pytest.raises(ValueError, match="two saved times"):
        phases(eqx.tree_at(lambda s: (s.ts, s.losses, s.networks), sol, once), data)
    with pytest.raises(ValueError, match="`sol`"):
        phases(jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], sol), data)


def test_printing():
    lines = str(phases(*on_two_points(-20.0))).splitlines()
    assert lines[0].split() == ["phase", "begin", "end", "loss"]
    assert [line.split()[0] for line in lines[1:]] == ALL
