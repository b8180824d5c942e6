"""What each engine can do and what it costs; loading one is left to :func:`load`.

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
from itertools import pairwise
from types import ModuleType
from typing import Any

from ntkpipe.activations import KINKED
from ntkpipe.networks import Network

MiB = 2**20


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
    if kind == "trajectory":
        return ("ntkpipe.kinds.trajectory.draw",)
    return f"ntkpipe.engines.{sampler_name(engine, sampling, kind)}", f"ntkpipe.kinds.{kind}.draw"


def choose(task: Task) -> str:
    """``engine: auto``: the cheapest engine that draws the law that is asked for."""
    if task.kind != "initialization":
        return "matrix_free" if task.kind == "first_step" else "dense"
    return "scalar" if refuse("scalar", task) is None else "matrix_free"


def refuse(engine: str, task: Task) -> tuple[str, str, object] | None:
    """(key, what it must be, what it was) for what the engine cannot do; None where it can."""
    net = task.network
    if task.kind != "initialization":
        if task.sampling != "plain":
            return "sampling", f"plain where kind is {task.kind!r}", task.sampling
        if task.precision != "float64":
            return "precision", f"float64 where kind is {task.kind!r}", task.precision
    if task.kind in ("trajectory", "membership") and engine != "dense":
        return "engine", f"dense (or auto) where kind is {task.kind!r}", engine
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


def seconds_per_draw(engine: str, task: Task) -> float:
    """Cost model, measured on one 2 GHz-class core; it plans jobs and decides no result."""
    net, k = task.network, task.n_inputs
    if task.kind == "trajectory":
        train = task.settings
        steps = _full_batches(train, k, kinks=net.activation in KINKED)
        flops = 6 * k * net.n_parameters * steps
        seen = k + task.n_eval
        snapshots = len(train.snapshot_steps) * (10 * seen * net.n_parameters + 4 * seen * k * sum(net.fan_in))
        snapshots *= 6 if train.tensors else 1
        return 1e-2 + (flops + snapshots) / 1.6e10 + steps * (net.depth + 1) * 3e-7
    if task.kind == "membership":
        config, points = task.settings, k + task.settings.train
        flops = 6 * config.train * net.n_parameters * config.steps * len(config.targets)
        kernels = (1 + len(config.targets)) * (4 * points * net.n_parameters + 4 * points * points * sum(net.fan_in))
        return 1e-2 + (flops + kernels) / 1.6e10 + config.steps * len(config.targets) * (net.depth + 1) * 3e-7
    if task.kind == "first_step":
        if engine == "dense":
            return 2e-4 + net.n_parameters * 12e-8
        if engine == "scalar":
            return 1.5e-6 + 4e-7 * net.depth
        return 4e-5 + sum(1.2e-5 + n * (8e-7 * k + 2e-7 * k * k) for n in net.widths)
    match sampler_name(engine, task.sampling):
        case "scalar":
            return 1.5e-6 + 1.0e-7 * net.depth
        case "guided":
            return 2e-6 + 3.8e-7 * net.depth
        case "matrix_free":
            return 5e-5 + sum(4e-6 + n * (2e-8 * k + 2.5e-9 * k * k) for n in net.widths)
        case "dense":
            return 5e-5 + net.n_parameters * (2.0e-8 + 0.5e-9 * k)
    return 0.0


def _full_batches(train: Any, n_inputs: int, kinks: bool) -> float:
    """Steps of gradient descent that cost what this training does."""
    if train.method != "flow":
        return train.steps * (train.batch or n_inputs) / n_inputs
    if not kinks:
        return 15 * train.steps
    # through kinks in the smallest steps, of which an interval between snapshots has a limited number
    per_step = 7200 * train.eta if train.eta_unit == "critical" else 1800
    return sum(min(per_step * (b - a), 235_000) for a, b in pairwise(train.snapshot_steps))


def seconds_to_start(engine: str, task: Task) -> float:
    """Per cell: compiling, for the engine that compiles."""
    if task.kind == "trajectory":
        return 12.0 if task.settings.method == "flow" else 6.0
    return 3.0 if engine == "dense" else 0.0


def bytes_needed(engine: str, task: Task) -> int:
    """Peak memory of a sampling job beyond the interpreter, by the engines' batch sizes: eight networks in training."""
    net, k = task.network, task.n_inputs
    if task.kind == "trajectory":
        kernels = 1 + 2 * task.settings.tensors + (net.depth + 1) * task.settings.per_layer
        row = 8 * k * (k * kernels + task.n_eval)  # of one snapshot: computed, copied, written, read
        return 8 * (4 * row + 8 * 12 * net.n_parameters + 16 * k * k * (net.depth + 4) + 16 * k * sum(net.fan_in))
    if task.kind == "first_step":
        if engine in ("exact", "scalar"):
            return 16 * MiB
        per_draw = 8 * k * 36 * (sum(net.fan_in) + 1) + (8 * 6 * net.n_parameters if engine == "dense" else 0)
        return max(256 * MiB, 2 * per_draw)
    per_draw = 8 * k * 5 * (sum(net.fan_in) + 1) + 16 * k * k
    match engine:
        case "matrix_free":
            return max(128 * MiB, 2 * per_draw)
        case "dense":
            return 3 * max(128 * MiB, 8 * net.n_parameters + per_draw)
    return 16 * MiB
