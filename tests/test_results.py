"""How a run ended, as it is written: in the help, and in the text of a solution."""

import pydoc

import diffrax
import jax
import jax.numpy as jnp
from problems import lane, small

import reluflow as rf
from reluflow._integration._results import tally_of

OF_DESCENT_ALONE = {"diverged"}


def names():
    return set(rf.RESULTS._name_to_item)


def test_help_has_every_member_with_its_message():
    text = " ".join(pydoc.render_doc(rf.RESULTS, renderer=pydoc.plaintext).replace("|", "").split())
    assert {"successful", "loss_reached", "max_steps_reached", "diverged"} < names()
    for name in names():
        message = rf.RESULTS[getattr(rf.RESULTS, name)]
        assert f"{name}: {message}" in text
    assert "no_such_result:" not in text  # the control


def test_docstrings_name_every_member():
    for documented, missing in ((rf.flow, OF_DESCENT_ALONE), (rf.Solution, set())):
        named = {name for name in names() if f"`{name}`" in (documented.__doc__ or "")}
        assert named == names() - missing


def run(**options):
    saveat = diffrax.SaveAt(t1=True)
    integrator = rf.RungeKutta(max_sliding=3)
    return rf.flow(*small(), 10.0, integrator=integrator, saveat=saveat, throw=False, **options)


def test_lanes_are_counted_by_the_way_they_ended():
    """Of solutions that were made one by one; a batch has the same text, whatever made it."""
    sols = [run(), run(stop_loss=1e-1), run(stop_loss=1e-1), run(max_steps=3)]
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *sols)
    kinds = "1 successful, 2 loss_reached, 1 max_steps_reached"
    assert str(together).startswith(f"Solution: 4 lanes (4,), {kinds}, ")
    assert tally_of(together.result) == {
        "successful": 1,
        "loss_reached": 2,
        "max_steps_reached": 1,
    }
    reached = lane(together, slice(1, 3))
    assert "2 lanes (2,), 2 loss_reached" in str(reached) and "successful" not in str(reached)
    for sol, name in zip(
        sols, ("successful", "loss_reached", None, "max_steps_reached"), strict=True
    ):
        if name is not None:
            first = str(sol).splitlines()[0]
            assert first.startswith(f"Solution: {name}")
            assert rf.RESULTS[sol.result] in first
