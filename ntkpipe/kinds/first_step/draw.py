"""One shard of a first-step study: draws of one gradient step and the mergeable sums of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from ntkpipe.drawing import GRAM_BLOCK, Arrays, block_size, block_sums, by_quanta
from ntkpipe.engines import jumps
from ntkpipe.engines.step_matrix_free import StepDraws
from ntkpipe.kinds.first_step.statistics import STATISTICS
from ntkpipe.networks import Network
from ntkpipe.streams import QUANTUM, Stream


def draw(study: Any, shard: Any) -> Arrays:
    """The arrays of a planned shard (untyped: plan and config are no code that a draw depends on)."""
    cell, step = shard.cell, shard.cell.settings
    return draw_shard(
        cell.sample,
        cell.network,
        study.points,
        study.stream(cell),
        shard.start,
        shard.stop,
        jump_stream=None if cell.engine == "scalar" else Stream(study.config.seed, cell.text + "/jumps"),
        eta=step.eta,
        relative=step.eta_unit == "critical",
        label=step.label,
        n_train=step.train,
        block=block_size(cell.seeds),
        keep=study.config.keep,
    )


def draw_shard(
    sample: Callable[..., StepDraws],
    network: Network,
    x: Float[np.ndarray, "k n0"],
    stream: Stream,
    start: int,
    stop: int,
    *,
    jump_stream: Stream | None,
    eta: float,
    relative: bool,
    label: float | str,
    n_train: int,
    block: int,
    keep: str,
) -> Arrays:
    """Draws start..stop of one cell: sums, and with ``keep`` full the draws; name -> (dims, array).

    ``jump_stream``: the stream of the predicted jump sum; None (engine scalar, which knows no finite step): NaN stands
    for it, and for all that only a finite step shows.

    Raises
    ------
    FloatingPointError: a draw is not finite.
    """

    def quantum_sums(quantum: int, n: int) -> Arrays:
        labels = draw_labels(stream, quantum, label, n_train)
        draws = sample(network, x, labels[:n], (eta,), relative, stream, quantum, n)
        known = draws if jump_stream is not None else draws._replace(ntk_1=draws.ntk_0, flipped=draws.eta)
        if not all(np.isfinite(part).all() for part in known):
            raise FloatingPointError(f"a first step of quantum {quantum} is not finite")
        predicted = predicted_jumps(network, x, labels[:n], jump_stream, quantum, relative)
        return reduce_draws(draws, predicted, n_train, block, keep)

    return by_quanta(start, stop, quantum_sums)


def draw_labels(stream: Stream, quantum: int, label: float | str, n_train: int) -> Float[np.ndarray, "draw train"]:
    """y of the train points for a whole quantum, from a stream of their own."""
    if label == "normal":
        return Stream(stream.seed, stream.text + "/labels").generator(quantum).standard_normal((QUANTUM, n_train))
    return np.full((QUANTUM, n_train), float(label))


def predicted_jumps(network, x, labels, stream: Stream | None, quantum: int, relative: bool):
    """Independent draws of the predicted jump sum, (draw,); NaN where the prediction does not apply."""
    if stream is None or len(x) > 1 or relative or not jumps.applies(network):
        return np.full(len(labels), np.nan)
    return jumps.sample(network, x, labels[:, 0], stream, quantum)


def reduce_draws(
    draws: StepDraws, predicted: Float[np.ndarray, " draw"], n_train: int, block: int, keep: str
) -> Arrays:
    """Draws of one quantum -> sums and kept draws."""
    eta = draws.eta[:, 0]
    delta = draws.ntk_1[:, 0] - draws.ntk_0
    linear = eta[:, None, None] * draws.derivative
    train, evaluation = slice(0, n_train), slice(n_train, None)
    ntk_0, change, first, outside, outside_0 = (
        _mean_diagonal(gram, part)
        for gram, part in (
            (draws.ntk_0, train),
            (delta, train),
            (linear, train),
            (delta, evaluation),
            (draws.ntk_0, evaluation),
        )
    )
    rest = change - first
    alive = ntk_0 > 0
    size, moved = (np.linalg.norm(gram[:, train, train], axis=(1, 2)) for gram in (draws.ntk_0, delta))
    columns = {
        "count": np.ones_like(eta),
        "ntk_0": ntk_0,
        "ntk_0_square": ntk_0**2,
        "delta": change,
        "delta_square": change**2,
        "linear": first,
        "linear_square": first**2,
        "rest": rest,
        "rest_square": rest**2,
        "ratio": np.divide(change, ntk_0, out=np.zeros_like(change), where=alive),
        "alive": alive.astype(float),
        "flipped": draws.flipped[:, 0],
        "grown": np.where(np.isnan(change), np.nan, change > 0),
        "delta_frobenius": np.divide(moved, size, out=np.zeros_like(moved), where=size > 0),
        "delta_eval": outside,
        "ntk_0_eval": outside_0,
        "jump": predicted,
    }
    table = np.stack([columns[name] for name in STATISTICS], axis=1)
    arrays: Arrays = {"sums": (("block", "statistic"), block_sums(table, block))}
    if len(delta[0]) > 1:
        arrays["gram_sum"] = ("gram_block", "input", "input_"), block_sums(draws.ntk_0, GRAM_BLOCK)
        arrays["delta_gram_sum"] = ("gram_block", "input", "input_"), block_sums(delta, GRAM_BLOCK)
        arrays["gram_count"] = ("gram_block",), block_sums(np.ones_like(eta), GRAM_BLOCK)
    if keep == "full":
        gram = ("seed", "input", "input_") if draws.ntk_0.shape[1] > 1 else ("seed",)
        for name, value in (("ntk", draws.ntk_0), ("delta_ntk", delta), ("delta_ntk_linear", linear)):
            arrays[name] = gram, value.reshape(len(value)) if len(gram) == 1 else value
        arrays["output"] = gram[:2], draws.output_0.reshape(len(eta)) if len(gram) == 1 else draws.output_0
        arrays["eta_used"] = ("seed",), eta
        arrays["flipped_fraction"] = ("seed",), draws.flipped[:, 0]
    return arrays


def _mean_diagonal(gram: Float[np.ndarray, "draw k k"], part: slice) -> Float[np.ndarray, " draw"]:
    diagonal = np.diagonal(gram, axis1=1, axis2=2)[:, part]
    return diagonal.mean(axis=1) if diagonal.shape[1] else np.full(len(gram), np.nan)
