"""Every way to fail has its own code; none hangs, none returns NaN as if it were an answer."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import BOTH, event_list, five_points, gaussian_data
from tolerance import assert_close

import reluflow as rf


def run(integrator, net=None, data=None, t1=10.0, **options):
    net = rf.balanced(jax.random.key(0), 6, 3, -3.0) if net is None else net
    data = gaussian_data(100, 4, 3) if data is None else data
    return rf.flow(net, data, t1, **{"integrator": integrator, "throw": False, **options})


def finite(sol):
    return bool(np.all(np.isfinite(sol.final.hidden)) and np.isfinite(sol.stats["loss_final"]))


@BOTH
def test_event_buffer_full(integrator):
    """One place too few; with exactly as many as there are events it is no failure."""
    everything = event_list(run(integrator))
    count = len(everything)
    before_last = 0.5 * (everything[-2][0] + everything[-1][0])
    assert count >= 6 and everything[-2][0] < before_last < everything[-1][0]
    enough = run(integrator, max_events=count - 1, t1=before_last)
    assert bool(enough.result == rf.RESULTS.successful) and int(enough.events.count) == count - 1
    sol = run(integrator, max_events=count - 1)
    assert bool(sol.result == rf.RESULTS.event_buffer_full) and finite(sol)
    assert int(sol.events.count) > count - 1
    kept = [np.asarray(column) for column in (sol.events.time, sol.events.neuron)]
    assert_close(kept[0], [event[0] for event in everything[:-1]], rtol=1e-8)
    np.testing.assert_array_equal(kept[1], [event[1] for event in everything[:-1]])
    assert float(sol.stats["t_final"]) < 10.0


@BOTH
def test_max_steps(integrator):
    sol = run(integrator, max_steps=7)
    assert bool(sol.result == rf.RESULTS.max_steps_reached) and finite(sol)
    assert int(sol.stats["num_steps"]) == 7 and 0.0 < float(sol.stats["t_final"]) < 10.0
    exactly = int(run(integrator).stats["num_steps"])
    assert bool(run(integrator, max_steps=exactly).result == rf.RESULTS.successful)


def test_sliding_buffer():
    """With rf.Boost: test_every_result.py."""
    net, data = five_points()
    sol = rf.flow(net, data, 120.0, integrator=rf.RungeKutta(max_sliding=0), throw=False)
    assert bool(sol.result == rf.RESULTS.sliding_buffer_full) and finite(sol)
    assert 0.0 < float(sol.stats["t_final"]) < 120.0


@BOTH
@pytest.mark.parametrize("size", [1e155, 1e200, 1e300])
def test_not_finite(integrator, size):
    """Weights whose predictions overflow."""
    net = rf.Network.from_weights(np.full(6, size), np.full((6, 3), size))
    sol = run(integrator, net, max_steps=1000)
    assert bool(sol.result == rf.RESULTS.not_finite)
    assert float(sol.stats["t_final"]) == 0.0 and np.all(np.isfinite(sol.final.hidden))


@BOTH
@pytest.mark.parametrize(
    ("factor", "result"),
    [
        (1e-100, rf.RESULTS.max_steps_reached),  # 10 / factor is far behind convergence
        (1e30, rf.RESULTS.successful),
        (1e100, rf.RESULTS.successful),
    ],
)
def test_labels_of_extreme_size(integrator, factor, result):
    data = gaussian_data(100, 4, 3)
    sol = run(integrator, data=rf.Dataset(data.x, factor * data.y), t1=10.0 / factor, max_steps=500)
    assert bool(sol.result == result) and finite(sol)


class Hopeless(diffrax.Tsit5):
    """Tsit5, with an error estimate that no step size brings below the tolerance."""

    def step(self, *args, **kwargs):
        end, error, *rest = super().step(*args, **kwargs)
        return end, jax.tree.map(jnp.ones_like, error), *rest


def test_step_collapse():
    """A step that shrinks to nothing ends with its own code, where it stands; Tsit5 does not."""
    sol = run(integrator=rf.RungeKutta(Hopeless()))
    assert bool(sol.result == rf.RESULTS.step_collapsed)
    assert float(sol.stats["t_final"]) == 0.0 and finite(sol)
    tsit5 = rf.RungeKutta(diffrax.Tsit5(), max_sliding=3)
    assert bool(run(tsit5).result == rf.RESULTS.successful)


def test_a_root_finder_that_fails_is_no_overflow():
    """An implicit solver whose stages are not solved collapses: nothing is infinite there."""
    impatient = diffrax.Kvaerno5(
        root_finder=diffrax.VeryChord(rtol=1e-30, atol=1e-300), root_find_max_steps=1
    )
    sol = run(integrator=rf.RungeKutta(impatient))
    assert bool(sol.result == rf.RESULTS.step_collapsed) and finite(sol)


@BOTH
def test_a_dead_network_is_no_failure(integrator):
    """Nothing is active, or nothing is there: the flow stands still."""
    data = gaussian_data(100, 4, 3)
    for net in (
        rf.Network.from_weights(np.zeros(6), np.zeros((6, 3))),
        rf.Network([-300.0] * 6, np.zeros(6), -np.tile(np.asarray(data.x[0]), (6, 1))),
    ):
        sol = run(integrator, net, data, 1.0)
        assert bool(sol.result == rf.RESULTS.successful) and finite(sol)
        assert float(sol.stats["t_final"]) == 1.0


def test_every_code_says_what_to_try():
    for code in (
        rf.RESULTS.max_steps_reached,
        rf.RESULTS.event_buffer_full,
        rf.RESULTS.sliding_buffer_full,
        rf.RESULTS.step_collapsed,
        rf.RESULTS.chattering,
        rf.RESULTS.not_finite,
    ):
        message = rf.RESULTS[code]
        assert any(word in message for word in ("Increase", "Loosen", "Perturb", "Look for"))


@BOTH
def test_a_failing_run_keeps_the_final_state_consistent(integrator):
    """`t_final` and `final` belong together: resuming from them gives the same end."""
    sol = run(integrator, max_steps=15, rtol=1e-11)
    time = float(sol.stats["t_final"])
    until = run(integrator, t1=time, rtol=1e-11)
    assert_close(until.final.weights()[1], sol.final.weights()[1], atol=1e-9)
    assert jnp.all(jnp.isfinite(sol.final.log_scale))
