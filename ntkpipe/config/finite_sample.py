"""Settings of finite_sample studies: numbers of points, modes and noise."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ntkpipe.config.errors import refuse_twice, wrong
from ntkpipe.config.models import Angles, Count, Model, NonNegative, Positive, axis

Share = Annotated[float, Field(strict=True, gt=0, lt=1, allow_inf_nan=False)]


class FiniteSampleConfig(Model):
    """What do N points do to the modes of a kernel?"""

    points: Literal["uniform", "equal"] = "uniform"
    """uniform: angles drawn independently, anew for each network; equal: 2 pi j/N, the same for all"""
    train: Angles = 64
    """number N of points, 8 or more"""
    modes: Count = 6
    """largest frequency q of the modes 1, sqrt(2) cos(q theta), sqrt(2) sin(q theta)"""
    omega: axis(Positive) = (1.5, 2.25)
    """frequencies of targets cos(omega theta), theta in [-pi, pi): none a whole number"""
    signal: Count = 1
    """frequency of the target cos(q theta) that is learned with noise, at most `modes`"""
    noise: NonNegative = 0.5
    """standard deviation of the label noise"""
    fitted: Share = 0.1
    """training stops where 1 point in infinitely many would leave this share of the signal: its time does not depend
    on the draw"""
    eta: Annotated[float, Field(strict=True, gt=0, lt=0.5)] = 0.1
    """step size in units of 2/(N max lambda_q), the critical one on infinitely many points"""
    most_steps: Count = 2000
    """a signal that needs more steps is not trained on"""
    eval: Angles = 64
    """number of equal angles on which trained functions are read; more than 2 `modes`"""
    probability: Share = 0.9
    """of the quantiles of errors, and of their bounds"""

    @model_validator(mode="after")
    def _fits(self) -> FiniteSampleConfig:
        if self.signal > self.modes:
            raise wrong(("signal",), f"at most modes = {self.modes}; it was {self.signal}")
        if self.eval <= 2 * self.modes:
            raise wrong(("eval",), f"more than 2 modes = {2 * self.modes}; it was {self.eval}")
        if any(float(omega).is_integer() for omega in self.omega):
            raise wrong(("omega",), f"without whole numbers; they were {list(self.omega)}")
        refuse_twice(self, "omega")
        return self
