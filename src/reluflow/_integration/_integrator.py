"""What `rf.flow` asks of an integrator."""

import abc
from typing import Generic, TypeVar

import equinox as eqx
from jaxtyping import Array, Bool, Int, PyTree

from .._dynamics._field import Problem
from .._events._recording import AmbiguousNeurons, Switches
from .._model._activation import AbstractActivation, relu
from .._model._dataset import Dataset
from .._model._network import Network
from .._model._shapes import Scalar
from ._flow_state import FlowState
from ._results import RESULTS

_State = TypeVar("_State")


class Report(eqx.Module):
    """What the last step did, as against the state that it carries on.

    time: where the flow stands now.
    finished: whether the attempt has come to its end; else the next call goes on with it, and this
        one counts for nothing.
    accepted: whether time moved on (or an event was passed), so that the state is a new one.
    result: `RESULTS.successful`, or why the integration cannot go on.
    switches: the changes of mode in this step.
    ambiguous: the neurons for which the flow was not determined.
    evaluations: of the field in this step; -1 where the integrator does not tell.
    sweeps: passes of all neurons through the step, for an integrator that iterates.
    rests: whether the flow has nowhere to go.
    """

    time: Scalar
    finished: Bool[Array, ""]
    accepted: Bool[Array, ""]
    result: RESULTS
    switches: Switches
    ambiguous: AmbiguousNeurons
    evaluations: Int[Array, ""]
    sweeps: Int[Array, ""]
    rests: Bool[Array, ""]


class AbstractIntegrator(eqx.Module, Generic[_State]):
    """Moves a network along the flow, one attempted step at a time.

    max_sliding: how many units of a neuron may slide at once; None before `prepare`.
    """

    max_sliding: eqx.AbstractVar[int | None]

    @abc.abstractmethod
    def prepare(
        self, data: Dataset, room: int | None = None, activation: AbstractActivation = relu
    ) -> "AbstractIntegrator":
        """The integrator with every static choice that depends on the data made.

        room: for sliding units, of a flow that goes on.
        """

    @abc.abstractmethod
    def init(self, problem: Problem, start: FlowState, tolerances, stop_loss) -> _State:
        """The state at the start; the first steps tell units on boundaries how to go on."""

    @abc.abstractmethod
    def step(self, problem: Problem, state: _State, limit) -> tuple[_State, Report]:
        """One attempted step, which ends at `limit` at the latest; or a part of one."""

    @abc.abstractmethod
    def report(self, problem: Problem, state: _State) -> Report:
        """The report of a state that no step has been taken from."""

    @abc.abstractmethod
    def network(self, state: _State) -> Network:
        """The network where the state stands."""

    @abc.abstractmethod
    def flow_state(self, state: _State) -> FlowState:
        """What another run goes on from."""

    @abc.abstractmethod
    def passage(self, before: _State, after: _State) -> PyTree[Array]:
        """What has to be kept of the accepted step between two states to take it again."""

    @abc.abstractmethod
    def network_within(self, problem: Problem, passage: PyTree[Array], time: Scalar) -> Network:
        """The network at a time within that step, as exact as its end."""


class AbstractDenseIntegrator(AbstractIntegrator[_State]):
    """One that knows the network between the ends of a step.

    Its steps do not end at the times that are to be saved.
    """

    @abc.abstractmethod
    def step_or_look_back(
        self, problem: Problem, state: _State, limit, looks: Bool[Array, ""], time
    ) -> tuple[_State, Report, Network]:
        """`step`; or, where `looks`, the network at a time inside the last accepted step.

        The state then is the same, and the report one of an attempt that was not accepted. Both in
        one, since under `jax.vmap` some lanes look back while others go on, and since for an
        integrator that takes the step again they are one program.
        """
