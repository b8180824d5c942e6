"""What a network of an eigenmodes study costs; see :mod:`ntkpipe.costs`."""

from __future__ import annotations

from typing import Any

MiB = 2**20


def seconds(task: Any) -> float:
    """Core-seconds of a network: its steps on every target, and its kernel at every snapshot."""
    net, held, config = task.network, task.n_inputs, task.settings
    targets, n = len(config.frequencies), config.train
    flops = 6 * n * net.n_parameters * config.steps * targets
    look = 4 * (n + held) * net.n_parameters + 4 * (n + held) * n * sum(net.fan_in)
    snapshots = len(config.snapshot_steps) * targets
    elements = 5e-9 * config.steps * targets * n * sum(net.widths)  # activations and gates, which leave the cache
    return 1e-2 + (flops + snapshots * look) / 1.6e10 + elements + config.steps * targets * (net.depth + 1) * 3e-7


def start(task: Any) -> float:
    """Core-seconds of compiling a cell."""
    return 3.0


def memory(task: Any) -> int:
    """Bytes of eight networks, each trained on every target, with outputs and kernels."""
    net, config = task.network, task.settings
    n, points = config.train, task.n_inputs + config.train
    kept = len(config.snapshot_steps) * points + len(config.kernel_snapshots) * n * n
    per_run = 8 * (5 * net.n_parameters + 3 * points * (n + 2 * sum(net.fan_in)) + kept)
    return max(128 * MiB, 8 * len(config.frequencies) * per_run)
