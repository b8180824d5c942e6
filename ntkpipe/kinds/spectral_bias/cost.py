"""What a network of a spectral_bias study costs; see :mod:`ntkpipe.costs`."""

from __future__ import annotations

from typing import Any

MiB = 2**20


def seconds(task: Any) -> float:
    """Core-seconds of a network: its steps on every target, and its perturbed copies."""
    net, k, config = task.network, task.n_inputs, task.settings
    targets, copies = len(config.targets), len(config.radii) * config.directions
    flops = targets * net.n_parameters * k * (6 * config.steps + 2 * copies)
    return 1e-2 + flops / 1.6e10 + config.steps * targets * (net.depth + 1) * 3e-7


def start(task: Any) -> float:
    """Core-seconds of compiling a cell."""
    return 8.0


def memory(task: Any) -> int:
    """Bytes of eight networks, each trained on every target, with perturbed copies at all radii along a direction."""
    net, k, config = task.network, task.n_inputs, task.settings
    copies = len(config.targets) * (4 + len(config.radii))
    per_network = 8 * copies * (net.n_parameters + 3 * k * (k + 2 * sum(net.fan_in)))
    return max(128 * MiB, 8 * per_network)
