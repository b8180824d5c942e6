"""What each engine can do; loading one is left to :func:`load`, what it costs to :mod:`ntkpipe.costs`.

=============  ==================================================  =======================
engine         law                                                 cost of a draw
=============  ==================================================  =======================
exact          moments of K(x, x); ReLU, biases none or zero       no draws, O(depth)
scalar         (f, K)(x, x); ReLU, biases none or zero, one input  O(depth), any width
matrix_free    f and K on k inputs; everything                     O(depth n k^2)
dense          f and K on k inputs; everything, explicit weights   O(depth n^2 k)
=============  ==================================================  =======================

All draw from one law; the tests in ``tests/laws`` compare them with each other. No jax here:
the Snakefile reads this module each time it is parsed.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from ntkpipe.networks import MEAN_FIELD, Network

BY_ENGINE = ("initialization", "first_step")
"""Kinds that draw by an engine; the others train explicit weights themselves: dense."""


@dataclass(frozen=True)
class Task:
    """What is asked of an engine: a network, how many inputs, how K is kept, in which precision."""

    network: Network
    n_inputs: int
    precision: str
    sampling: str
    kind: str = "initialization"
    settings: Any = None
    n_eval: int = 0
    """further points, on which kernels against the inputs are kept"""


def sampler_name(engine: str, sampling: str, kind: str = "initialization") -> str:
    """The module in :mod:`ntkpipe.engines` that draws."""
    if kind == "first_step":
        return f"step_{engine}"
    return "guided" if sampling == "guided" else engine


def load(engine: str, sampling: str, kind: str = "initialization") -> ModuleType:
    """Import the module whose ``sample`` draws."""
    return importlib.import_module(f"ntkpipe.engines.{sampler_name(engine, sampling, kind)}")


def code(engine: str, sampling: str, kind: str) -> tuple[str, ...]:
    """The modules whose code the numbers of a shard depend on."""
    if kind not in BY_ENGINE:
        return (f"ntkpipe.kinds.{kind}.draw",)
    return f"ntkpipe.engines.{sampler_name(engine, sampling, kind)}", f"ntkpipe.kinds.{kind}.draw"


def choose(task: Task) -> str:
    """``engine: auto``: the cheapest engine that draws the law that is asked for."""
    if task.kind not in BY_ENGINE:
        return "dense"
    if task.kind == "first_step":
        return "matrix_free"
    return "scalar" if refuse("scalar", task) is None else "matrix_free"


def refuse(engine: str, task: Task) -> tuple[str, str, object] | None:
    """(key, what it must be, what it was) for what the engine cannot do; None where it can."""
    net = task.network
    if task.kind != "initialization":
        if task.sampling != "plain":
            return "sampling", f"plain where kind is {task.kind!r}", task.sampling
        if task.precision != "float64":
            return "precision", f"float64 where kind is {task.kind!r}", task.precision
    if task.kind not in BY_ENGINE and engine != "dense":
        return "engine", f"dense (or auto) where kind is {task.kind!r}", engine
    if (wrong := _no_particles(task)) is not None:
        return wrong
    if net.readout == "frozen" and not net.depth:
        return "network.readout", "trained where there is no hidden layer (nothing else is trained)", net.readout
    if task.sampling == "guided" and engine != "scalar":
        return "engine", "scalar (or auto) where sampling is guided", engine
    if engine in ("exact", "scalar"):
        because = f"for engine {engine}, which follows a recursion that only this has"
        if net.activation != "relu":
            return "network.activation", f"relu {because}", net.activation
        if net.bias_init == "normal":
            return "network.bias_init", f"none or zero {because}", net.bias_init
        if task.n_inputs > 1:
            return "inputs.points", f"1 {because}", task.n_inputs
        if task.precision != "float64":
            return "precision", f"float64 for engine {engine}", task.precision
    if task.sampling == "guided":
        if net.bias_init != "none":
            return "network.bias_init", "none where sampling is guided", net.bias_init
        if net.widths and min(net.widths) < 4:
            return "grid.width", "at least 4 where sampling is guided", min(net.widths)
    return None


def _no_particles(task: Task) -> tuple[str, str, object] | None:
    """What keeps a network from being a mean over particles where one is asked for; None where nothing does."""
    net, because = task.network, f"where kind is {task.kind!r}"
    if task.kind != MEAN_FIELD:
        if net.parametrization == MEAN_FIELD:
            return "network.parametrization", f"ntk or standard {because}", net.parametrization
        return None
    if net.parametrization == "standard":
        return "network.parametrization", f"mean_field or ntk {because}", net.parametrization
    if net.depth != 1:
        return "grid.depth", f"1 {because} (its particles are the units of one hidden layer)", net.depth
    if net.bias_init != "none":
        return "network.bias_init", f"none {because}", net.bias_init
    return None
