"""What a draw of a finite_sample study costs; see :mod:`ntkpipe.costs`."""

from __future__ import annotations

from typing import Any

MiB = 2**20


def seconds(task: Any) -> float:
    """Core-seconds of a draw: both kernels, and two trainings of the network."""
    from ntkpipe.kinds.finite_sample import limits  # the plan alone asks

    net, config = task.network, task.settings
    points, units = config.train + config.eval, sum(net.widths)
    steps = limits.schedule(
        limits.spectrum(net),
        config.signal,
        config.train,
        eta=config.eta,
        fitted=config.fitted,
        most_steps=config.most_steps,
    ).steps
    trained = 2 * steps * config.train * (6 * net.n_parameters / 1.6e10 + 3.5e-9 * units)
    kernels = points * config.train * (8e-8 * (net.depth + 1) + 4 * sum(net.fan_in) / 1.6e10)
    return 1.5e-3 + trained + kernels + 4 * steps * config.train**2 / 1.6e9


def start(task: Any) -> float:
    """Core-seconds of compiling a cell."""
    return 4.0


def memory(task: Any) -> int:
    """Bytes of eight networks with their kernels, and of two trainings each."""
    net, config = task.network, task.settings
    points = config.train + config.eval
    per_network = 8 * (6 * points * config.train + 8 * points * sum(net.fan_in) + 12 * net.n_parameters)
    return max(128 * MiB, 8 * per_network)
