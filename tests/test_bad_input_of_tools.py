"""What analysis, plot, theory and descent say to arguments of the wrong kind."""

import functools

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from matplotlib.figure import Figure
from problems import small

import reluflow as rf
from reluflow import analysis, plot, theory

pytestmark = pytest.mark.usefixtures("without_type_checks")

KEY = jax.random.key(0)
NET, DATA = small()
MANY = jax.tree.map(lambda leaf: leaf[None], NET)
ORTHONORMAL = rf.datasets.orthonormal(KEY, 3, 4)
BALANCED = rf.balanced(KEY, 5, 4, -1.0)
LINE, LINE_NET = rf.datasets.five_points(), rf.balanced(KEY, 5, 2, -1.0)


@functools.cache
def solution(**options):
    """Of rf.RungeKutta, for a solution of rf.Boost has the same fields."""
    saveat = diffrax.SaveAt(ts=np.linspace(0.0, 10.0, 41), **options)
    return rf.flow(NET, DATA, 10.0, integrator=rf.RungeKutta(max_sliding=3), saveat=saveat)


def outputs():
    return solution(fn=output_of)


def output_of(t, net, data):
    return net.output


def lanes():
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], solution())


NO_SOLUTIONS = [None, NET, DATA, np.zeros(3), 0.5, "sol"]
NO_NETWORKS = [None, DATA, NET.weights(), "net"]
NO_DATA = [None, NET, (DATA.x, DATA.y), "data"]


@pytest.mark.parametrize("sol", NO_SOLUTIONS, ids=lambda sol: type(sol).__name__)
@pytest.mark.parametrize(
    "function",
    [
        analysis.plateaus,
        analysis.jumps,
        analysis.balance_drift,
        analysis.reactivations,
        *(
            functools.partial(f, data=DATA)
            for f in (analysis.phases, analysis.saddles, analysis.alignment, analysis.local_pl)
        ),
        functools.partial(analysis.logistic_fit, neurons=[0]),
        plot.loss_curve,
        plot.log_norms,
        functools.partial(plot.saddles, found=[]),
    ],
)
def test_no_solution(function, sol):
    with pytest.raises(TypeError, match=r"Argument `sol` must be of type rf\.Solution, but it is"):
        function(sol)


OF_A_NETWORK = [
    analysis.clusters,
    analysis.effective_neurons,
    analysis.principal_components,
    plot.principal_components,
]
OF_BOTH = [
    *((f, DATA, NET) for f in (rf.loss, analysis.unfitted, plot.state)),
    *((f, LINE, LINE_NET) for f in (analysis.kinks, plot.kinks)),
    (analysis.norm_ratio, ORTHONORMAL, BALANCED),
    *(
        (f, ORTHONORMAL, BALANCED)
        for f in (
            theory.S_plus_1,
            theory.S_minus_1,
            theory.assumptions,
            theory.limit_process,
            theory.kernel_flow,
            theory.neural_tangent_kernel,
            theory.masks,
            theory.pl_constant,
            theory.pl_lower_bound,
            theory.pl_ratio,
            theory.pattern_directions,
        )
    ),
]
NO_LEADING_AXES = {theory.S_plus_1, theory.S_minus_1, rf.loss, analysis.norm_ratio}


@pytest.mark.parametrize("function", OF_A_NETWORK)
def test_no_network(function):
    for net in NO_NETWORKS:
        with pytest.raises(TypeError, match=r"Argument `net` must be of type rf\.Network"):
            function(net)
    with pytest.raises(ValueError, match=r"Argument `net` must be a single network"):
        function(MANY)


@pytest.mark.parametrize(("function", "data", "net"), OF_BOTH)
def test_no_network_or_no_data(function, data, net):
    for wrong in NO_NETWORKS:
        with pytest.raises(TypeError, match=r"Argument `net` must be of type rf\.Network"):
            function(wrong, data)
    for wrong in NO_DATA:
        with pytest.raises(TypeError, match=r"Argument `data` must be of type rf\.Dataset"):
            function(net, wrong)
    other = rf.balanced(KEY, 3, data.dim + 1, -1.0)
    with pytest.raises(ValueError, match="`net` and `data` must have the same input dimension"):
        function(other, data)
    many = jax.tree.map(lambda leaf: leaf[None], net)
    if function in NO_LEADING_AXES:
        assert jnp.shape(function(many, data)) == (1, *jnp.shape(function(net, data)))
    else:
        with pytest.raises(ValueError, match=r"Argument `net` must be a single network"):
            function(many, data)
    function(net, data)  # the control


@pytest.mark.parametrize(
    "function",
    [
        theory.D_plus,
        theory.D_minus,
        theory.minimal_squared_norm,
        theory.minimal_variation_norm,
        theory.minimal_norm_network,
        theory.largest_epsilon,
        theory.pl_lemma_5,
        theory.minimal_norm_interpolator,
        functools.partial(theory.phases, log_lambda=-10.0),
        functools.partial(theory.logistic_law, 1.0, -20.0),
    ],
)
def test_no_data(function):
    for wrong in NO_DATA:
        with pytest.raises(TypeError, match=r"Argument `data` must be of type rf\.Dataset"):
            function(data=wrong)


