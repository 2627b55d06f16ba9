"""The library on the problems of the search, beside what the reference says about them."""

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from problems import event_list
from search_problems import arrays
from search_solutions import Solved, distance, label_size, load

import reluflow as rf

RTOL = 1e-8
ALLOWED = 10.0  # times rtol times the condition
LANES = 20
MAX_STEPS = 60_000  # rf.RungeKutta needs a sixth of t1 times the largest eigenvalue
LOSSES = {"square": rf.square, "logistic": rf.logistic, "exponential": rf.exponential}
INTEGRATORS = {"Boost": rf.Boost, "RungeKutta": rf.RungeKutta}
VERDICTS = ("right", "ambiguous", "needlessly ambiguous", "reported", "wrong")


class Outcome(NamedTuple):
    """verdict: of `VERDICTS`; error: over what is allowed; note: for a person."""

    kind: str
    seed: int
    verdict: str
    error: float
    note: str


@functools.cache
def solutions() -> dict[tuple[str, int], Solved]:
    return load()


@functools.cache
def _flow(integrator, loss):
    def one(rtol, net, data, t1):
        solver = INTEGRATORS[integrator]()
        options = {"rtol": rtol, "throw": False, "max_steps": MAX_STEPS, "loss": LOSSES[loss]}
        return rf.flow(net, data, t1, integrator=solver, **options)

    # (Unlike most programs of tests, these run for longer than they are compiled.)
    options: Any = {"compiler_options": {"xla_backend_optimization_level": 3}}
    return eqx.filter_jit(jax.vmap(one, in_axes=(None, 0, 0, 0)), **options)


class Run(NamedTuple):
    """The end of one problem's run by the library, and its events (those of the last part)."""

    output: np.ndarray
    hidden: np.ndarray
    log_scale: np.ndarray
    result: str  # empty where it succeeded
    ambiguous: int
    events: list  # (time, neuron, sample, before, after)


def run(integrator, cases, rtol=RTOL, change=lambda case: case):
    """[Run] of the problems [(kind, seed)], all of one shape and loss, in batches of `LANES`.

    `change` makes another problem of each, for controls.
    """
    loss = program(*cases[0])[-1]
    flow, found = functools.partial(_flow(integrator, loss), jnp.asarray(rtol)), []
    for start in range(0, len(cases), LANES):
        now = cases[start : start + LANES]
        batch = [change(arrays(*case)) for case in now]
        padded = batch + [batch[-1]] * (LANES - len(batch))
        split = np.array(["parts" in kind for kind, _ in now] + [False] * (LANES - len(now)))
        found += _batch(flow, padded, split)[: len(now)]
    return found


def _batch(flow, batch, split):
    """Runs of the lanes; those with `split` in two parts, the second from bare weights."""
    columns = [np.stack(part) for part in zip(*(case[:7] for case in batch), strict=True)]
    x, y, output, hidden, log_scale, t1, fraction = map(jnp.asarray, columns)
    if batch[0].model is None:
        data, activation = jax.vmap(rf.Dataset)(x, y), None
    else:
        data = jax.vmap(rf.Dataset)(x, y, np.stack([case.model.weights for case in batch]))
        slopes = np.stack([case.model.slopes for case in batch])
        activation = jax.vmap(rf.TwoSlope)(slopes[:, 0], slopes[:, 1])
    net = jax.vmap(rf.Network)(log_scale, output, hidden)
    if activation is not None:
        net = net.with_activation(activation)
    first = flow(net, data, jnp.where(split, fraction * t1, t1))
    last = first
    if np.any(split):
        bare = jax.vmap(rf.Network.from_weights)(*first.final.weights())
        on = functools.partial(jax.tree.map, lambda a, b: jnp.where(_like(split, a), a, b))
        second = flow(on(bare, net), data, jnp.where(split, (1.0 - fraction) * t1, t1))
        last = second
    runs = []
    for i in range(len(batch)):
        parts = [first, last] if split[i] else [first]
        results = [jax.tree.map(lambda leaf, i=i: leaf[i], sol.result) for sol in parts]
        failed = [rf.RESULTS[each] for each in results if not bool(each == rf.RESULTS.successful)]
        final = parts[-1].final
        runs.append(
            Run(
                *(np.asarray(leaf[i]) for leaf in (final.output, final.hidden, final.log_scale)),
                failed[0].split(".")[0] if failed else "",
                sum(int(sol.stats["num_ambiguous"][i]) for sol in parts),
                event_list(jax.tree.map(lambda leaf, i=i: leaf[i], last)),
            )
        )
    return runs


def _like(flags, leaf):
    return flags.reshape(flags.shape + (1,) * (leaf.ndim - 1))


def judge(kind, seed, found: Run, right: Solved, rtol=RTOL) -> Outcome:
    """Right where neither a neuron nor a prediction is further off than its condition allows."""
    case = arrays(kind, seed)
    jumps = bool(right.jumps)
    if found.result:
        return Outcome(kind, seed, "reported", np.nan, found.result)
    neurons = distance((right.output, right.hidden, right.log_scale), found[:3])
    weights = np.max(neurons / (ALLOWED * rtol * right.condition + 1e2 * right.rounding))
    size, scale = np.exp(2.0 * found.log_scale), label_size(case)
    h = size * found.output @ case.phi(found.hidden @ case.x.T)
    off = np.max(np.abs(h - right.predictions)) / scale
    rounding = np.max(size * np.abs(found.output) @ np.abs(found.hidden @ case.x.T)) / scale
    allowed = ALLOWED * rtol * right.condition_predictions
    predictions = off / (allowed + 4.0 * np.finfo(float).eps * rounding)
    error = float(max(weights, predictions))
    note = f"weights off by {np.max(neurons):.1e}, predictions by {off:.1e}"
    note += f"; conditions {np.max(right.condition):.0e}, {right.condition_predictions:.0e}"
    if jumps:
        note += "; the reference has several motions"
    if found.ambiguous:
        verdict = "ambiguous" if jumps else "needlessly ambiguous"
    else:
        verdict = "right" if error <= 1.0 else "wrong"
    return Outcome(kind, seed, verdict, error, note)


def program(kind, seed):
    """What problems that share a compiled program have in common."""
    case = arrays(kind, seed)
    loss = "square" if case.model is None else case.model.loss
    return *case.hidden.shape, *case.y.shape, case.model is None, loss


def search(integrator, cases, **options) -> list[Outcome]:
    """The outcomes of these problems [(kind, seed)] with this integrator, batched by program."""
    programs = {}
    for case in cases:
        programs.setdefault(program(*case), []).append(case)
    outcomes = []
    for same in programs.values():
        runs = run(integrator, same, **options)
        pairs = zip(same, runs, strict=True)
        outcomes += [judge(*case, each, solutions()[case]) for case, each in pairs]
    return outcomes
