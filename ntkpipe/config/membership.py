"""Settings of membership studies: which functions, on how many points, and how the networks are trained."""

from __future__ import annotations

import itertools
from typing import Literal

from pydantic import model_validator

from ntkpipe.config.errors import refuse_twice, wrong
from ntkpipe.config.models import Angles, Count, Model, NonNegative, Positive, axis

TARGETS = ("smooth", "odd", "step")


class MembershipConfig(Model):
    """Is a function in the RKHS of the kernel? Its norm on more and more points of the circle says."""

    targets: axis(Literal[TARGETS]) = TARGETS
    """smooth: cos(theta) + cos(2 theta); odd: cos(3 theta); step: 1 on an arc of 2 rad, -1 elsewhere"""
    points: axis(Angles) = (8, 16, 32, 64, 128)
    """numbers, 8 or more, of equal angles on which norms are taken, rising; each divides the next: they are nested"""
    train: Angles = 64
    """number, 8 or more, of train points: equal angles, shifted so that none is a point of a norm"""
    steps: Count = 200
    """steps of full-batch gradient descent on (1/2) sum (f - y)^2"""
    eta: Positive = 0.5
    """step size in units of 2/lambda_max(K_0) on the train points"""
    diag_reg: axis(NonNegative) = (0.0, 1e-3)
    """ridges of norms and inclusion constants, in units of the mean eigenvalue; 0: the norm of interpolation. The
    report answers by the first and says for how many cells the others agree"""
    bounded: Positive = 0.5
    """growth exponent below which a norm counts as bounded (a step's is 1 in the limit of infinite width)"""

    @model_validator(mode="after")
    def _fits(self) -> MembershipConfig:
        if len(self.points) < 3:
            raise wrong(("points",), f"at least 3 numbers of points, for an exponent; they were {list(self.points)}")
        for small, large in itertools.pairwise(self.points):
            if large <= small or large % small:
                raise wrong(("points",), f"numbers of which each divides the next; they were {list(self.points)}")
        refuse_twice(self, "targets", "diag_reg")
        return self
