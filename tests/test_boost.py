"""The boost integrator: against the other one, its cost, its dense output, inside diffrax."""

import functools

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import (
    event_list,
    five_points,
    gaussian_data,
    oracle,
    oracle_network,
    relative_difference,
    two_points,
)
from tolerance import assert_close

import reluflow as rf
from reluflow.claims import _jumping, relaxations

flow = functools.partial(rf.flow, integrator=rf.Boost())


def compare(net, data, t1, rtol, **options):
    """(Boost at rtol, RungeKutta at 1e-12)."""
    sol = flow(net, data, t1, rtol=rtol, **options)
    return sol, rf.flow(net, data, t1, rtol=1e-12, integrator=rf.RungeKutta(), **options)


def at(networks, i):
    return jax.tree.map(lambda leaf: leaf[i], networks)


def largest_difference(ours, theirs, times):
    """Over the time axis, neuron by neuron relative to its own size."""
    return max(relative_difference(at(ours, i), at(theirs, i)) for i in range(times))


@pytest.mark.slow  # compilation
def test_saved_states_keep_the_tolerance():
    """At 20 times, inside steps and at their ends, with the steps of a run that saves nothing."""
    for make, t1 in ((two_points, 40.0), (five_points, 120.0)):
        net, data = make()
        saveat = diffrax.SaveAt(ts=np.linspace(0.0, t1, 21))
        sol, ref = compare(net, data, t1, 1e-8, saveat=saveat)
        assert largest_difference(sol.networks, ref.networks, 21) < 1e-7
        alone = flow(net, data, t1, rtol=1e-8)
        assert int(alone.stats["num_steps"]) == int(sol.stats["num_steps"])
        assert int(sol.stats["num_sweeps"]) == int(alone.stats["num_sweeps"])


@pytest.mark.parametrize("rtol", [1e-4, 1e-6, 1e-8, 1e-10])
def test_the_error_follows_the_tolerance(rtol):
    net, data = five_points()
    sol, ref = compare(net, data, 120.0, rtol)
    assert relative_difference(sol.final, ref.final) < 10.0 * rtol
    assert [e[1:] for e in event_list(sol)] == [e[1:] for e in event_list(ref)] or rtol > 1e-7


def test_long_hops():
    """Rapidities of 50 and more: no exponential may go backwards there (it lost all digits)."""
    net, data = two_points(-1000.0)
    sol, ref = flow(net, data, 1800.0, rtol=1e-12), oracle(net, data, 1800.0)
    assert relative_difference(sol.final, oracle_network(ref.final)) < 1e-8


@pytest.mark.slow  # compilation
def test_events_do_not_cut_steps():
    """While neurons are tiny, r does not kink: hundreds of events in a handful of steps."""
    data = rf.datasets.orthonormal(jax.random.key(1), 32)
    net = rf.balanced(jax.random.key(0), 52, 32, np.log(1e-8))
    sol = flow(net, data, 300.0)
    assert int(sol.events.count) > 300 and int(sol.stats["num_steps"]) < 50
    # Control: on Gaussian data with neurons of size e^-1, they do.
    net, data = rf.balanced(jax.random.key(0), 20, 4, -1.0), gaussian_data(0, 10, 4)
    sol = flow(net, data, 20.0)
    assert int(sol.stats["num_steps"]) > 0.3 * int(sol.events.count)


@pytest.mark.parametrize("size", [20.0, 1000.0, 10_000.0])
def test_lambda_costs_few_steps(size):
    """At lambda = 10^-size, with at most twice the steps at 1e-6."""
    steps = []
    for exponent in (6.0, size):
        net, data = two_points(-exponent * np.log(10.0))
        sol = flow(net, data, 2.6 * exponent * np.log(10.0), rtol=1e-7)
        assert float(sol.stats["loss_final"]) < 1e-10
        steps.append(int(sol.stats["num_steps"]))
    assert steps[1] <= 2 * steps[0], steps


def test_at_rest_nothing_chatters():
    """Far beyond convergence, where residuals are noise to the tolerance of their step: the flow's
    own loss is 0 there, and what is left of ours is (rtol times the labels)^2 at most."""
    net, data = five_points()
    sol = flow(net, data, 20_000.0, rtol=1e-8)
    assert float(sol.stats["loss_final"]) < 1e-16 * np.mean(np.square(data.y)) / 2.0
    assert int(sol.events.count) < 400