@pytest.mark.parametrize(
    "function",
    [
        analysis.phases,
        analysis.saddles,
        analysis.alignment,
        functools.partial(analysis.local_pl, begin=0.0),
    ],
)
def test_the_data_of_another_run(function):
    """Plausible numbers that are wrong: the loss at the saved states tells."""
    sol = solution()
    x, y = np.asarray(DATA.x), np.asarray(DATA.y)
    for other in (
        rf.Dataset(x, y[::-1]),
        rf.Dataset(x[::-1], y),
        rf.Dataset(x[::-1], y[::-1]),  # whose losses are the same, but not whose events
        rf.Dataset(x, 2.0 * y),
        rf.Dataset(x, y * (1.0 + 1e-6)),
        rf.Dataset(x * (1.0 - 1e-6), y),
        rf.Dataset(x[:3], y[:3]),
        rf.Dataset(np.concatenate([x, x[:1] + x[1:2]]), np.append(y, 0.1)),
    ):
        with pytest.raises(ValueError, match="`data` must be the data set of the run, but"):
            function(sol, other)
    with pytest.raises(ValueError, match="must have the same input dimension"):
        function(sol, rf.datasets.two_points())
    with pytest.raises(TypeError, match="`data`"):
        function(sol, (x, y))
    function(sol, rf.Dataset(x * (1.0 + 1e-14), y))  # the control: rounding is no other data


SOL_CALLS = [
    (lambda: analysis.phases(lanes(), DATA), ValueError, "`sol` must be a single trajectory"),
    (lambda: analysis.phases(outputs(), DATA), ValueError, "`sol` must hold the networks"),
    (lambda: plot.log_norms(outputs()), ValueError, "`sol` must hold the networks"),
    (lambda: analysis.local_pl(solution(), DATA, "late"), TypeError, "`begin` must be a number"),
    (lambda: analysis.local_pl(solution(), DATA, np.nan), TypeError, "`begin` must be a number"),
    (lambda: analysis.local_pl(solution(), DATA, 1e9), ValueError, "`begin`"),
    (lambda: analysis.saddles(solution(), DATA, "tight"), TypeError, "`tolerance`"),
    (lambda: analysis.saddles(solution(), DATA, -1.0), ValueError, "`tolerance` must lie in"),
    (lambda: analysis.logistic_fit(solution(), [0], "a"), TypeError, "`begin`"),
    (lambda: analysis.logistic_fit(solution(), [0], 0.0, np.nan), TypeError, "`end`"),
    *(
        (lambda n=n: analysis.logistic_fit(solution(), n), ValueError, "`neurons`")
        for n in (None, "a", [], [99], [-7], [0.5], [True], -1, 0, [[0]], [[0], [0, 1]])
    ),
    (lambda: plot.loss_curve(solution(), "ax"), TypeError, "`ax` must be axes of matplotlib"),
    (lambda: plot.loss_curve(solution(), Figure()), TypeError, "`ax` must be axes"),
    (lambda: plot.loss_curve(solution(), plateaus=[1.0]), TypeError, "rf.analysis.plateaus"),
    (lambda: plot.loss_curve(solution(), plateaus="abc"), TypeError, "rf.analysis.plateaus"),
    (lambda: plot.loss_curve(solution(), decades="a"), TypeError, "`decades`"),
    (lambda: plot.log_norms(solution(), log_lambda="a"), TypeError, "`log_lambda`"),
    (lambda: plot.phases(solution(), None), TypeError, "rf.analysis.phases"),
    (lambda: plot.phases(solution(), [1]), TypeError, "rf.analysis.phases"),
    (lambda: plot.saddles(solution(), None), TypeError, "rf.analysis.saddles"),
    (lambda: plot.saddles(solution(), "abc"), TypeError, "rf.analysis.saddles"),
]


@pytest.mark.parametrize(("call", "kind", "message"), SOL_CALLS)
def test_arguments_beside_a_solution(call, kind, message):
    with pytest.raises(kind, match=f"Argument .*{message}"):
        call()


