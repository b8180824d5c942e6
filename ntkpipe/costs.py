"""What a draw costs: seconds, start-up, memory, disk; by engine, or by the ``cost`` room of a kind that trains itself.

Measured on one 2 GHz-class core; it plans jobs and decides no result. ``benchmarks/cost_model.py`` measures it again.
"""

from __future__ import annotations

from typing import Any

from ntkpipe import kinds
from ntkpipe.drawing import GRAM_BLOCK, block_size
from ntkpipe.engines.catalogue import BY_ENGINE, Task, sampler_name

MiB = 2**20
INTERPRETER, INTERPRETER_WITH_JAX = 200 * MiB, 520 * MiB
"""Of a sampling job before it draws; without JAX for the engines that are numpy."""
OWN_COMPRESSED = 0.7
"""Of what a kind that trains itself keeps: kernels are symmetric, the rest does not compress."""
SHARD_BYTES_FIXED = 8 * 2**10
"""Of a shard's file: names, attributes, histograms."""


def seconds_per_draw(engine: str, task: Task) -> float:
    """Core-seconds of one draw."""
    net, k = task.network, task.n_inputs
    if task.kind not in BY_ENGINE:
        return kinds.load(task.kind, "cost").seconds(task)
    if task.kind == "first_step":
        if engine == "dense":
            return 2e-4 + net.n_parameters * 12e-8
        if engine == "scalar":
            return 1.5e-6 + 4e-7 * net.depth
        return 4e-5 + sum(1.2e-5 + n * (4e-7 + 7e-7 * k + 3e-9 * k * k) for n in net.widths)
    match sampler_name(engine, task.sampling):
        case "scalar":
            return 1.5e-6 + 1.0e-7 * net.depth
        case "guided":
            return 2e-6 + 3.8e-7 * net.depth
        case "matrix_free":
            return 5e-5 + sum(4e-6 + n * (2e-8 * k + 2.5e-9 * k * k) for n in net.widths)
        case "dense":
            return 5e-5 + 2e-5 * net.depth + net.n_parameters * (3.2e-8 + 0.5e-9 * k)
    return 0.0


def seconds_to_start(engine: str, task: Task) -> float:
    """Per cell: compiling, for what compiles."""
    if task.kind not in BY_ENGINE:
        return kinds.load(task.kind, "cost").start(task)
    return 5.0 if engine == "dense" else 0.0


def bytes_needed(engine: str, task: Task) -> int:
    """Peak memory of a sampling job: the interpreter with its packages, and what the engines' batch sizes need."""
    net, k = task.network, task.n_inputs
    if task.kind not in BY_ENGINE:
        return INTERPRETER_WITH_JAX + kinds.load(task.kind, "cost").memory(task)
    dense = engine == "dense"
    if engine in ("exact", "scalar"):
        held = 16 * MiB
    elif task.kind == "first_step":
        per_draw = 8 * k * 36 * (sum(net.fan_in) + 1) + dense * 8 * 6 * net.n_parameters
        held = max((256 if dense else 96) * MiB, 2 * per_draw)
    else:
        per_draw = 8 * k * 5 * (sum(net.fan_in) + 1) + 16 * k * k
        held = 3 * max(128 * MiB, 8 * net.n_parameters + per_draw) if dense else max(96 * MiB, 2 * per_draw)
    return (INTERPRETER_WITH_JAX if dense else INTERPRETER) + held


def bytes_on_disk(config: Any, n_inputs: int) -> float:
    """Bytes of a draw in its shard, compressed: what ``keep`` keeps, and its share of the sums of a block.

    Random mantissas do not compress; equal halves of a Gram matrix do, sums to about 0.6, constant columns to nothing.
    """
    if (own := kinds.of(config).stored) is not None:
        return OWN_COMPRESSED * own(config)
    gram = config.inputs.keep == "gram" and n_inputs > 1
    entries = n_inputs * (n_inputs + 1) // 2 if gram else n_inputs
    held = 0.6 * len(kinds.of(config).statistics) / block_size(config.seeds) + 2 * gram * entries / GRAM_BLOCK
    if config.keep != "moments":
        guided = "guided" in (config.sampling, *(name for grid in config.grid for name in grid.sampling or ()))
        held += n_inputs + gram * n_inputs + guided  # output, eigenvalues, weight
    if config.keep == "full":
        held += entries * (3 if config.kind == "first_step" else 1)
    elif config.keep == "spectra" and not gram:
        held += n_inputs
    return 8 * held
