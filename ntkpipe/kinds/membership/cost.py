"""What a network of a membership study costs; see :mod:`ntkpipe.costs`."""

from __future__ import annotations

from typing import Any

MiB = 2**20


def seconds(task: Any) -> float:
    """Core-seconds of a network: its steps on every target, and its kernels before and after."""
    net, k, config = task.network, task.n_inputs, task.settings
    points = k + config.train
    flops = 6 * config.train * net.n_parameters * config.steps * len(config.targets)
    kernels = (1 + len(config.targets)) * (4 * points * net.n_parameters + 4 * points * points * sum(net.fan_in))
    return 1e-2 + (flops + kernels) / 1.6e10 + config.steps * len(config.targets) * (net.depth + 1) * 3e-7


def start(task: Any) -> float:
    """Core-seconds of compiling a cell."""
    return 3.0


def memory(task: Any) -> int:
    """Bytes of eight networks, each trained on every target, with their kernels."""
    net, points, copies = task.network, task.n_inputs + task.settings.train, 1 + len(task.settings.targets)
    per_network = copies * (8 * 4 * net.n_parameters + 8 * 3 * points * (points + 2 * sum(net.fan_in)))
    return max(128 * MiB, 8 * per_network)
