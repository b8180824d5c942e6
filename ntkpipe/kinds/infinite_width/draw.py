"""One shard: trajectories as they come."""

from ntkpipe.training.trajectories import constants, draw

__all__ = ["constants", "draw"]
