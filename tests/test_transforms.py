"""`rf.flow` under jit and vmap, what it saves, and how it stops and speaks."""

import functools
import io
from contextlib import redirect_stdout

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import BOTH, BOTH_IN_TIME, event_list, gaussian_data, lane, relative_difference
from tolerance import assert_close

import reluflow as rf
from reluflow import _flow

DATA = functools.cache(lambda: gaussian_data(100, 4, 3))


def net(seed=0, log_lambda=-3.0):
    return rf.balanced(jax.random.key(seed), 6, 3, log_lambda)


def alone(integrator, seed=0, log_lambda=-3.0, data=None, t1=10.0, **options):
    data = DATA() if data is None else data
    options = {"integrator": integrator, "rtol": 1e-10, **options}
    return rf.flow(net(seed, log_lambda), data, t1, **options)


def same(one, other, tolerance=1e-12):
    assert int(one.events.count) == int(other.events.count)
    assert [e[1:] for e in event_list(one)] == [e[1:] for e in event_list(other)]
    times = [[event[0] for event in event_list(sol)] for sol in (one, other)]
    assert_close(*times, rtol=tolerance)
    assert relative_difference(one.final, other.final) < tolerance
    assert_close(one.losses, other.losses, rtol=tolerance)


@functools.partial(eqx.filter_jit, compiler_options=rf.compiler_options())
def lanes(integrator, keys, log_lambdas, data, t1, max_events=64):
    def one(key, log_lambda, data, t1):
        start = rf.balanced(key, 6, 3, log_lambda)
        return rf.flow(
            start, data, t1, integrator=integrator, rtol=1e-10, max_events=max_events, throw=False
        )

    return jax.vmap(one)(keys, log_lambdas, data, t1)


SEEDS, LAMBDAS = np.array([0, 1, 2, 3]), np.array([-3.0, -1.0, -8.0, -20.0])


def batch(integrator, t1, **options):
    """The four lanes together, each to its own t1."""
    data = jax.tree.map(
        lambda *leaves: jnp.stack(leaves), *[gaussian_data(100 + s, 4, 3) for s in SEEDS]
    )
    keys = jax.vmap(jax.random.key)(jnp.asarray(SEEDS))
    return lanes(integrator, keys, jnp.asarray(LAMBDAS), data, jnp.asarray(t1), **options)


def each(integrator, t1):
    """The four by themselves."""
    problems = zip(SEEDS, LAMBDAS, t1, strict=True)
    return [
        alone(integrator, int(s), ln, gaussian_data(100 + s, 4, 3), t1=end)
        for s, ln, end in problems
    ]


@functools.cache
def counted(integrator):
    """(number of events of each lane, room for those of some lanes only)."""
    counts = np.array([int(sol.events.count) for sol in each(integrator, np.full(4, 10.0))])
    room = int(np.sort(counts)[1])
    assert counts.min() <= room < counts.max()
    return counts, room


@BOTH_IN_TIME
def test_jit_is_the_same(integrator):
    jitted = jax.jit(
        lambda start, data: rf.flow(start, data, 10.0, integrator=integrator, rtol=1e-10)
    )
    same(jitted(net(), DATA()), alone(integrator))


@BOTH
def test_vmap_over_seeds_lambdas_and_data_is_the_same(integrator):
    _, room = counted(integrator)
    t1 = np.full(4, 10.0)
    # To just before the event for which there is no room.
    for i, own in enumerate(each(integrator, t1)):
        times = [event[0] for event in event_list(own)]
        t1[i] = times[room] * (1.0 - 1e-6) if len(times) > room else 10.0
    sol = batch(integrator, t1, max_events=room)
    assert sol.final.hidden.shape == (4, 6, 3) and sol.events.count.shape == (4,)
    for i, own in enumerate(each(integrator, t1)):
        same(lane(sol, i), own, 1e-11)
        # Rounding may decide at which expected event a step aims: a few attempts more or less.
        steps = int(sol.stats["num_steps"][i]), int(own.stats["num_steps"])
        assert abs(steps[0] - steps[1]) <= 2 + 0.1 * steps[1]
    assert "4 lanes" in str(sol) and "4 successful" in str(sol)


@BOTH
def test_a_lane_that_fails_reports_its_own_code(integrator):
    """With room for the events of some lanes only; the others are as they are alone."""
    counts, room = counted(integrator)
    sol = batch(integrator, np.full(4, 10.0), max_events=room)
    good = np.asarray(sol.result == rf.RESULTS.successful)
    np.testing.assert_array_equal(good, counts <= room)
    full = np.asarray(sol.result == rf.RESULTS.event_buffer_full)
    np.testing.assert_array_equal(full, counts > room)
    for i, own in enumerate(each(integrator, np.full(4, 10.0))):
        assert not good[i] or relative_difference(lane(sol.final, i), own.final) < 1e-11
    assert np.all(np.isfinite(sol.final.hidden)) and f"{good.sum()} successful" in str(sol)


@BOTH
def test_one_compilation_serves_every_value_of_a_shape(integrator, monkeypatch):
    alone(integrator)
    size = _flow._integrate.outermost()._cached._cache_size()
    for options in ({"seed": 7}, {"log_lambda": -50.0, "t1": 20.0}, {"rtol": 1e-6}, {"t0": 0.5}):
        alone(integrator, **options)
    alone(integrator, data=gaussian_data(5, 4, 3), stop_loss=1e-3, max_steps=10_000)
    assert _flow._integrate.outermost()._cached._cache_size() == size
    # Control: another shape is another compilation (of a program that test_boundaries.py has too).
    other = rf.balanced(jax.random.key(0), 2, 4, -3.0), gaussian_data(0, 4, 4)
    rf.flow(*other, 0.1, integrator=integrator)
    assert _flow._integrate.outermost()._cached._cache_size() == size + 1


