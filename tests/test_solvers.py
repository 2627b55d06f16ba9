"""Any adaptive Runge-Kutta solver of diffrax: the same flow, to the tolerance."""

import diffrax
import pytest
from problems import event_list, relative_difference, small
from tolerance import assert_close

import reluflow as rf

T1 = 20.0


def run(solver, rtol):
    net, data = small()
    return rf.flow(net, data, T1, rtol=rtol, integrator=rf.RungeKutta(solver, max_sliding=3))


@pytest.fixture(scope="module")
def exact():
    sol = run(diffrax.Dopri8(), 1e-13)
    assert len(event_list(sol)) >= 6
    return sol


@pytest.mark.parametrize(
    ("solver", "rtol", "error"),
    [
        (diffrax.Dopri8(), 1e-11, 1e-9),
        (diffrax.Tsit5(), 1e-10, 1e-8),
        (diffrax.Dopri5(), 1e-10, 1e-8),
        (diffrax.Kvaerno5(), 1e-8, 1e-5),
        (diffrax.Heun(), 1e-6, 1e-4),
    ],
    ids=["Dopri8", "Tsit5", "Dopri5", "Kvaerno5", "Heun"],
)
def test_agrees(exact, solver, rtol, error):
    sol = run(solver, rtol)
    events, expected = event_list(sol), event_list(exact)
    assert [event[1:] for event in events] == [event[1:] for event in expected]
    assert_close([e[0] for e in events], [e[0] for e in expected], rtol=error)
    assert relative_difference(sol.final, exact.final) < error
    # Control: at a tolerance a thousand times looser the error is larger, so it is the solver's.
    loose = run(solver, 1e3 * rtol).final
    assert relative_difference(loose, exact.final) > relative_difference(sol.final, exact.final)


def test_evaluations_are_counted():
    """Stages a step, and four more for the Taylor expansion at its end."""
    for solver, stages in ((diffrax.Tsit5(), 6), (diffrax.Dopri8(), 13)):
        sol = run(solver, 1e-8)
        steps, counted = int(sol.stats["num_steps"]), int(sol.stats["num_field_evaluations"])
        assert counted == steps * (stages + 4)
    assert int(run(diffrax.Kvaerno5(), 1e-6).stats["num_field_evaluations"]) == -1  # does not tell


@pytest.mark.parametrize(
    "solver", [diffrax.Euler(), diffrax.SemiImplicitEuler(), diffrax.ImplicitEuler()]
)
def test_unsuitable_solvers_are_refused(solver):
    with pytest.raises(ValueError, match="Argument `solver` must be an adaptive Runge-Kutta"):
        rf.RungeKutta(solver)