CALLS = [
    *(
        (lambda t=t: analysis.clusters(NET, t), kind, "`tolerance`")
        for t, kind in (("a", TypeError), (None, TypeError), ([0.1], TypeError), (0.0, ValueError))
    ),
    *(
        (lambda t=t: analysis.kinks(LINE_NET, LINE, t), kind, "`tolerance`")
        for t, kind in (("a", TypeError), (np.nan, TypeError), (-1.0, ValueError))
    ),
    *(
        (lambda t=t: analysis.unfitted(NET, DATA, t), kind, "`part`")
        for t, kind in (("a", TypeError), (None, TypeError), (0, ValueError), (2, ValueError))
    ),
    (lambda: plot.states(NET, DATA), ValueError, "`networks` must have one leading axis"),
    (lambda: plot.states(MANY, DATA, times="ab"), TypeError, "`times`"),
    (lambda: plot.states(MANY, DATA, times=3.0), ValueError, "`times`"),
    (lambda: plot.states(MANY, DATA, times=[1.0, 2.0]), ValueError, "`times`"),
    (lambda: plot.states(MANY, DATA, ["ax"]), TypeError, "`axes` must be axes of matplotlib"),
    (lambda: plot.states(None, DATA), TypeError, "`networks`"),
    (
        lambda: plot.states(jax.tree.map(lambda leaf: leaf[:0], MANY), DATA),
        ValueError,
        "`networks`",
    ),
    (lambda: plot.state(NET, DATA, "ax"), TypeError, "`ax`"),
    (lambda: plot.state(NET, DATA, time="now"), TypeError, "`times`"),
    (lambda: plot.bands(None, {}), TypeError, "`sizes`"),
    (lambda: plot.bands([], {}), ValueError, "`sizes` must hold positive numbers"),
    (lambda: plot.bands([0.0, 1.0], {}), ValueError, "`sizes` must hold positive numbers"),
    (lambda: plot.bands([1, 2], [1, 2]), TypeError, "`curves`"),
    (lambda: plot.bands([1, 2], {"a": [["x"], ["y"]]}), TypeError, "`curves"),
    (lambda: plot.bands([1], {"a": [[1.0]]}, dashed=("b",)), ValueError, "`dashed`"),
    *(
        (lambda ts=ts: theory.early_directions(BALANCED, ORTHONORMAL, ts), kind, "`ts`")
        for ts, kind in (
            (None, TypeError),
            ("a", TypeError),
            (1.0, ValueError),
            ([[1.0]], ValueError),
            ([np.nan], ValueError),
            ([-1.0], ValueError),
        )
    ),
    (
        lambda: theory.early_directions(rf.unbalanced(KEY, 5, 4, -1.0), ORTHONORMAL, [1.0]),
        ValueError,
        "`net` must have balanced neurons",
    ),
    (lambda: theory.early_directions(None, ORTHONORMAL, [1.0]), TypeError, "`net`"),
    (lambda: theory.phases(ORTHONORMAL, 1.0), ValueError, "`log_lambda`"),
    (lambda: theory.phases(ORTHONORMAL, -9.0, epsilon=[0.1, 0.2]), ValueError, "`epsilon`"),
    (lambda: theory.logistic_law(1.0, -20.0, ORTHONORMAL, sign=[1]), ValueError, "`sign`"),
    (lambda: analysis.jumps(outputs()), ValueError, "`sol` must hold the networks"),
    (lambda: theory.limit_process_of_masks(None, [1.0]), ValueError, "`mask`"),
    (lambda: theory.limit_process_of_masks([[True]], "a"), TypeError, "`labels`"),
    (lambda: theory.limit_process(BALANCED, ORTHONORMAL).times(1.0), ValueError, "`log_lambda`"),
    (lambda: theory.limit_process(BALANCED, ORTHONORMAL).exponents(-1.0), ValueError, "`s`"),
]


@pytest.mark.parametrize(("call", "kind", "message"), CALLS)
def test_other_arguments(call, kind, message):
    with pytest.raises(kind, match=f"Argument .*{message}"):
        call()


def test_an_assumption_that_there_is_not():
    checks = theory.assumptions(BALANCED, ORTHONORMAL)
    for key in ((2022, "9"), (2022, 3), "3", 3):
        with pytest.raises(KeyError, match=r"There is no assumption .*\(2026, '4ii'\)"):
            checks[key]
    assert checks[2022, "3"].number == "3"


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"net": None}, TypeError, "`net`"),
        ({"net": NET.weights()}, TypeError, "`net`"),
        ({"net": MANY}, ValueError, "`net` must be a single network"),
        ({"data": None}, TypeError, "`data`"),
        ({"data": (DATA.x, DATA.y)}, TypeError, "`data`"),
        ({"data": rf.datasets.two_points()}, ValueError, "the same input dimension"),
        ({"optimiser": None}, TypeError, "`optimiser`"),
        ({"optimiser": optax.sgd}, TypeError, "`optimiser`"),
        ({"optimiser": "sgd"}, TypeError, "`optimiser`"),
        ({"steps": "3"}, ValueError, "`steps`"),
        ({"steps": 10**20}, ValueError, "`steps` must be at most"),
        ({"steps": 10**10, "save_every": 1}, ValueError, "`save_every` .* GiB"),
        ({"throw": "no"}, TypeError, "`throw` must be True or False"),
    ],
)
def test_descent(options, kind, message):
    arguments = {"net": NET, "data": DATA, "optimiser": optax.sgd(1e-2), "steps": 3} | options
    with pytest.raises(kind, match=f"Argument.* {message}"):
        rf.descent(**arguments)