def test_at_rest_for_ever():
    """Steps of 1e11, in which a guess that kept a residual of 1e-13 moved a neuron by 1e-4."""
    net = rf.balanced(jax.random.key(0), 3, 2, -8.0)
    data = rf.Dataset([[-0.5, 1.0], [2.0, 1.0]], [-1.0, 1.0])
    sol = flow(net, data, 2e12, saveat=diffrax.SaveAt(steps=True), max_steps=400)
    losses = np.asarray(sol.losses)[: int(sol.stats["num_accepted_steps"])]
    assert np.max(losses[np.argmax(losses < 1e-20) :]) < 1e-20


def test_units_that_cease_to_slide_are_not_driven_back():
    """They cease by one approximation of r, and move under another. With a guess of the next step
    that did not begin where the neurons are, 25 attempts were rejected here."""
    x = jax.random.normal(jax.random.key(2), (20, 30)) / np.sqrt(30.0)
    data = rf.Dataset(x, jax.random.normal(jax.random.key(102), (20,)))
    net = rf.balanced(jax.random.key(202), 30, 30, -15.0)
    sol = flow(net, data, 400.0, rtol=1e-4)
    assert sol.events.tally()["leave"] > 50
    assert int(sol.stats["num_rejected_steps"]) <= 10


@pytest.mark.parametrize("seed", [0, 1, 4])
def test_the_residual_of_a_fitted_sample_decides_nothing(seed):
    """It is rounding, of either sign; a tiny neuron that has turned away from that sample is within
    rounding of its boundary. Looking back at steps, the neuron switched there for ever."""
    data = rf.datasets.orthonormal(jax.random.key(seed), 16, labels="positive")
    net = rf.balanced(jax.random.key(seed + 50), 6, 16, -1000.0)
    net = rf.Network(net.log_scale, jnp.abs(net.output), net.hidden)
    process = rf.theory.limit_process(net, data)
    jumps = np.asarray(process.times(-1000.0))[: int(process.num_jumps)]
    ts = np.linspace(0.0, 1.1 * jumps[-1], 300)
    sol = flow(net, data, ts[-1], saveat=diffrax.SaveAt(ts=ts))
    assert int(sol.stats["num_ambiguous"]) == 0
    # On the plateaus, which the times of O(1) around a jump are no part of.
    on = np.min(np.abs(ts[:, None] - jumps), axis=1) > 0.05 * jumps[-1]
    levels = np.asarray(process.losses)[np.searchsorted(jumps, ts[on])]
    assert_close(np.asarray(sol.losses)[on], levels, atol=1e-3)


def test_one_dimension():
    """A neuron shrinks by e^-40 on its stable manifold a = -w, which rounding leaves."""
    net, data = rf.Network([-5.0], [-1.0], [[1.0]]), rf.Dataset([[1.0]], [1.0])
    sol = flow(net, data, 40.0, rtol=1e-11)
    assert int(sol.events.count) == 0
    # There w' = -w (1 + w^2), so that w^2 / (1 + w^2) falls as e^{-2t}.
    start = np.exp(-10.0)
    share = start / (1.0 + start) * np.exp(-80.0)
    w = np.sqrt(share / (1.0 - share))
    assert relative_difference(sol.final, rf.Network([0.0], [-w], [[w]])) < 1e-9


@pytest.mark.parametrize(("make", "t1"), [(two_points, 3000.0), (five_points, 700.0)])
def test_balancedness_over_a_long_run(make, t1):
    """a_j^2 - |w_j|^2 to 1e-10 of the neuron's own square."""
    net, data = make()
    final = flow(net, data, t1, rtol=1e-8).final
    a, w = np.asarray(final.output), np.asarray(final.hidden)
    square = np.sum(w**2, axis=1)
    assert np.max(np.abs(a**2 - square) / (a**2 + square)) < 1e-10


