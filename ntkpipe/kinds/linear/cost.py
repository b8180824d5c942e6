"""What a network of a linear study costs; see :mod:`ntkpipe.costs`."""

from __future__ import annotations

from typing import Any

MiB = 2**20


def seconds(task: Any) -> float:
    """Core-seconds of a network: its steps, where it is small those of the halved steps and of the flow too."""
    net, config = task.network, task.settings
    if not net.depth:
        return 0.02 + 4.2e-6 * len(config.points) * (config.steps + 10_400)
    per_step = 2e-5 + (net.n_parameters + config.outputs * net.widths[-1]) * 3.5e-9
    small = max(net.widths) <= config.flow_width
    return 1e-3 + config.steps * per_step * (0.7 * 2**config.halvings if small else 1)


def start(task: Any) -> float:
    """Core-seconds of compiling a cell; cells of one shape share it, which is taken into account on average."""
    if not task.network.depth:
        return 0.0
    return 2.5 if max(task.network.widths) <= task.settings.flow_width else 1.5


def memory(task: Any) -> int:
    """Bytes of eight networks in training, with the products of their layers and their kernels."""
    net, config = task.network, task.settings
    pairs = (config.outputs * config.dim) ** 2
    jacobian = config.outputs * config.dim * net.n_parameters if max((*net.widths, 0)) <= config.flow_width else 0
    return max(
        128 * MiB, 8 * 8 * (6 * (net.n_parameters + config.outputs * sum(net.widths)) + 4 * pairs + 2 * jacobian)
    )