# What is saved


@BOTH
def test_saves_at_times_across_events(integrator):
    """Each saved state is the end of a run that ends there, with events before and after it."""
    times = np.array([event[0] for event in event_list(alone(integrator))])
    assert len(times) >= 6
    ts = np.sort(np.concatenate([times[:4] * (1 + 1e-7), (times[2:5] + times[1:4]) / 2, [9.0]]))
    sol = alone(integrator, saveat=diffrax.SaveAt(t0=True, ts=ts, t1=True))
    np.testing.assert_array_equal(sol.ts, [0.0, *ts, 10.0])
    assert relative_difference(lane(sol.networks, 0), net()) < 1e-15
    for i, t in enumerate(ts, start=1):
        until = alone(integrator, t1=t)
        assert relative_difference(lane(sol.networks, i), until.final) < 1e-8
        assert_close(sol.losses[i], until.losses[-1], rtol=1e-8)
    assert relative_difference(lane(sol.networks, -1), sol.final) == 0.0
    assert [e[1:] for e in event_list(sol)] == [e[1:] for e in event_list(alone(integrator))]


@BOTH_IN_TIME
def test_saves_steps_and_functions(integrator):
    saveat = diffrax.SaveAt(steps=1, fn=lambda t, net, data: (t, net.output, rf.loss(net, data)))
    sol = alone(integrator, saveat=saveat, max_steps=300)
    saved = int(sol.stats["num_accepted_steps"])
    ts = np.asarray(sol.ts)
    assert np.all(np.isfinite(ts[:saved])) and np.all(np.isinf(ts[saved:])) and ts.shape == (300,)
    assert np.all(np.diff(ts[:saved]) >= 0.0) and ts[saved - 1] == 10.0
    np.testing.assert_array_equal(sol.networks[0], ts)
    np.testing.assert_array_equal(sol.networks[2], sol.losses)
    assert sol.networks[1].shape == (300, 6)
    if isinstance(integrator, rf.RungeKutta):  # its steps end at events
        assert np.all(np.isin([event[0] for event in event_list(sol)], ts))


@BOTH
def test_start_and_repeated_times(integrator):
    ts = [0.0, 0.0, 2.0, 5.0, 5.0, 5.0, 8.0, 10.0]  # as many as above: compiled already
    sol = alone(integrator, saveat=diffrax.SaveAt(t0=True, ts=ts, t1=True))
    np.testing.assert_array_equal(sol.ts, [0.0, *ts, 10.0])
    for one, other in ((0, 1), (1, 2), (4, 5), (5, 6), (8, 9)):
        assert relative_difference(lane(sol.networks, one), lane(sol.networks, other)) == 0.0


@BOTH
def test_t0_only_moves_the_clock(integrator):
    there = alone(integrator, t0=3.0, t1=13.0)
    assert relative_difference(there.final, alone(integrator).final) < 1e-9
    assert_close(
        [e[0] for e in event_list(there)],
        [e[0] + 3.0 for e in event_list(alone(integrator))],
        rtol=1e-9,
    )


@BOTH
def test_stops_at_a_loss(integrator):
    """At the first time of that loss, in the middle of the way: never above it."""
    middle = 0.5 * (float(rf.loss(net(), DATA())) + float(alone(integrator).stats["loss_final"]))
    sol = alone(integrator, stop_loss=middle)
    assert bool(sol.result == rf.RESULTS.loss_reached)
    assert 0.0 <= middle - float(sol.stats["loss_final"]) <= 1e-6 * middle
    time = float(sol.stats["t_final"])
    assert 0.0 < time < 10.0
    assert_close(alone(integrator, t1=time).stats["loss_final"], sol.losses[0], rtol=1e-8)
    assert float(alone(integrator, t1=0.999 * time).stats["loss_final"]) > middle


@BOTH
def test_stops_where_the_loss_is_there_already(integrator):
    """Nothing is integrated; a loss that is just below is not there yet."""
    first = float(rf.loss(net(), DATA()))
    for stop_loss, reached in ((10.0 * first, True), (first, True), (0.999999 * first, False)):
        sol = alone(integrator, stop_loss=stop_loss)
        assert bool(sol.result == rf.RESULTS.loss_reached)
        assert (float(sol.stats["t_final"]) == 0.0) == reached
        assert (int(sol.stats["num_steps"]) == 0) == reached
        below = min(stop_loss, first) - float(sol.losses[0])
        assert (below == 0.0) if reached else (0.0 <= below <= 1e-6 * stop_loss)


# How it speaks


@BOTH_IN_TIME
def test_progress_meter_runs(integrator):
    text = io.StringIO()
    with redirect_stdout(text):
        sol = alone(integrator, progress_meter=diffrax.TextProgressMeter())
        jax.effects_barrier()
    assert "100.00%" in text.getvalue()
    same(sol, alone(integrator))


@BOTH
def test_throw_raises_with_advice(integrator):
    with pytest.raises(RuntimeError, match="Increase `max_steps`"):
        alone(integrator, max_steps=3)


@BOTH
def test_prints_what_happened(integrator):
    sol = alone(integrator)
    text = str(sol)
    count = int(sol.events.count)
    work = "sweeps" if isinstance(integrator, rf.Boost) else "field evaluations"
    for word in ("successful", "6 neurons", "t = 10", f"events   {count}", work):
        assert word in text
    assert len(text.splitlines()) < 10 and max(map(len, text.splitlines())) < 110
    assert "max_steps" in str(alone(integrator, max_steps=3, throw=False))