@pytest.mark.slow  # compilation
# diffrax fills the buffers of a dense output, also those of modes, with inf.
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_inside_diffrax():
    """As a solver of `diffrax.diffeqsolve`, with its controller, SaveAt and dense output."""
    net, data = two_points()
    times = np.linspace(1.0, 40.0, 40)
    ref = rf.flow(
        net, data, 40.0, rtol=1e-12, integrator=rf.RungeKutta(), saveat=diffrax.SaveAt(ts=times)
    )

    def solve(solver, saveat):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(rf.field),
            solver,
            0.0,
            40.0,
            0.1,
            net,
            args=data,
            saveat=saveat,
            stepsize_controller=diffrax.PIDController(rtol=1e-8, atol=1e-8),
            max_steps=256,
        )

    sol = solve(rf.Boost(), diffrax.SaveAt(ts=times, dense=True))
    assert largest_difference(sol.ys, ref.networks, 40) < 1e-7
    assert relative_difference(sol.evaluate(times[12]), at(ref.networks, 12)) < 1e-7
    assert int(sol.stats["num_steps"]) < 60


def test_constant_steps():
    """The error falls with the sixth power of the step at least, through 29 events; a step in which
    the residual cannot be closed does not pass for one, and backwards in time there is none."""
    net, data = two_points()
    exact = oracle_network(oracle(net, data, 12.48).final)

    @functools.partial(eqx.filter_jit, compiler_options=rf.compiler_options())
    def end(t1, step):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(rf.field),
            rf.Boost(rtol=1e-13),
            0.0,
            t1,
            step,
            net,
            args=data,
            adjoint=diffrax.ForwardMode(),
            throw=False,
        )

    def error(steps):
        sol = end(np.float64(12.48), np.float64(12.48 / steps))
        assert sol.result == diffrax.RESULTS.successful
        assert int(sol.stats["num_steps"]) == steps
        return relative_difference(at(sol.ys, 0), exact)

    errors = [error(steps) for steps in (4, 8, 16)]
    assert errors[1] < errors[0] / 2.0**6 and errors[2] < errors[1] / 2.0**6
    assert errors[0] > 1e-9  # it is not all rounding
    assert end(np.float64(40.0), np.float64(40.0)).result == diffrax.RESULTS.nonlinear_divergence
    with pytest.raises(RuntimeError, match="forwards in time"):
        end(np.float64(-1.0), np.float64(-1.0))


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("terms", "args", "error", "message"),
    [
        (diffrax.ODETerm(lambda t, y, args: y), rf.datasets.two_points, ValueError, "rf.field"),
        (
            diffrax.MultiTerm(*2 * [diffrax.ODETerm(rf.field)]),
            rf.datasets.two_points,
            ValueError,
            "rf.field",
        ),
        (diffrax.ODETerm(rf.field), lambda: None, TypeError, "args=rf.Dataset"),
    ],
)
def test_another_problem_inside_diffrax_is_refused(terms, args, error, message):
    """It looks at its arguments alone: any other term would be ignored."""
    net, _ = two_points()
    with pytest.raises(error, match=message):
        diffrax.diffeqsolve(terms, rf.Boost(), 0.0, 1.0, 0.1, net, args=args())


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize("bad", [{"max_sliding": -1}, {"max_sliding": 1.5}, {"rtol": 0.0}])
def test_bad_settings(bad):
    with pytest.raises(ValueError, match="must"):
        rf.Boost(**bad)


@pytest.mark.slow
def test_an_output_that_vanishes_where_the_flow_is_saved():
    """Outputs that pass 0, |a_j| < |w_j|, in 400 looks back; one stopped a rounding before 0."""
    net, data, process = relaxations._gaussian(0)
    net, ts = _jumping.at(net, -10.0), _jumping.save_times(process, data.samples, -10.0)
    saveat = diffrax.SaveAt(ts=jnp.asarray(ts))
    ours, theirs = (
        rf.flow(net, data, ts[-1], integrator=kind, rtol=rtol, saveat=saveat)
        for kind, rtol in ((rf.Boost(), 1e-10), (rf.RungeKutta(), 1e-12))
    )
    assert np.max(np.abs(ours.losses - theirs.losses)) < 1e-9
    assert np.any(np.sign(ours.final.output) != np.sign(net.output))
