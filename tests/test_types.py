"""Annotations are checked while the tests run, in each of their processes, and reach the user."""

from importlib.resources import files

import jax.numpy as jnp
import jaxtyping
import pytest

import reluflow as rf


def test_another_type_is_told():
    with pytest.raises(jaxtyping.TypeCheckError, match="parameter 'net'"):
        rf.loss("a network", rf.datasets.two_points())


def events(samples):
    empty = rf.Events.empty(4)
    return rf.Events(
        empty.time, empty.neuron, jnp.zeros(samples, int), empty.before, empty.after, empty.count
    )


def test_another_shape_is_told():
    """Four events, of three samples."""
    with pytest.raises(jaxtyping.TypeCheckError, match="parameter 'boundary'"):
        events(3)
    assert events(4).sample.shape == (4,)


@pytest.mark.usefixtures("without_type_checks")
def test_where_the_check_is_off_the_library_itself_is_asked():
    with pytest.raises(TypeError, match="Argument `net` must be of type"):
        rf.loss("a network", rf.datasets.two_points())


def test_the_annotations_are_those_of_the_installed_package():
    assert (files("reluflow") / "py.typed").is_file()
