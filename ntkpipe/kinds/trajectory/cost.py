"""What training a network costs; see :mod:`ntkpipe.costs`."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from ntkpipe.activations import KINKED


def seconds(task: Any) -> float:
    """Core-seconds of a network: its steps, and its kernels at every snapshot."""
    net, k, train = task.network, task.n_inputs, task.settings
    steps = _full_batches(train, k, kinks=net.activation in KINKED)
    flops = 6 * k * net.n_parameters * steps
    seen = k + task.n_eval
    snapshots = len(train.snapshot_steps) * (10 * seen * net.n_parameters + 4 * seen * k * sum(net.fan_in))
    snapshots *= 6 if train.tensors else 1
    return 1e-2 + (flops + snapshots) / 1.6e10 + steps * (net.depth + 1) * 3e-7


def _full_batches(train: Any, n_inputs: int, kinks: bool) -> float:
    """Steps of gradient descent that cost what this training does."""
    if train.method != "flow":
        return train.steps * (train.batch or n_inputs) / n_inputs
    if not kinks:
        return 15 * train.steps
    # through kinks in the smallest steps, of which an interval between snapshots has a limited number
    per_step = 7200 * train.eta if train.eta_unit == "critical" else 1800
    return sum(min(per_step * (b - a), 235_000) for a, b in pairwise(train.snapshot_steps))


def start(task: Any) -> float:
    """Core-seconds of compiling a cell."""
    return 12.0 if task.settings.method == "flow" else 6.0


def memory(task: Any) -> int:
    """Bytes of eight networks in training."""
    net, k = task.network, task.n_inputs
    kernels = 1 + 2 * task.settings.tensors + (net.depth + 1) * task.settings.per_layer
    row = 8 * k * (k * kernels + task.n_eval)  # of one snapshot: computed, copied, written, read
    return 8 * (4 * row + 8 * 12 * net.n_parameters + 16 * k * k * (net.depth + 4) + 16 * k * sum(net.fan_in))
