"""Draw one planned shard: the bridge from a plan to the maths of its kind of study."""

from __future__ import annotations

from ntkpipe import inputs, sampling, steps
from ntkpipe.engines import catalogue
from ntkpipe.plan import Shard, Study


def draw(study: Study, shard: Shard) -> sampling.Arrays:
    """The arrays of a shard; name -> (dims, array)."""
    cell, config = shard.cell, study.config
    sample = catalogue.load(cell.engine, cell.sampling, config.kind).sample
    x, stream, block = inputs.points(config.inputs, config.seed), study.stream(cell), sampling.block_size(cell.seeds)
    if config.kind == "first_step":
        return steps.draw_shard(
            sample,
            cell.network,
            x,
            stream,
            shard.start,
            shard.stop,
            eta=cell.step.eta,
            relative=cell.step.eta_unit == "critical",
            label=cell.step.label,
            n_train=cell.step.train,
            block=block,
            keep=config.keep,
        )
    return sampling.draw_shard(
        sample,
        cell.network,
        x,
        stream,
        shard.start,
        shard.stop,
        block=block,
        keep=config.keep,
        gram=config.inputs.keep == "gram",
        precision=cell.precision,
        floor=config.tolerances.precision_floor,
    )
