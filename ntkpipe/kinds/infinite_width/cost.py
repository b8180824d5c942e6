"""What a network costs: the training of a trajectory; see :mod:`ntkpipe.costs`."""

from ntkpipe.kinds.trajectory.cost import memory, seconds, start

__all__ = ["memory", "seconds", "start"]
