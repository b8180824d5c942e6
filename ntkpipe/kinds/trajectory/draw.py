"""One shard of a training study: trajectories as they come."""

from ntkpipe.training.trajectories import constants, draw

__all__ = ["constants", "draw"]
