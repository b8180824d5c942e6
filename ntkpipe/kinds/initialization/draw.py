"""One shard: draws of K of one cell, and the mergeable sums that all statistics are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from ntkpipe.drawing import GRAM_BLOCK, LOG_EDGES, Arrays, block_size, block_sums, by_quanta, largest, log_histogram
from ntkpipe.engines.base import Draws
from ntkpipe.kinds.initialization.statistics import HISTOGRAMS
from ntkpipe.networks import Network
from ntkpipe.streams import Stream


def draw(study: Any, shard: Any) -> Arrays:
    """The arrays of a planned shard (untyped: plan and config are no code that a draw depends on)."""
    cell, config = shard.cell, study.config
    return draw_shard(
        cell.sample,
        cell.network,
        study.points,
        study.stream(cell),
        shard.start,
        shard.stop,
        block=block_size(cell.seeds),
        keep=config.keep,
        gram=config.inputs.keep == "gram",
        precision=cell.precision,
        floor=config.tolerances.precision_floor,
    )


def draw_shard(
    sample: Callable[..., Draws],
    network: Network,
    x: Float[np.ndarray, "k n0"],
    stream: Stream,
    start: int,
    stop: int,
    *,
    block: int,
    keep: str,
    gram: bool,
    precision: str,
    floor: float,
) -> Arrays:
    """Draws start..stop of one cell: what ``keep`` keeps of them, and their sums; name -> (dims, array).

    Raises
    ------
    FloatingPointError: a draw is not finite.
    """

    def quantum_sums(quantum: int, n: int) -> Arrays:
        draws = sample(network, x, stream, quantum, n, gram=gram, precision=precision)
        if not (np.isfinite(draws.ntk).all() and np.isfinite(draws.output).all()):
            raise FloatingPointError(f"a draw of quantum {quantum} is not finite in {precision}")
        return reduce_draws(draws, block, keep, floor)

    return by_quanta(start, stop, quantum_sums)


def reduce_draws(draws: Draws, size: int, keep: str, floor: float) -> Arrays:
    """Draws of one quantum -> kept draws and sums."""
    ntk, output = draws.ntk, draws.output
    diagonal = np.diagonal(ntk, axis1=1, axis2=2) if ntk.ndim == 3 else ntk.reshape(len(ntk), -1)
    weight = np.exp(draws.log_weight)
    arrays = _diagonal_sums(diagonal, output.reshape(len(ntk), -1), weight, size)
    logs = {"log_ntk": (_log(diagonal), np.broadcast_to(weight[:, None] / diagonal.shape[1], diagonal.shape))}
    inputs = ("input", "input_")[: ntk.ndim - 1]
    if ntk.ndim == 3:
        eigenvalues = np.linalg.eigvalsh(ntk)[:, ::-1]
        eigenvalues = np.where(eigenvalues > floor * eigenvalues[:, :1], eigenvalues, 0.0)
        low = _log(eigenvalues[:, -1])
        logs["log_min_eigenvalue"] = low, weight
        with np.errstate(invalid="ignore"):  # a dead network's Gram matrix is 0
            logs["log_condition"] = np.where(eigenvalues[:, 0] > 0, _log(eigenvalues[:, 0]) - low, np.inf), weight
        blocks = np.arange(0, len(ntk), GRAM_BLOCK)
        arrays["gram_sum"] = ("gram_block", *inputs), np.add.reduceat(ntk, blocks, axis=0)
        arrays["gram_square_sum"] = ("gram_block", *inputs), np.add.reduceat(ntk**2, blocks, axis=0)
        arrays["gram_count"] = ("gram_block",), np.diff([*blocks, len(ntk)]).astype(float)
        if keep != "moments":
            arrays["eigenvalues"] = ("seed", "mode"), eigenvalues
    arrays["histogram"] = (
        ("quantity", "bin"),
        np.stack([log_histogram(*logs[name]) if name in logs else np.zeros(len(LOG_EDGES) - 1) for name in HISTOGRAMS]),
    )
    if keep == "full":
        name = "ntk_diag" if ntk.ndim == 2 else "ntk"
        arrays[name] = ("seed", *inputs), ntk
    if keep != "moments":
        arrays["output"] = ("seed", *inputs[:1]), output
        arrays["log_weight"] = ("seed",), draws.log_weight
    return arrays


def _diagonal_sums(diagonal, output, weight, size: int) -> Arrays:
    powers = [weight * np.mean(diagonal**p, axis=1) for p in (1, 2, 3, 4)]
    positive = diagonal > 0
    log = np.where(positive, _log(diagonal), 0.0)
    columns = [
        np.ones_like(weight),
        weight,
        weight**2,
        *powers,
        powers[1] ** 2,
        weight * positive.mean(axis=1),
        weight * log.mean(axis=1),
        weight * (log**2).mean(axis=1),
        (output == 0).mean(axis=1),
    ]
    return {
        "sums": (("block", "statistic"), block_sums(np.stack(columns, axis=1), size)),
        "largest": (("rank",), largest(powers[1])),
    }


def _log(values: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(values)
