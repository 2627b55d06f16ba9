"""Every way in which a flow can end, alone and as one lane of a batch whose other lanes are right.

From real input; what no known input reaches any more, through a fault that the test injects.
`diverged` is of rf.descent alone: test_descent_diverges.py.
"""

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import BOTH_IN_TIME, NAMES, lane, relative_difference

import reluflow as rf
from reluflow import _runge_kutta, _turning
from reluflow._boost import _integrator, _mode_transition

NEURONS, ROOM = 5, 5
NOT_WANTED = 1e-290  # a loss to stop at that no run reaches
INTEGRATORS = [rf.RungeKutta(max_sliding=0), rf.Boost(max_sliding=0)]


class Case(NamedTuple):
    net: rf.Network
    data: rf.Dataset
    t1: float = 5.0
    stop_loss: float = NOT_WANTED
    t0: float = 0.0


def active(log_scale=-3.0, neurons=NEURONS):
    """Neurons that are active everywhere and stay so: no events."""
    w = np.random.default_rng(0).uniform(0.5, 1.0, (neurons, 3))
    return rf.Network(np.full(neurons, log_scale), np.linalg.norm(w, axis=1), w)


def scattered(log_scale=-3.0):
    return rf.balanced(jax.random.key(0), NEURONS, 3, log_scale)


ORTHOGONAL = rf.Dataset(np.diag([1.0, 0.8, 1.2]), np.array([1.0, 1.5, 0.7]))
SLIDES = rf.Dataset(
    np.array([[-0.5, -1.6, 0.2], [0.1, -1.2, -0.7], [-0.1, -0.9, -0.1]]), np.array([0.1, 0.0, -0.5])
)
CASES = {
    "successful": Case(active(), ORTHOGONAL),
    "loss_reached": Case(active(), ORTHOGONAL, 100.0, stop_loss=1e-2),
    "rest_reached": Case(active(), ORTHOGONAL, np.inf),
    "max_steps_reached": Case(active(-200.0), ORTHOGONAL, 1e5),
    "event_buffer_full": Case(scattered(), ORTHOGONAL, 100.0),
    "sliding_buffer_full": Case(scattered(), SLIDES, 100.0),
    "invalid_argument": Case(active(), ORTHOGONAL, 5.0, t0=6.0),
    "not_finite": Case(active(400.0), ORTHOGONAL),
}
SEEN_EARLIER = ("invalid_argument",)  # alone, untraced: by rf.flow itself
RIGHT = ("successful", "loss_reached", "rest_reached")


def run(case, integrator, max_steps):
    """Not compiled as a whole: `max_steps` is then an argument of the one program."""
    return rf.flow(
        case.net,
        case.data,
        case.t1,
        t0=case.t0,
        integrator=integrator,
        stop_loss=case.stop_loss,
        max_steps=max_steps,
        max_events=ROOM,
        throw=False,
    )


MANY, FEW = 400, {"RungeKutta": 35, "Boost": 15}  # steps; with few, long flows alone do not end


@functools.cache
def together(integrator, max_steps):
    def stacked(*leaves):
        return jnp.stack([jnp.asarray(leaf) for leaf in leaves])

    cases = jax.tree.map(stacked, *CASES.values())
    return jax.vmap(lambda case: run(case, integrator, max_steps))(cases)


def test_there_are_no_others():
    assert set(CASES) | set(FAULTS) | {"diverged"} == set(rf.RESULTS._name_to_item)


@pytest.mark.parametrize("integrator", INTEGRATORS, ids=NAMES)
@pytest.mark.parametrize("name", CASES)
def test_alone_and_in_a_batch(integrator, name):
    most = FEW[type(integrator).__name__] if name == "max_steps_reached" else MANY
    beside = lane(together(integrator, most), list(CASES).index(name))
    assert bool(beside.result == getattr(rf.RESULTS, name)), str(beside)
    assert np.all(np.isfinite(beside.final.hidden)) and np.isfinite(beside.stats["t_final"])
    if name in SEEN_EARLIER:
        return
    alone = run(CASES[name], integrator, most)
    assert bool(alone.result == beside.result), str(alone)
    if name in RIGHT:
        assert relative_difference(beside.final, alone.final) < 1e-10


@pytest.mark.parametrize("integrator", INTEGRATORS, ids=NAMES)
def test_the_others_are_right_beside_few_steps(integrator):
    sols = together(integrator, FEW[type(integrator).__name__])
    for i, name in enumerate(RIGHT):
        assert bool(lane(sols.result, i) == getattr(rf.RESULTS, name))


# Faults, injected into the lanes whose labels are about so large; none has such by itself.
FAULTS = {"chattering": 1e2, "step_collapsed": 1e4}


def meets(fault, labels):
    size = jnp.max(jnp.abs(labels)) / FAULTS[fault]
    return (size > 0.1) & (size < 10.0)


def broken_transition(transition):
    """Finds no next pattern."""

    def broken(arrangement, pulls, *rest):
        found = transition(arrangement, pulls, *rest)
        none = found.found & ~meets("chattering", pulls.plus)
        return eqx.tree_at(lambda f: f.found, found, none)

    return broken


def broken_attempt(attempt):
    """Refuses every step of rf.RungeKutta."""

    def broken(solver, controller, problem, *rest):
        trial = attempt(solver, controller, problem, *rest)
        keep = trial.keep & ~meets("step_collapsed", problem.labels)
        return eqx.tree_at(lambda t: t.keep, trial, keep)

    return broken


def broken_go_on(go_on):
    """Refuses every step of rf.Boost."""

    def broken(question, *rest):
        trial = go_on(question, *rest)
        converged = trial.converged & ~meets("step_collapsed", question.problem.labels)
        return eqx.tree_at(lambda t: t.converged, trial, converged)

    return broken


BROKEN = [
    (_turning, "transition", broken_transition),
    (_mode_transition, "transition", broken_transition),
    (_runge_kutta, "attempt", broken_attempt),
    (_integrator, "resumed_step", broken_go_on),
]


@BOTH_IN_TIME
def test_injected_faults(monkeypatch, integrator):
    """In a program with a width that no other test has: it is compiled with the faults."""
    for module, function, broken in BROKEN:
        monkeypatch.setattr(module, function, broken(getattr(module, function)))

    def of_size(size):
        data = rf.Dataset(SLIDES.x, size * SLIDES.y)
        net = rf.balanced(jax.random.key(0), 7, 3, -3.0)
        return rf.flow(net, data, 40.0 / size, integrator=integrator, throw=False)

    lanes = {1.0: "successful", 1e2: "chattering", 1e4: "step_collapsed", 1.1: "successful"}
    sols = jax.vmap(of_size)(np.array(list(lanes)))
    for i, name in enumerate(lanes.values()):
        assert bool(lane(sols.result, i) == getattr(rf.RESULTS, name)), i
    assert np.all(np.isfinite(sols.final.hidden))
