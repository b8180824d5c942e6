"""Settings of mean_field studies: the target, the training, and the limit beside it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ntkpipe.config.data import Frequency, Number
from ntkpipe.config.errors import refuse_twice, wrong
from ntkpipe.config.models import ETA_UNITS, Angles, Count, Positive, axis
from ntkpipe.config.train import ScheduleConfig


class MeanFieldConfig(ScheduleConfig):
    """Two layers as particles: what moves when the width grows?"""

    eta: Positive = 0.02
    """step size; in mean_field parametrization that of a particle, the width taken out. Kernels may grow tenfold there:
    steps far below critical at the start are not so at the end"""
    eta_unit: Literal[ETA_UNITS] = "critical"
    """critical: in units of 2/(s lambda_max) of the kernel of infinite width at the start, s = 1 (half_sum) or 1/N: all
    networks, of either parametrization, take the same steps and are seen at the same times; absolute: as it stands"""
    steps: Count = 1000
    """number of steps (for flow: its time in units of eta)"""
    method: Literal["gd", "flow"] = "gd"
    """gd: full-batch gradient descent, the particle flow in steps of eta; flow: integrated to rounding errors"""
    train: Angles = 64
    """number N of train points, 8 or more equal angles of the circle"""
    frequencies: axis(Frequency) = (1, 2, 4)
    """q of the target sum_q A_q cos(q theta), below N/2"""
    amplitudes: axis(Number) | None = None
    """A_q (default 1 each)"""
    limit_angles: Annotated[int, Field(strict=True, ge=16)] = 512
    """directions of the quadrature by which particles of infinite number are followed"""
    limit_amplitudes: Annotated[int, Field(strict=True, ge=4)] = 16
    """amplitudes (and, where phi is not homogeneous, radii) of that quadrature"""
    directions: Count = 16
    """random directions on which measures are projected for their distance"""

    @model_validator(mode="after")
    def _target_fits(self) -> MeanFieldConfig:
        refuse_twice(self, "frequencies")
        for q in self.frequencies:
            if 2 * q >= self.train:
                raise wrong(("frequencies",), f"below train/2 = {self.train / 2:g}; they were {list(self.frequencies)}")
        if self.amplitudes is not None:
            if len(self.amplitudes) != len(self.frequencies):
                must = f"one for each of the {len(self.frequencies)} frequencies; they were {list(self.amplitudes)}"
                raise wrong(("amplitudes",), must)
            if not all(self.amplitudes):
                raise wrong(("amplitudes",), f"different from 0; they were {list(self.amplitudes)}")
        return self

    @property
    def target(self) -> dict[int, float]:
        """q -> A_q."""
        return dict(zip(self.frequencies, self.amplitudes or (1.0,) * len(self.frequencies), strict=True))
