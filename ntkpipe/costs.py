"""What a draw costs: seconds, start-up and memory, by engine, or by the ``cost`` room of a kind that trains itself.

Measured on one 2 GHz-class core; it plans jobs and decides no result.
"""

from __future__ import annotations

from ntkpipe import kinds
from ntkpipe.engines.catalogue import BY_ENGINE, Task, sampler_name

MiB = 2**20


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


def seconds_to_start(engine: str, task: Task) -> float:
    """Per cell: compiling, for what compiles."""
    if task.kind not in BY_ENGINE:
        return kinds.load(task.kind, "cost").start(task)
    return 3.0 if engine == "dense" else 0.0


def bytes_needed(engine: str, task: Task) -> int:
    """Peak memory of a sampling job beyond the interpreter, by the engines' batch sizes."""
    net, k = task.network, task.n_inputs
    if task.kind not in BY_ENGINE:
        return kinds.load(task.kind, "cost").memory(task)
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
